"""`devstack up --lotus binary|docker`: a devnet of real Lotus software instead of the embedded one.

It follows Lotus' own instructions for a local network, with 8 MiB sectors: proof parameters, root keys, pre-sealed
sectors, genesis template, first daemon, genesis miner. Everything it makes lies in the data directory, so that a second
start goes on where the first one stopped, also after one that was cut off in the middle.

Design notes
------------
* Binaries must be of a 2k build (`make 2k`) and of one version; anything else is refused before a file is made.
* Network version 29 is pushed out of reach unless an epoch is named, as 2k builds would upgrade at epoch 200.
* A step is either recorded as finished or done again from nothing; what an unfinished step left is deleted first.
* Unlike the embedded devnet this one needs the network outside: proof parameters (once) and drand's beacon.
* Source: lotus-docs `content/en/lotus/developers/local-network.md`; Lotus `cmd/lotus-seed`, `cmd/lotus-shed/keyinfo.go`,
  `build/buildconstants/params_2k.go`, `build/version.go`.
"""
