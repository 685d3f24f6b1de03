"""The demo itself, as `make demo` plays it: its summary is true, also under Solstice, also the second time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from devstack.demo.docker_image import why_no_engine
from tests.e2e.conftest import play_demo

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

KEYS = {
    "accrued_attofil", "accrued_by_source", "approvals", "audit_ok", "bundle_digest", "claim_id",
    "credited_attofil", "exit_code", "job_id", "ledger_ok", "mainnet_equivalent_attofil_per_year",
    "output_cid", "output_claim_id", "paid_attofil", "payee_balance_attofil", "payout_message_cid",
    "piece_cid", "seconds",
}  # fmt: skip


@pytest.fixture(scope="module")
def solstice_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a demo was played before, by another version or killed half-way."""
    folder = tmp_path_factory.mktemp("solstice") / "out"
    (folder / "sidecar/data").mkdir(parents=True)
    (folder / "sidecar/data/sp-plugin.db").write_bytes(b"of an earlier run")
    (folder / "summary.json").write_text("{}")
    return folder


@pytest.fixture(scope="module")
def solstice(solstice_folder: Path) -> dict[str, Any]:
    """The summary of the demo under network version 29, played into a folder that is not empty."""
    return play_demo(solstice_folder, 29)


def _is_true(summary: dict[str, Any], folder: Path) -> None:
    statement = json.loads((folder / "statement.json").read_text())
    assert summary.keys() >= KEYS
    assert json.loads((folder / "summary.json").read_text()) == summary
    paid = int(summary["paid_attofil"])
    assert paid > 0
    assert summary["payee_balance_attofil"] == str(paid)
    assert statement["totals"]["paid"] == str(paid)
    assert paid == int(statement["totals"]["released"]) <= int(summary["accrued_attofil"])
    assert (summary["exit_code"], summary["ledger_ok"], summary["audit_ok"]) == (0, True, True)
    assert len(set(summary["approvals"])) == 2


def test_the_payee_has_what_the_statement_and_the_summary_say(
    demo: dict[str, Any], demo_folder: Path
):
    _is_true(demo, demo_folder)
    assert demo["claim_id"] != demo["output_claim_id"] is not None
    assert int(demo["accrued_attofil"]) <= int(demo["credited_attofil"])


def test_what_is_paid_comes_from_the_output_alone(demo: dict[str, Any]):
    assert demo["accrued_by_source"] == {"produced": demo["accrued_attofil"], "used": "0"}
    assert int(demo["mainnet_equivalent_attofil_per_year"]) > 0


def test_the_last_line_is_the_mainnet_equivalent_labelled_so(
    demo: dict[str, Any], demo_folder: Path
):
    *_, last = demo_folder.with_suffix(".txt").read_text().splitlines()
    assert last.startswith("mainnet equivalent")
    assert demo["mainnet_equivalent_rates"] in last


@pytest.mark.docker
def test_the_docker_job_ran_where_an_engine_answers(demo: dict[str, Any]):
    if reason := why_no_engine():
        assert demo["docker"] == {"ran": False, "reason": reason}
        pytest.skip(f"needs a running Docker engine: {reason}")
    assert (demo["docker"]["ran"], demo["docker"]["exit_code"]) == (True, 0)


def test_solstice_pays_the_named_budget_for_a_plain_piece(
    solstice: dict[str, Any], solstice_folder: Path
):
    _is_true(solstice, solstice_folder)
    assert (solstice["claim_id"], solstice["output_claim_id"]) == (None, None)
    assert solstice["accrued_attofil"] == str(25 * 10**16)  # `fixed_budget_fil: "0.25"`
    assert solstice["mainnet_equivalent_attofil_per_year"] == "0"
    text = solstice_folder.with_suffix(".txt").read_text()
    assert "no DataCap, no allocations, no claims" in text
    assert "fixed_budget" in text
