"""Proofs beside a statement: every sub-piece must be proven, at its place, in the piece that earned."""

from __future__ import annotations

import io
from typing import Any

import pytest

from deals.aggregates import encode_proof, plan_aggregate
from deals.commp import commp
from deals.piece_cid import encode_piece_cid_v1
from sp_plugin.statement_proofs import proof_findings

PIECES = [commp(io.BytesIO(bytes([n]) * 700 * n)) for n in (1, 2, 3)]
PLAN = plan_aggregate(PIECES)
AGGREGATE = str(encode_piece_cid_v1(PLAN.commitment()))


def proof(number: int) -> dict[str, Any]:
    return {
        "piece_cid": str(PIECES[number].piece_cid),
        "padded_size": PIECES[number].padded_size,
        "aggregate": AGGREGATE,
        "aggregate_padded_size": PLAN.padded_size,
        "proof_cbor": encode_proof(PLAN.prove(number)).hex(),
    }


def line(number: int, **changes: Any) -> dict[str, Any]:
    entry = PLAN.entries[number]
    place = {
        "piece_cid": str(PIECES[number].piece_cid),
        "offset": entry.offset,
        "padded_size": entry.size,
    }
    return {"piece_cid": AGGREGATE, "sub_piece": place | changes}


def statement(*lines: dict[str, Any]) -> dict[str, Any]:
    return {"periods": [{"lines": [*lines, {"piece_cid": AGGREGATE}]}]}


def test_every_sub_piece_is_found_once_with_its_proof():
    found = proof_findings(statement(line(0), line(1), line(0)), [proof(0), proof(1)])
    assert [finding.ok for finding in found] == [True, True]
    assert found[0].where == f"sub-piece {PIECES[0].piece_cid}@0+{PIECES[0].padded_size}"


@pytest.mark.parametrize(
    "lines",
    [
        [line(2)],
        [line(1, offset=PLAN.entries[1].offset + PLAN.entries[1].size)],
        [line(1) | {"piece_cid": str(PIECES[2].piece_cid)}],
        [line(1, padded_size=PLAN.entries[1].size // 2)],
    ],
    ids=["without a proof", "elsewhere", "in another piece", "of another size"],
)
def test_what_is_not_proven_fails(lines: list[dict[str, Any]]):
    found = proof_findings(statement(*lines), [proof(0), proof(1)])
    assert [finding.ok for finding in found] == [False]
    assert "no proof given" in found[0].reason


@pytest.mark.parametrize(
    "change",
    [
        {"padded_size": 2 * PIECES[1].padded_size},
        {"piece_cid": str(PIECES[2].piece_cid)},
        {"aggregate": str(PIECES[2].piece_cid)},
        {"aggregate_padded_size": 2 * PLAN.padded_size},
        {"proof_cbor": "00"},
        {"proof_cbor": "zz"},
        {"piece_cid": "junk"},
        {"padded_size": None},
    ],
    ids=str,
)
def test_a_proof_that_does_not_hold_proves_nothing(change: dict[str, Any]):
    found = proof_findings(statement(line(1)), [proof(1) | change])
    assert [finding.ok for finding in found] == [False, False]


def test_what_is_no_statement_is_said_to_be_none():
    for wrong in (
        {},
        {"periods": 5},
        statement(line(1, offset=-128)),
        statement(line(1, offset=3)),
    ):
        assert [finding.ok for finding in proof_findings(wrong, [])] == [False]
