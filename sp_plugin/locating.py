"""`pieces locate`: every held copy of a piece, how its place is known, and who can give its bytes right now."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from deals.sources import PieceNotHere, PieceUnavailable, SourceError, Unavailable, name_of
from deals.sources.several import Place
from fil_plus.pieces import HeldPiece
from sp_plugin.piece_places import Copy, KnownBy, PiecePlaces, same_bytes
from sp_plugin.store.piece_checks import CheckState, PieceCheck

__all__ = ["LocatedCopy", "Location", "SourceAnswer", "locate"]

_MOST_COPIES: Final = 50
_LOOK_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class SourceAnswer:
    """Whether a source gives a copy's bytes now; `reason` is a word of `Unavailable` or `not_here`, and `detail` says more."""

    source: str
    readable: bool
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class LocatedCopy:
    """One copy with what every source says of it. `is_proven`: CommP over its bytes was right when they were last read."""

    copy: Copy
    check: PieceCheck | None
    is_proven: bool
    answers: tuple[SourceAnswer, ...]


@dataclass(frozen=True, slots=True)
class Location:
    """All copies of one piece. `advice` says what to do if no source gives its bytes; `left_out` counts copies not looked at."""

    copies: tuple[LocatedCopy, ...]
    advice: str
    left_out: int

    @property
    def is_readable(self) -> bool:
        """Whether some source gives some copy's bytes now."""
        return any(answer.readable for copy in self.copies for answer in copy.answers)


async def locate(
    places: PiecePlaces,
    held: Sequence[HeldPiece],
    checks: Mapping[str, PieceCheck],
    piece: HeldPiece,
) -> Location:
    """Where the copies of `piece` lie. Each source is asked for each copy's first byte, and for no more."""
    count = sum(same_bytes(other, piece) for other in held)
    copies = (await places.copies(piece, held, checks))[:_MOST_COPIES]
    found = []
    for copy in copies:
        answers = await asyncio.gather(*(_ask(place) for place in places.places((copy,))))
        check = checks.get(copy.piece.key)
        is_proven = check is not None and check.state is CheckState.VERIFIED and not check.detail
        found.append(LocatedCopy(copy, check, is_proven, tuple(answers)))
    left_out = count - len(copies)
    return Location(tuple(found), _advice(found, places, piece), left_out)


async def _ask(place: Place) -> SourceAnswer:
    name = name_of(place.source)
    try:
        async with asyncio.timeout(_LOOK_SECONDS):
            with await place.open() as reader:
                if await asyncio.to_thread(reader.read, 1):
                    return SourceAnswer(name, readable=True)
    except PieceUnavailable as error:
        return SourceAnswer(name, readable=False, reason=error.reason.value, detail=str(error))
    except PieceNotHere as error:
        return SourceAnswer(name, readable=False, reason="not_here", detail=str(error))
    except TimeoutError:
        text = f"no answer in {_LOOK_SECONDS:.0f} s"
        return SourceAnswer(name, readable=False, reason="read_failed", detail=text)
    except (SourceError, OSError) as error:
        return SourceAnswer(name, readable=False, reason="read_failed", detail=str(error))
    return SourceAnswer(name, readable=False, reason="corrupt", detail="it gives no byte")


def _advice(found: Sequence[LocatedCopy], places: PiecePlaces, piece: HeldPiece) -> str:
    answers = [answer for copy in found for answer in copy.answers]
    if any(answer.readable for answer in answers):
        return ""
    if not answers:
        return "no source is named: set provider.storage_paths, or provider.sources"
    reasons = {answer.reason for answer in answers}
    if Unavailable.READ_FAILED in reasons:
        return "a source failed: mend it, or wait and ask again (`sp-plugin doctor` tells what is wrong with each)"
    if Unavailable.OFFSET_UNKNOWN in reasons and any(
        copy.copy.known_by is KnownBy.NOTHING for copy in found
    ):
        hint = "" if places.books else ", or give the miner's API by provider.miner.api_info_file"
        return f"its place in the sector is not known: `sp-plugin pieces verify {piece.key}` looks for it{hint}"
    if reasons <= {Unavailable.NOT_UNSEALED, "not_here"}:
        return f"only the sealed copy seems to be there: `sp-plugin pieces unseal {piece.key}`"
    return f"the file is damaged: move it away, then `sp-plugin pieces unseal {piece.key}`"
