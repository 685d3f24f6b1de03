"""What earnings need of the chain, of the follower's index and of the jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from deals.gaps import Gap
from deals.ports import ChainNode, Cursor, OwnBlock, SectorStore
from deals.sectors import SectorHistory
from fil_plus.pieces import HeldPiece
from fil_plus.win_values import ProducedPiece, UsedPiece
from lotus_client.chain import TipSetKey
from lotus_client.state import MinerFunds, RewardState
from lotus_client.types import ActorId, Epoch, NetworkVersion

__all__ = ["EarningsChain", "Holdings", "ShareRegister"]


class EarningsChain(ChainNode, Protocol):
    """Chain reads; `LotusClient` has them."""

    async def compute_state(self, height: Epoch, tsk: TipSetKey, /) -> Mapping[str, Any]: ...
    async def funds(self, provider: ActorId, tsk: TipSetKey, /) -> MinerFunds: ...
    async def reward_state(self, tsk: TipSetKey, /) -> RewardState: ...
    async def network_version(self, tsk: TipSetKey, /) -> NetworkVersion: ...


class Holdings(SectorStore, Protocol):
    """The follower's index; `sp_plugin.store.chain.ChainRepository` has these."""

    async def cursor(self, provider: ActorId) -> Cursor | None:
        """How far the provider has been followed."""
        ...

    async def own_blocks(
        self, provider: ActorId, from_epoch: Epoch, to_epoch: Epoch
    ) -> Sequence[OwnBlock]:
        """The blocks won at `from_epoch` up to, not including, `to_epoch`, in order."""
        ...

    async def gaps(self, provider: ActorId) -> Sequence[Gap]:
        """The epochs of which something is unknown, ascending."""
        ...

    async def sector_history(self, provider: ActorId, first: Epoch, last: Epoch) -> SectorHistory:
        """What answers `active_sectors` for every epoch from `first` to `last`."""
        ...

    async def held_pieces(
        self, provider: ActorId, *, at: Epoch | None = None
    ) -> Sequence[HeldPiece]:
        """The pieces whose record covers `at`."""
        ...


class ShareRegister(Protocol):
    """Which jobs share in which held pieces, by what terms; answered by the jobs and their outputs."""

    async def produced(self) -> Sequence[ProducedPiece]:
        """Outputs that are held pieces, with `budget_paid` left at 0."""
        ...

    async def untraced(self) -> Sequence[str]:
        """Outputs that are held pieces and of which it cannot be told yet what they share: a period waits for them."""
        ...

    async def used(self) -> Sequence[UsedPiece]:
        """Uses of pieces that may get a bonus."""
        ...
