"""The shares a period was split by, as JSON and back: kept with the period so that anybody can split it again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from deals.fr32 import check_padded_piece_size
from fil_plus.pieces import SubPiece
from fil_plus.terms import Basis, ShareTerms
from fil_plus.win_values import ProducedPiece, UsedPiece
from lotus_client.address import Address
from lotus_client.cid import Cid
from lotus_client.types import AttoFil, Epoch

__all__ = ["shares_from_json", "shares_to_json", "sub_piece_from_json", "sub_piece_json"]


def shares_to_json(produced: Iterable[ProducedPiece], used: Iterable[UsedPiece]) -> dict[str, Any]:
    """Plain values; addresses in their `t` form, amounts as decimal text."""
    return {
        "produced": [
            {
                "piece": item.piece_key,
                "payee": item.payee.to_text("t"),
                "job": item.job,
                "counted_bytes": item.counted_bytes,
                "budget_paid": str(item.budget_paid),
                "terms": item.terms.to_json(),
                **sub_piece_json(item.sub_piece),
            }
            for item in produced
        ],
        "used": [
            {
                "piece": item.piece_key,
                "payee": item.payee.to_text("t"),
                "payee_group": item.payee_group,
                "job": item.job,
                "work": item.work,
                "used_at": item.used_at,
                "terms": item.terms.to_json(),
                **sub_piece_json(item.sub_piece),
                **({} if item.counted_bytes is None else {"counted_bytes": item.counted_bytes}),
            }
            for item in used
        ],
    }


def shares_from_json(
    content: Mapping[str, Any],
) -> tuple[tuple[ProducedPiece, ...], tuple[UsedPiece, ...]]:
    """The values of `shares_to_json`.

    Raises:
        KeyError, ValueError: not what that function wrote.
    """
    produced = tuple(
        ProducedPiece(
            piece_key=item["piece"],
            payee=Address.parse(item["payee"]),
            job=item["job"],
            counted_bytes=item["counted_bytes"],
            terms=_terms(item["terms"]),
            budget_paid=AttoFil.parse(item["budget_paid"]),
            sub_piece=sub_piece_from_json(item),
        )
        for item in content["produced"]
    )
    used = tuple(
        UsedPiece(
            piece_key=item["piece"],
            payee=Address.parse(item["payee"]),
            payee_group=item["payee_group"],
            job=item["job"],
            work=item["work"],
            used_at=Epoch(item["used_at"]),
            terms=_terms(item["terms"]),
            sub_piece=sub_piece_from_json(item),
            counted_bytes=item.get("counted_bytes"),
        )
        for item in content["used"]
    )
    return produced, used


def sub_piece_json(sub_piece: SubPiece | None) -> dict[str, Any]:
    """A field that says which piece inside the held one is meant; no field for a whole piece."""
    if sub_piece is None:
        return {}
    return {
        "sub_piece": {
            "piece_cid": str(sub_piece.piece_cid),
            "offset": sub_piece.offset,
            "padded_size": sub_piece.padded_size,
        }
    }


def sub_piece_from_json(content: Mapping[str, Any]) -> SubPiece | None:
    """What `sub_piece_json` wrote among other fields.

    Raises:
        KeyError, TypeError, ValueError: it is no place of a piece.
    """
    found = content.get("sub_piece")
    if found is None:
        return None
    size, offset = check_padded_piece_size(int(found["padded_size"])), int(found["offset"])
    if offset < 0 or offset % size:
        raise ValueError(f"no piece of {size} padded bytes lies at {offset}")
    return SubPiece(offset, size, Cid.parse(found["piece_cid"]))


def _terms(content: Mapping[str, Any]) -> ShareTerms:
    return ShareTerms(
        basis=Basis(content["basis"]),
        output_bps=content["output_bps"],
        input_bps=content["input_bps"],
        max_share_bps=content["max_share_bps"],
        budget=AttoFil.parse(content["budget"]),
        budget_epochs=content["budget_epochs"],
    )
