"""A statement is audited from the chain alone."""

from __future__ import annotations

import copy

import pytest

from sp_plugin.audit.statement import audit_statement
from sp_plugin.ledger import payable
from sp_plugin.statement_text import statement_text
from tests.unit.earnings.world import PAYEE, World


async def test_a_statement_is_audited_from_the_chain_alone(world: World) -> None:
    await world.step()
    await world.pay(-await world.balance(payable(PAYEE)))
    report = await world.audit()
    assert [f for f in report.findings if not f.ok] == []
    assert any(f.where.startswith("payment") for f in report.findings)
    text = statement_text(await world.statement())
    assert "Nothing here is escrow" in text
    assert "yearly rate: 0 %" in text


@pytest.mark.parametrize(
    "path",
    [
        "periods.0.lines.0.credited",
        "periods.0.lines.0.amount",
        "periods.0.lines.0.miner_qap",
        "periods.0.lines.0.verified",
        "periods.0.lines.0.win",
        "periods.0.root",
        "periods.0.nets.0.fee_cost",
        "periods.0.nets.0.carried",
        "periods.0.jobs.0.produced",
        "payments.0.amount",
        "payments.0.message",
        "totals.paid",
        "totals.net_accrued",
    ],
)
async def test_any_changed_figure_fails_the_audit(world: World, path: str) -> None:
    await world.step()
    await world.pay(-await world.balance(payable(PAYEE)))
    statement = copy.deepcopy(await world.statement())
    *parents, last = path.split(".")
    here = statement
    for name in parents:
        here = here[int(name)] if name.isdigit() else here[name]  # type: ignore[index,assignment]
    here[last] = _other(here[last])
    assert not (await audit_statement(statement, world.chain)).ok


def _other(value: object) -> object:
    if isinstance(value, int):
        return value + 1
    text = str(value)
    if text.isdigit():
        return str(int(text) + 1)
    return text[:-1] + ("b" if text[-1] == "a" else "a")


async def test_a_statement_that_is_no_statement_is_a_failed_audit_not_a_crash(world: World) -> None:
    assert not (await audit_statement({"periods": 3}, world.chain)).ok
    assert not (await audit_statement({}, world.chain)).ok
