"""What this provider holds, and its bytes: from the chain's events to a verified file that a job may read.

Design notes
------------
What is held:

* The chain is folded, never polled for lists: `follower` reads tipsets and actor events in ranges and hands each range to
  the store as one batch, cursor included, so that a crash at any moment loses nothing and repeats nothing.
* A tipset counts as processed when its child is known: only then are its messages executed, and only then does the
  state read at that child contain their effect.
* Held pieces (`held`) are a pure fold of the recorded events, so undoing a tipset is forgetting its events.
* The sector table (`sectors`) is checked by a sum: Σ QAP of the active sectors equals the miner's power on chain. A full
  list is read only when it does not.
* Protocols in `ports` say what is needed of a node and a store; no client and no database is imported.

The way of a byte, each step checked before the next one trusts it::

    unsealed file ──allocated?──► piece ──CommP──► CAR ──block hash──► UnixFS ──name──► volume
    `unsealed`, `sources`      `fr32`, `commp`,   `car`, `blocks`  `dag_pb`,       `volumes`
                               `verify`, `locate`                  `unixfs`

* Everything streams: a piece may have 32 GiB, a reader needs a few MiB. Sizes, depths and counts in the data were chosen by a
  stranger, so each parser takes limits and refuses what exceeds them with an error that names the block or byte.
* Only `sources` and `unsealed` open sector files, and only to read. Nothing here asks a miner to unseal.
* `kernels` has the inner loops of Fr32 and CommP in the fastest form the machine has; the rest does not know which runs.
* What is written (`unixfs_write`, `CarWriter`) is deterministic: the same files give the same root CID as `ipfs add --cid-version 1`
  and the same CAR bytes, so that a result can be checked by running the job again.
* A CAR's own index is not used: it is a claim about the data, and making ours costs one pass over section headers.
"""
