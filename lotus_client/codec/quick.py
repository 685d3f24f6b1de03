"""Claims and allocations of long lists: the usual form is checked in one go, any other by the careful reader.

A provider may have a million claims, and a cursor for every member is half of the time. Both readers give equal values and
refuse the same things (a property test compares them).
"""

from __future__ import annotations

from typing import Any, Final

from lotus_client.cid import Cid, CidError
from lotus_client.codec.reading import At
from lotus_client.codec.state import allocation_from_json, claim_from_json
from lotus_client.errors import LotusDecodeError
from lotus_client.state import Allocation, Claim
from lotus_client.types import ActorId, AllocationId, ClaimId, Epoch, PaddedPieceSize, SectorNumber

__all__ = ["quick_allocation", "quick_claim"]

_MAX: Final = (1 << 63) - 1
_SIZES: Final = frozenset(1 << bits for bits in range(7, 64))


def quick_claim(name: str, raw: Any, path: str = "$") -> Claim:
    """The claim under the member `name` of a map.

    Raises:
        LotusDecodeError: as `claim_from_json`, or the name is no number.
    """
    number = _number(name, path)
    try:
        provider, client, size = raw["Provider"], raw["Client"], raw["Size"]
        low, high, start = raw["TermMin"], raw["TermMax"], raw["TermStart"]
        sector, cid = raw["Sector"], raw["Data"]["/"]
        # a bool is no int here: its type is another
        if (
            type(provider) is type(client) is type(size) is type(low) is int
            and type(high) is type(start) is type(sector) is int
            and 0 <= provider <= _MAX
            and 0 <= client <= _MAX
            and size in _SIZES
            and -_MAX <= low <= _MAX
            and -_MAX <= high <= _MAX
            and -_MAX <= start <= _MAX
            and 0 <= sector <= _MAX
        ):
            return Claim(
                ClaimId(number),
                ActorId(provider),
                ActorId(client),
                Cid.parse(cid),
                PaddedPieceSize(size),
                Epoch(low),
                Epoch(high),
                Epoch(start),
                SectorNumber(sector),
            )
    except (KeyError, TypeError, CidError):
        pass
    return claim_from_json(At(raw, f"{path}.{name[:40]}"), ClaimId(number))


def quick_allocation(name: str, raw: Any, path: str = "$") -> Allocation:
    """The allocation under the member `name` of a map; clients have far fewer of them than providers have claims.

    Raises:
        LotusDecodeError: as `allocation_from_json`, or the name is no number.
    """
    number = AllocationId(_number(name, path))
    return allocation_from_json(At(raw, f"{path}.{name[:40]}"), number)


def _number(name: str, path: str) -> int:
    if not (name.isascii() and name.isdigit() and len(name) <= 20):
        raise LotusDecodeError(f"{path}.{name[:40]}", "expected a number as the key")
    return int(name)
