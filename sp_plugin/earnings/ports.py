"""What earnings need of the chain, of the index of held pieces and of the jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from fil_plus.attribution import ProducedPiece, UsedPiece
from fil_plus.pieces import HeldPiece
from lotus_client.chain import TipSet, TipSetKey
from lotus_client.cid import Cid
from lotus_client.state import MinerFunds, MinerPower, RewardState, SectorOnChainInfo
from lotus_client.types import ActorId, Epoch, NetworkVersion

__all__ = ["EarningsChain", "Holdings", "OwnBlock", "ShareRegister"]


class EarningsChain(Protocol):
    """Chain reads; `LotusClient` has them."""

    async def finalized_tipset(self) -> TipSet: ...
    async def tipset(self, key: TipSetKey, /) -> TipSet: ...
    async def tipset_by_height(self, height: Epoch, tsk: TipSetKey, /) -> TipSet: ...
    async def tipset_after_height(self, height: Epoch, tsk: TipSetKey, /) -> TipSet: ...
    async def compute_state(self, height: Epoch, tsk: TipSetKey, /) -> Mapping[str, Any]: ...
    async def miner_power(self, provider: ActorId, tsk: TipSetKey, /) -> MinerPower: ...
    async def funds(self, provider: ActorId, tsk: TipSetKey, /) -> MinerFunds: ...
    async def reward_state(self, tsk: TipSetKey, /) -> RewardState: ...
    async def network_version(self, tsk: TipSetKey, /) -> NetworkVersion: ...


@dataclass(frozen=True, slots=True)
class OwnBlock:
    """A block of our provider as the follower saw it applied."""

    block: Cid
    tipset: TipSetKey
    height: Epoch


class Holdings(Protocol):
    """The follower's index: own blocks, sectors and held pieces at an epoch."""

    async def followed_to(self) -> Epoch | None:
        """The height of the newest tipset whose own blocks and events are recorded."""
        ...

    async def own_blocks(self, after: Epoch, up_to: Epoch) -> Sequence[OwnBlock]:
        """Our provider's blocks with after < height <= up_to in the chain as followed, by height."""
        ...

    async def active_sectors(self, at: Epoch) -> Sequence[SectorOnChainInfo] | None:
        """The sectors that counted for power in the state after epoch `at`; `None` if that is not known."""
        ...

    async def held_pieces(self, at: Epoch) -> Sequence[HeldPiece]:
        """The pieces held at `at`."""
        ...

    async def reread_sectors(self, at: Epoch, key: TipSetKey) -> None:
        """Read all sectors once from the parent state of `key` (the state after `at`) and correct the table."""
        ...


class ShareRegister(Protocol):
    """Which jobs share in which held pieces, by what terms; answered by the jobs and their outputs."""

    async def produced(self) -> Sequence[ProducedPiece]:
        """Outputs that are held pieces, with `budget_paid` left at 0."""
        ...

    async def used(self) -> Sequence[UsedPiece]:
        """Uses of pieces that may get a bonus."""
        ...
