"""A local Filecoin network for people and tests: one process, no Docker, Lotus' own API.

Design notes
------------
* `chain` is the network itself, pure and synchronous; everything else here puts an outside around it. `node` adds a wallet,
  tokens and the clock, `rpc` speaks go-jsonrpc, `provider` seals by real messages, `stack` runs it all on two ports.
* One event loop owns the chain. Mining yields every few milliseconds, so that 5000 epochs starve nobody.
* What it answers is what Lotus would answer, checked against Lotus' OpenRPC in the tests; what it cannot do it refuses
  as Lotus refuses an unknown method. Only `/devstack/v1/…` (`control`) is its own.
* Proofs are the one thing that is not real: the chain records them without verifying, and sealed files are stand-ins.
  Unsealed files, commitments, signatures, gas, power and money are computed as on the real network.
"""
