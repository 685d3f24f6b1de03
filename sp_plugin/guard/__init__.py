"""What goes before jobs on this host: proving first, then sealing.

A missed WindowPoSt costs a provider real FIL, a late job costs nobody anything. The danger is proving *work on this host*,
not the proving window: a large provider always has one open.

Design notes
------------
* `decide` is pure: what the chain and the host show, and the rules, give one `Verdict` with reasons. The eyes
  (`chain_eye`, `host_eye`, `miner_eye`) look, `watch` acts.
* A partition counts as proven only once a node shows it in the deadline's PostSubmissions. What is not known is taken for
  due: a node that is away or late freezes jobs on a prover.
* Freezing keeps a job: containers are paused, WASM processes stopped by SIGSTOP (`executors.pause`). Its clocks stand still,
  its lease does not. A sidecar that dies leaves nothing frozen behind: its processes die with it, containers are removed.
* Challenges are drawn 20 epochs before a deadline opens and 60 epochs after the last one, so waiting for the chain alone
  takes more than a third of the day from a provider with partitions in every deadline. Where the prover is seen to have worked
  and to have come to rest, jobs go on until its message is due.
"""
