"""In which held piece a result lies: it is one itself, or it is a confirmed sub-piece of one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from deals.piece_cid import encode_piece_cid_v1, root_of
from fil_plus.periods import PERIOD_EPOCHS
from fil_plus.pieces import HeldPiece, SubPiece, split_key
from lotus_client.cid import Cid
from lotus_client.types import Epoch
from sp_plugin.store.sub_pieces import OuterPiece, SubPieceRepository, outer_of

__all__ = ["OutputPlace", "place_of_use", "places_of"]

_CLOSED: Final = 3 * PERIOD_EPOCHS  # a period's end, the look-back and finality lie within it


@dataclass(frozen=True, slots=True)
class OutputPlace:
    """A held piece, and the sub-piece of it that is meant, None: the whole; with the sub-piece's payload, None: not known."""

    piece_key: str
    sub_piece: SubPiece | None = None
    payload_size: int | None = None


async def places_of(
    cids: Iterable[Cid],
    held: Sequence[HeldPiece],
    segments: SubPieceRepository,
    now: Epoch | None = None,
) -> Mapping[Cid, OutputPlace]:
    """One place of each of these pieces, as far as they are held. A second place holds nothing new, so only one counts.

    Whole pieces come before sub-pieces, and of equals the lower key. `held` may have pieces that ended: one whose last period is
    closed by `now` comes behind all others, so that a result goes on earning where it is held again.
    """
    over = {piece.key for piece in held if now is not None and piece.to_epoch + _CLOSED < now}
    found = await _among([piece for piece in held if piece.key not in over], cids, segments)
    if over:
        found = {**await _among(held, cids, segments), **found}
    return found


async def _among(
    held: Sequence[HeldPiece], cids: Iterable[Cid], segments: SubPieceRepository
) -> dict[Cid, OutputPlace]:
    wanted = {encode_piece_cid_v1(root_of(cid)): cid for cid in cids}
    keys: dict[OuterPiece, str] = {}
    found: dict[Cid, OutputPlace] = {}
    for piece in held:
        outer = outer_of(piece)
        keys[outer] = min(piece.key, keys.get(outer, piece.key))
    for (cid, _), key in sorted(keys.items(), key=lambda item: item[1]):
        if cid in wanted:
            found.setdefault(wanted[cid], OutputPlace(key))
    missing = [cid for cid, named in wanted.items() if named not in found]
    inside = [
        (keys[part.outer], part) for part in await segments.named(missing) if part.outer in keys
    ]
    for key, part in sorted(inside, key=lambda item: (item[0], item[1].part)):
        place = OutputPlace(key, part.part, part.payload_size)
        found.setdefault(wanted[part.part.piece_cid], place)
    return found


async def place_of_use(
    key: str, held: Mapping[str, HeldPiece], segments: SubPieceRepository
) -> OutputPlace:
    """What was used, by the key that the run recorded. `held` are the pieces ever held, by key.

    A sub-piece of a piece that is no longer known stands for no bytes.
    """
    around, place = split_key(key)
    if place is None or around not in held:
        return OutputPlace(around)
    part = await segments.at(outer_of(held[around]), *place)
    if part is None:
        return OutputPlace(key)
    return OutputPlace(around, part.part, part.payload_size)
