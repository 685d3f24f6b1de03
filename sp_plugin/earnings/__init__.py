"""What won blocks brought, and whose it is: recorded per win, split purely, closed per period, booked in the ledger.

Design notes
------------
* `ingest` is the step: record, close, release. `recording` gathers the raw inputs of a win (header bytes, award trace,
  power the election used, epoch reward, network version) and stores them *before* anything is computed, because nodes
  prune state within days. `wins` holds them.
* The split itself is `fil_plus.attribution`; a win that it cannot split is *unknown* with a reason, is tried again
  (after one full read of the sectors if the power did not add up), and is never taken for zero.
* `closing`, which is pure, sums a period of 2,880 final epochs per (payee, job), nets costs per (payee, piece) with
  deficits carried forward, and commits to every part by a Merkle root; `period_closer` gives it what it needs and keeps
  what comes out. A win that becomes known later makes a supplement (the next `revision` of its period): what is closed
  is never reopened.
* `booking` makes the ledger entries: awards 25 % available and 75 % locked, accruals at the close, releases by the
  vesting schedule (`releasing` knows when). A period's accrual vests as if credited at its last epoch: never before the
  miner can withdraw it.
* What is recorded is only what is final. The same step may run twice: keys make every entry happen once.
"""
