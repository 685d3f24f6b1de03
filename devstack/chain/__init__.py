"""The embedded chain: a Filecoin-like network as a pure, synchronous value machine."""

from __future__ import annotations

from devstack.chain.config import FIL, AccountSpec, NetworkConfig, ProviderSpec, derive_key
from devstack.chain.mpool import MessagePool
from devstack.chain.network import Network
from devstack.chain.reads import StateView
from devstack.chain.values import (
    ChainLookupError,
    EventFilter,
    ExecutionTrace,
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
