"""The miner node: one provider's sealing software with its own tokens, as a lotus-miner daemon. No sockets."""

from __future__ import annotations

from dataclasses import dataclass, field

from devstack.auth import TokenIssuer
from devstack.chain import Network
from devstack.provider import SealingProvider

__all__ = ["MinerNode"]


@dataclass(slots=True)
class MinerNode:
    """What the miner's API works on. `remote_url` is where its sector files are served."""

    network: Network
    provider: SealingProvider
    tokens: TokenIssuer = field(default_factory=TokenIssuer)
    remote_url: str = ""
