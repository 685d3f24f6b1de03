"""The parts of a statement's period as plain JSON: its head, its lines with their proofs, and what is left after costs. Pure."""

from __future__ import annotations

from typing import Any

from fil_plus.attribution import piece_worths
from fil_plus.periods import PERIOD_EPOCHS, MerkleTree
from fil_plus.win_values import Part, PieceWorth, WinInputs, WinSplit
from sp_plugin.earnings.closing import PieceNet
from sp_plugin.earnings.registry_json import sub_piece_json
from sp_plugin.earnings.wins import WinRecord
from sp_plugin.store.earnings_periods import StoredPeriod

__all__ = ["net_line", "period_head", "proof_of", "win_line"]


def period_head(stored: StoredPeriod) -> dict[str, Any]:
    """A period, without anything of a payee."""
    closed = stored.closed
    return {
        "period": closed.period,
        "revision": closed.revision,
        "first_epoch": closed.period * PERIOD_EPOCHS,
        "last_epoch": closed.last_epoch,
        "root": closed.record.root.hex(),
        "leaves": closed.record.leaves,
        "unknown_wins": list(closed.unknown),
        "settings": stored.settings,
    }


def win_line(
    win: WinRecord, inputs: WinInputs, split: WinSplit, part: Part, terms: dict[str, Any]
) -> dict[str, Any]:
    """What a part of a win is and was computed from. `terms` are those of its share."""
    worth = _worth(inputs, part.piece_key)
    award = win.award()
    assert award is not None
    piece = worth.piece
    return {
        "win": win.id,
        "epoch": win.epoch,
        "tipset": [str(cid) for cid in win.tipset],
        "win_count": win.win_count,
        "credited": str(award.credited),
        "tips": str(award.gas_reward),
        "shareable": str(split.shareable),
        "lookback": [str(cid) for cid in win.lookback or ()],
        "miner_qap": str(win.miner_qap),
        "piece": part.piece_key,
        "piece_cid": str(piece.piece_cid),
        "padded_size": piece.padded_size,
        "held_from": piece.from_epoch,
        "held_to": piece.to_epoch,
        "sector": piece.sector,
        "sector_qap": str(worth.sector_qap),
        "sector_size": worth.sector_size,
        "verified": worth.verified,
        "job": part.job,
        "source": part.source.value,
        "basis": part.basis.value,
        "terms": terms,
        "amount": str(part.amount),
        **sub_piece_json(part.sub_piece),
    }


def proof_of(tree: MerkleTree, index: int) -> dict[str, Any]:
    """A leaf's place in its period, and its proof."""
    return {"index": index, "proof": [node.hex() for node in tree.proof(index)]}


def net_line(line: PieceNet) -> dict[str, Any]:
    """What a payee got for a piece in a period, after costs."""
    names = ("gross", "fee_cost", "capital_cost", "carried", "net", "deficit")
    return {"piece": line.piece} | {name: str(getattr(line, name)) for name in names}


def _worth(inputs: WinInputs, key: str) -> PieceWorth:
    pieces = [piece for piece in inputs.pieces if piece.key == key]
    numbers = {piece.sector for piece in pieces}
    sectors = [sector for sector in inputs.sectors or () if sector.number in numbers]
    beside = [piece for piece in inputs.pieces if piece.sector in numbers]
    worths = piece_worths(
        sectors, inputs.sector_size, beside, inputs.lookback_epoch, inputs.solstice_epoch
    )
    return worths[key]
