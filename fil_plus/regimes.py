"""Which economic rules a network version has, and whether we know them.

Up to nv28 verified data gets 10x power ("Fil+"). nv29 ("Solstice", FIP-0118) ends allocations and claims: every new,
snapped or lifted sector gets 10x whatever it holds, so data causes no extra; older sectors keep the ratio they have.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from lotus_client.state import SectorOnChainInfo
from lotus_client.types import Epoch, NetworkVersion

__all__ = ["FULL_QA_POWER_FLAG", "SOLSTICE", "Regime", "data_earns_extra", "regime_of"]

SOLSTICE: Final = NetworkVersion(29)

# builtin-actors PR #1782: marks a sector with ten times its raw power whatever it holds
FULL_QA_POWER_FLAG: Final = 0x2


class Regime(StrEnum):
    """The rules by which verified data earns."""

    FIL_PLUS = "fil_plus"
    SOLSTICE = "solstice"
    UNKNOWN = "unknown"  # a version newer than this software: accrual stops, raw inputs are still recorded


def regime_of(version: NetworkVersion) -> Regime:
    """The regime of a network version; `UNKNOWN` for any version newer than nv29."""
    if version < SOLSTICE:
        return Regime.FIL_PLUS
    return Regime.SOLSTICE if version == SOLSTICE else Regime.UNKNOWN


def data_earns_extra(sector: SectorOnChainInfo, solstice_epoch: Epoch | None) -> bool:
    """Whether verified data in `sector` adds power beyond its bytes.

    `solstice_epoch` is the epoch of the nv29 upgrade, `None` while the network has not upgraded. A sector activated
    before it goes on earning while it keeps its ratio; one made, snapped or lifted after it does not. `power_base_epoch`
    says nothing here, because an extension moves it too.
    """
    if sector.flags & FULL_QA_POWER_FLAG:
        return False
    return solstice_epoch is None or sector.activation < solstice_epoch
