"""A piece proven over all its places: the next one goes on where the last broke off, and the proof covers the whole."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from deals.checkpoint import Checkpoint
from deals.sources.base import PieceNotHere, PieceUnavailable, SourceError
from deals.sources.several import Place
from deals.verify import PieceMismatch, PieceVerified, Progress, verify_piece
from fil_plus.pieces import HeldPiece

__all__ = ["verify_places"]

_ROUNDS: Final = 4
_LONGEST_WAIT: Final = 30.0
_SHORTEST_WAIT: Final = 0.2


async def verify_places(
    places: Sequence[Place],
    piece: HeldPiece,
    checkpoint: Checkpoint,
    *,
    on_progress: Progress | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> tuple[PieceVerified | PieceMismatch, Place]:
    """What the first place that gives the whole piece shows, and which it is.

    It begins where `checkpoint` says that an earlier reading came to. Bytes read earlier, or elsewhere, are proven with the rest;
    if the proof fails, the same place is read once more from the start, then the others. Places that ask to be left alone for at
    most 30 s are waited for.

    Raises:
        PieceNotHere, PieceUnavailable: no place gives the whole piece; the first reason of one that has it.
    """
    for round_ in range(1, _ROUNDS + 1):
        found, failures = await _round(places, checkpoint, on_progress)
        if found is not None:
            await asyncio.to_thread(checkpoint.clear)
            return found
        waits = [
            error.retry_after
            for error in failures
            if isinstance(error, PieceUnavailable) and error.retry_after is not None
        ]
        wait = max(min(waits, default=_LONGEST_WAIT + 1), _SHORTEST_WAIT)
        if wait > _LONGEST_WAIT or round_ == _ROUNDS:
            break
        await sleep(wait)
    raise next(
        (error for error in failures if isinstance(error, PieceUnavailable)),
        failures[0] if failures else PieceNotHere(piece.key, "no source of pieces has its sector"),
    )


async def _round(
    places: Sequence[Place], checkpoint: Checkpoint, on_progress: Progress | None
) -> tuple[tuple[PieceVerified | PieceMismatch, Place] | None, list[SourceError]]:
    failures: list[SourceError] = []
    mismatch: tuple[PieceMismatch, Place] | None = None
    for place in places:
        try:
            outcome = await _read(place, checkpoint, on_progress)
        except SourceError as error:
            failures.append(error)
            continue
        if isinstance(outcome, PieceVerified):
            return (outcome, place), failures
        mismatch = mismatch or (outcome, place)
    return mismatch, failures


async def _read(
    place: Place, checkpoint: Checkpoint, on_progress: Progress | None
) -> PieceVerified | PieceMismatch:
    done = await asyncio.to_thread(checkpoint.load)
    outcome = await verify_piece(
        place, place.piece, on_progress=on_progress, done=done, on_roots=checkpoint.reached
    )
    if isinstance(outcome, PieceMismatch):
        await asyncio.to_thread(checkpoint.clear)
        if done:  # what was read earlier may have been another file's, or another place's
            return await _read(place, checkpoint, on_progress)
    return outcome
