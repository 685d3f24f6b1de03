"""`sp-plugin devstack demo`: the whole story in one local network, from a verified deal to a payment that can be checked.

Design notes
------------
* The network runs in this process; the sidecar is a process of its own, started and asked by its own commands, as an
  operator would. The story holds the keys of everybody but the sidecar's payout key: client, approvers, the provider's owner.
* Nothing is shortened: the first WindowPoSt, the 900-epoch look-back, the accounting period, finality and vesting are
  mined through epoch by epoch.
* `story` has one method for each chapter, so that tests can stop between two of them, or kill the sidecar there.
"""
