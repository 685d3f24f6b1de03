"""The miner node: one provider's sealing software with its own tokens, as a lotus-miner daemon. No sockets."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from devstack.auth import TokenIssuer
from devstack.chain import Network
from devstack.provider import SealingProvider
from devstack.streams import PushedStreams
from devstack.unsealing import Unsealing

__all__ = ["MinerNode"]


@dataclass(slots=True)
class MinerNode:
    """What the miner's API works on. `remote_url` is where its sector files are served."""

    network: Network
    provider: SealingProvider
    tokens: TokenIssuer = field(default_factory=TokenIssuer)
    remote_url: str = ""
    streams: PushedStreams = field(default_factory=lambda: PushedStreams(Path("pushed")))
    started_at: float = field(default_factory=time.time)
    unsealing: Unsealing = field(init=False)

    def __post_init__(self) -> None:
        self.unsealing = Unsealing(self.provider)
