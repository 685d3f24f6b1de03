"""The shares a period was split by, as JSON and back: kept with the period so that anybody can split it again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fil_plus.attribution import ProducedPiece, UsedPiece
from fil_plus.terms import Basis, ShareTerms
from lotus_client.address import Address
from lotus_client.types import AttoFil, Epoch

__all__ = ["shares_from_json", "shares_to_json"]


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
        )
        for item in content["used"]
    )
    return produced, used


def _terms(content: Mapping[str, Any]) -> ShareTerms:
    return ShareTerms(
        basis=Basis(content["basis"]),
        output_bps=content["output_bps"],
        input_bps=content["input_bps"],
        max_share_bps=content["max_share_bps"],
        budget=AttoFil.parse(content["budget"]),
        budget_epochs=content["budget_epochs"],
    )
