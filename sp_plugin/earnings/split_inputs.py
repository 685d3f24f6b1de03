"""What the split of a recorded win is a function of: the win, the sectors and pieces of its time, and the operator's settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from deals.ports import SectorStore
from fil_plus.pieces import HeldPiece
from fil_plus.terms import INPUT_WINDOW_EPOCHS
from fil_plus.win_values import ProducedPiece, UsedPiece, WinInputs
from lotus_client.types import ActorId, AttoFil, Epoch, NetworkVersion
from sp_plugin.earnings.wins import WinRecord

__all__ = ["EarningsSettings", "win_inputs"]


@dataclass(frozen=True, slots=True)
class EarningsSettings:
    """The provider and the operator's settings. `solstice_epoch` is the nv29 upgrade epoch, `None` before it."""

    provider: ActorId
    sector_size: int
    start: Epoch
    capital_cost_apr_bps: int | None
    include_tips: bool = False
    solstice_epoch: Epoch | None = None
    input_window_epochs: int = INPUT_WINDOW_EPOCHS

    def to_json(self) -> dict[str, Any]:
        """What a period was split by, kept with it."""
        return {
            "sector_size": self.sector_size,
            "capital_cost_apr_bps": self.capital_cost_apr_bps,
            "include_tips": self.include_tips,
            "solstice_epoch": self.solstice_epoch,
            "input_window_epochs": self.input_window_epochs,
        }


async def win_inputs(
    win: WinRecord,
    table: SectorStore,
    settings: EarningsSettings,
    pieces: tuple[HeldPiece, ...],
    *,
    produced: Sequence[ProducedPiece],
    used: Sequence[UsedPiece],
) -> WinInputs:
    """What the split of a recorded win is a function of. `pieces` are all ever held; the split takes those of its epoch."""
    award = win.award()
    sectors = None
    if win.lookback_height is not None:
        sectors = await table.active_sectors(win.provider, win.lookback_height)
    version = win.network_version
    if version is None:
        # without a version there are no rules: a win without credited value is split as unknown
        award, version = None, NetworkVersion(0)
    return WinInputs(
        win=win.id,
        epoch=win.epoch,
        provider=win.provider,
        credited=None if award is None else award.credited,
        gas_reward=AttoFil(0) if award is None else award.gas_reward,
        include_tips=settings.include_tips,
        network_version=version,
        solstice_epoch=settings.solstice_epoch,
        lookback_epoch=win.lookback_epoch,
        miner_qap=win.miner_qap,
        sector_size=settings.sector_size,
        sectors=sectors,
        pieces=pieces,
        produced=tuple(produced),
        used=tuple(used),
        input_window_epochs=settings.input_window_epochs,
    )
