"""The embedded chain: a Filecoin-like network as a synchronous value machine, without sockets or a clock.

Design notes
------------
* `Network` is the one mutable thing, in three layers: `lookups` (what can be asked), `calls` (what is run and thrown away) and
  `network` (time, keys, forks, other nodes); the mempool, the store and the forks are parts of it. Every state is a tree of frozen values that shares what did not change with the
  state before it, so any past state stays readable and a thousand epochs cost about a second and little memory.
* Time is `mine_epoch`; chance is a hash of the seed, the parent's ticket, the epoch and the miner. Equal configs and
  equal calls give equal chains, byte for byte.
* Headers carry the state *before* their messages: `Network.state(key)` is what `State*` calls at that key read, and
  `Network.pending_state(key)` is what the next header will carry.
* As in Lotus: messages, headers, message and receipt roots, events, ids and code CIDs, exit codes, mempool rules,
  division of gas money, weight, look-back, vesting, and the states' own blocks and roots (`states`, `blocks`). The
  devnet's own, and said so where it stands: gas prices (`gas`), VRFs, beacon and proofs (`mining`), minting
  (`actors.reward`), projections and deposits (`actors.policy`). Contracts run in `devstack.evm`.
* A state is a frozen dataclass whose `to_value` is its block. A new one goes into `states` (or a module of its own) with
  persistent maps of `devstack.ipld` for fields; its blocks can then be read by CID without further work.
* Proofs cannot be verified here. `actors.miner_sectors.INVALID_PROOF` stands for one that fails.
"""

from __future__ import annotations

from devstack.chain.config import FIL, AccountSpec, NetworkConfig, ProviderSpec, derive_key
from devstack.chain.forks import ForkShape
from devstack.chain.mpool import MessagePool
from devstack.chain.network import Network
from devstack.chain.reads import StateView
from devstack.chain.values import (
    ChainLookupError,
    EventFilter,
    ExecutionTrace,
    ForkRefused,
    GasOutputs,
    Invocation,
    MessageFailed,
    ProvingDeadline,
    PushRefused,
    SectorPlace,
    StampedEvent,
    TipSetExecution,
)

__all__ = [
    "FIL",
    "AccountSpec",
    "ChainLookupError",
    "EventFilter",
    "ExecutionTrace",
    "ForkRefused",
    "ForkShape",
    "GasOutputs",
    "Invocation",
    "MessageFailed",
    "MessagePool",
    "Network",
    "NetworkConfig",
    "ProviderSpec",
    "ProvingDeadline",
    "PushRefused",
    "SectorPlace",
    "StampedEvent",
    "StateView",
    "TipSetExecution",
    "derive_key",
]
