"""Every figure of a statement is either checked by the audit or said to be information only."""

from __future__ import annotations

import copy
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert

from fil_plus.pieces import SubPiece
from fil_plus.terms import Basis, ShareTerms
from fil_plus.win_values import ProducedPiece, UsedPiece
from lotus_client.types import AttoFil, Epoch, PaddedPieceSize
from sp_plugin.audit.statement import audit_statement
from sp_plugin.books import check_ledger_and_tables
from sp_plugin.ledger import payable
from sp_plugin.store.base import metadata
from sp_plugin.store.ledger import ledger_entries
from sp_plugin.store.payout_tables import payouts
from tests.fake_earnings_chain import MIB, PROVIDER
from tests.fakes_chain import piece_cid
from tests.unit.earnings.world import PAYEE, World

# What `sp_plugin.audit` says it believes: paths as patterns.
INFORMATION = re.compile(
    r"open_period\..*"
    r"|ledger\.entries"
    r"|periods\.\d+\.settings\.(input_window_epochs|solstice_epoch|capital_cost_apr_bps)"
    r"|periods\.\d+\.shares\.(produced|used)\.\d+\.terms\.(input_bps|output_bps|max_share_bps|budget|budget_epochs)"
    r"|periods\.\d+\.lines\.\d+\.terms\..*"
    r"|periods\.\d+\.shares\.used\.\d+\.used_at"
    r"|periods\.\d+\.released_to"
    r"|periods\.\d+\.shares\.produced\.1\.counted_bytes"  # the budget's
)


# A result and an input inside the two pieces, or the pieces themselves.
INSIDE = SubPiece(MIB, PaddedPieceSize(MIB), piece_cid(70))


@pytest.fixture(params=["whole", "inside"])
async def world(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """Two periods with an output share, a budget, a bonus for use, costs, a late win and a payment."""
    inside = INSIDE if request.param == "inside" else None
    counted = MIB if inside is None else INSIDE.unpadded_size - 1000
    made = World(tmp_path / "state.db")
    async with made.store.transaction() as connection:
        await connection.run_sync(metadata.create_all)
    made.chain.wins = {1500: 1, 2000: 2, 2700: 1, 4500: 1}
    made.chain.sectors = [replace(s, daily_fee=AttoFil(10**14)) for s in made.chain.sectors]
    made.settings = replace(made.settings, capital_cost_apr_bps=500)
    budget = ShareTerms(Basis.FIXED_BUDGET, budget=AttoFil(10**15), budget_epochs=9000)
    bonus = ShareTerms(Basis.VERIFIED_EXTRA, output_bps=0, input_bps=100)
    made.register.produced_ = [
        ProducedPiece(
            "claim:7",
            PAYEE,
            "job-1",
            counted,
            ShareTerms(Basis.VERIFIED_EXTRA),
            sub_piece=inside,
        ),
        ProducedPiece("claim:8", PAYEE, "job-2", MIB, budget),
    ]
    use = UsedPiece("claim:8", PAYEE, "g", "job-3", "w", Epoch(1600), bonus)
    if inside is not None:
        use = replace(use, sub_piece=inside, counted_bytes=counted)
    made.register.used_ = [use]
    made.chain.pruned = {2700}
    await made.step(3 * 2880 + 900)
    made.chain.pruned = set()
    await made.step(4 * 2880 + 900)
    await made.pay(-await made.balance(payable(PAYEE)) // 3)
    yield made
    await made.store.close()


def figures(value: Any, path: str = "") -> Iterator[str]:
    """The paths of all numbers, be they JSON numbers or decimal text."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from figures(item, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from figures(item, f"{path}.{index}")
    elif not isinstance(value, bool):
        text = str(value)
        if isinstance(value, int) or re.fullmatch(r"-?\d+", text):
            yield path


def changed(statement: dict[str, Any], path: str, by: int) -> dict[str, Any]:
    made = copy.deepcopy(statement)
    *parents, last = path.split(".")
    here: Any = made
    for name in parents:
        here = here[int(name)] if isinstance(here, list) else here[name]
    key: Any = int(last) if isinstance(here, list) else last
    here[key] = here[key] + by if isinstance(here[key], int) else str(int(here[key]) + by)
    return made


async def test_one_atto_more_or_less_anywhere_fails_the_audit(world: World) -> None:
    statement: dict[str, Any] = await world.statement()
    honest = await audit_statement(statement, world.chain)
    assert [finding for finding in honest.findings if not finding.ok] == []
    bases = {line["basis"] for period in statement["periods"] for line in period["lines"]}
    assert bases == {"verified_extra", "fixed_budget"}
    assert {period["revision"] for period in statement["periods"]} == {0, 1}
    empty = [n for n, period in enumerate(statement["periods"]) if not period["lines"]]
    unseen = {f"periods.{n}.{name}" for n in empty for name in ("leaves", "settings.sector_size")}
    late = [n for n, period in enumerate(statement["periods"]) if period["revision"]]
    unseen |= {f"periods.{n}.revision" for n in late}  # that it is a supplement, not which
    checked = [p for p in figures(statement) if not INFORMATION.fullmatch(p) and p not in unseen]
    assert len(checked) > 200
    passed = [
        path
        for path, by in zip(checked, cycle((1, -1)), strict=False)
        if (await audit_statement(changed(statement, path, by), world.chain)).ok
    ]
    assert passed == [], "\n".join(passed)


async def test_a_line_said_twice_with_sums_that_fit_fails_the_audit(world: World) -> None:
    statement: dict[str, Any] = await world.statement()
    period = statement["periods"][0]
    line = next(line for line in period["lines"] if line["source"] == "produced")
    period["lines"].append(dict(line))
    extra = int(line["amount"])
    for item, names in (
        (next(j for j in period["jobs"] if j["job"] == line["job"]), ("produced",)),
        (next(n for n in period["nets"] if n["piece"] == line["piece"]), ("gross", "net")),
        (statement["totals"], ("net_accrued", "vesting")),
        (statement["totals"]["accrued_by_source"], ("produced",)),
    ):
        for name in names:
            item[name] = str(int(item[name]) + extra)
    report = await audit_statement(statement, world.chain)
    assert any("there twice" in finding.reason for finding in report.findings)


async def test_what_is_called_released_must_follow_the_schedule(world: World) -> None:
    statement: dict[str, Any] = await world.statement()
    totals = statement["totals"]
    for name, by in (("released", 7), ("due", 7), ("vesting", -7)):
        totals[name] = str(int(totals[name]) + by)
    report = await audit_statement(statement, world.chain)
    assert [f.where for f in report.findings if not f.ok] == ["vesting"]


async def test_a_budget_that_starts_before_its_sector_fails_the_audit(world: World) -> None:
    statement: dict[str, Any] = await world.statement()
    for period in statement["periods"]:
        for line in period["lines"]:
            line["held_from"] = 1
    assert not (await audit_statement(statement, world.chain)).ok


@pytest.mark.parametrize("kind", ["award", "accrual", "payout"])
async def test_an_entry_cut_off_at_the_end_of_the_ledger_is_found(world: World, kind: str) -> None:
    """The hash chain of what is left is whole; only the other tables know that something is missing."""
    if kind != "payout":
        cut = next(e for e in await world.ledger.entries() if e.draft.kind.value == kind)
    else:
        cut = (await world.ledger.entries())[-1]
    async with world.store.transaction() as connection:
        await connection.execute(
            delete(ledger_entries).where(ledger_entries.c.sequence >= cut.sequence)
        )
    assert (await world.ledger.check()).problems == ()
    if kind == "payout":
        # the fixture books a payment without a payout's row: give it one, as the sender would have
        async with world.store.transaction() as connection:
            await connection.execute(
                insert(payouts).values(
                    id="1", payee=PAYEE, amount=AttoFil(5), state="final", reason="", nonce=0
                )
            )
    report = await check_ledger_and_tables(world.store, PROVIDER)
    assert any(problem.where.startswith(kind) for problem in report.problems)
