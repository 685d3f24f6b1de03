"""Jobs: their description, what approvers sign of them, the durable queue and the worker that runs them.

Design notes
------------
* A job's description is Bacalhau's v1 job. Keys are read without regard to case and written with exact casing; unknown
  keys are ignored as Bacalhau does, but each is named in a warning.
* All wrong fields of a description are reported at once, each with its path and, in YAML or JSON text, its line.
* The database is the queue. A worker holds a *lease* with a fencing token; whatever a stale token reports is refused, so a
  result is recorded once although a run may be started again after a crash.
* What was approved is what runs: `running` takes arguments, environment, limits and outputs from the bundle, identifies the
  inputs and the program again, and refuses to start when they differ.
* A run's results are kept whatever its end; only a finished run (any exit code) is published.
* A job that waits for approval is `Pending` with a message: Bacalhau has no state for it.

The way of a job: `reading` (text to `spec`) → `bundle` (what approvers sign) → `queue` → `worker` (lease) → `running`
(executor, `outputs`, publisher, run record) → `queue` again.
"""
