"""What this provider holds, and the bytes of it.

Design notes
------------
* The chain is folded, never polled for lists: `follower` reads tipsets and actor events in ranges and hands each range to
  the store as one batch, cursor included, so that a crash at any moment loses nothing and repeats nothing.
* A tipset counts as processed when its child is known: only then are its messages executed, and only then does the
  state read at that child contain their effect.
* Held pieces (`held`) are a pure fold of the recorded events, so undoing a tipset is forgetting its events.
* The sector table (`sectors`) is checked by a sum: Σ QAP of the active sectors equals the miner's power on chain. A full
  list is read only when it does not.
* Protocols in `ports` say what is needed of a node and a store; nothing here imports either.
"""
