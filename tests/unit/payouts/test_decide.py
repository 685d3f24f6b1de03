"""Whom to pay how much, batches, and gas."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotus_client.crypto import Secp256k1Key
from lotus_client.messages import Message
from lotus_client.types import AttoFil, Epoch
from sp_plugin.payouts.decide import Due, Limits, Purse, Spent, decide_payouts
from sp_plugin.payouts.fees import FeePolicy, gas_cost, replacement_of
from sp_plugin.payouts.states import (
    TERMINAL,
    TRANSITIONS,
    UNDECIDED,
    IllegalTransition,
    PayoutState,
    check_transition,
)

PAYEES = [Secp256k1Key(bytes([n]) * 32).address for n in range(1, 6)]
LIMITS = Limits(minimum=AttoFil(100), max_fee=AttoFil(10))
RICH = Purse(AttoFil(10**9))


def due(number: int, amount: int, since: int = 0) -> Due:
    return Due(PAYEES[number], AttoFil(amount), Epoch(since))


def test_too_little_float_pays_the_oldest_first_and_holds_the_rest() -> None:
    dues = [due(0, 500, since=9), due(1, 800, since=3), due(2, 100, since=20)]
    plan = decide_payouts(dues, LIMITS, Purse(AttoFil(1000)))
    assert [(d.payee, d.held) for d in plan.decisions] == [
        (PAYEES[1], ""),
        (PAYEES[0], "unfunded"),
        (PAYEES[2], "unfunded"),  # it would fit, but a younger debt never overtakes an older one
    ]
    assert plan.lacking == AttoFil(500 + 800 + 100 + 30 - 1000)


def test_below_the_minimum_is_held_as_dust() -> None:
    [decision] = decide_payouts([due(0, 99)], LIMITS, RICH).decisions
    assert decision.held.startswith("dust")


def test_limits_cut_a_payment_and_leave_the_rest_due() -> None:
    limits = replace(
        LIMITS, per_payout=AttoFil(300), per_payee_per_day=AttoFil(1000), per_day=AttoFil(450)
    )
    plan = decide_payouts([due(0, 900, 1), due(1, 900, 2)], limits, RICH)
    assert [d.amount.value for d in plan.payments] == [300, 150]
    spent = Spent(AttoFil(400), {PAYEES[0]: AttoFil(400)})
    [first, second] = decide_payouts(
        [due(0, 900, 1), due(1, 900, 2)], limits, RICH, spent
    ).decisions
    assert (first.held, second.held) == ("limit: per day", "limit: per day")


def test_nothing_is_paid_that_the_miner_could_not_withdraw() -> None:
    purse = Purse(AttoFil(5000), withdrawable=AttoFil(0), withdrawn=AttoFil(450))
    plan = decide_payouts([due(0, 450, 1), due(1, 450, 2)], LIMITS, purse)
    assert [d.amount.value for d in plan.payments] == [450]
    assert plan.decisions[1].held == "limit: what the miner can withdraw now"


def test_a_held_payee_is_not_paid() -> None:
    plan = decide_payouts([due(0, 500)], LIMITS, RICH, holds={PAYEES[0]: "fraud: case 7"})
    assert [d.held for d in plan.decisions] == ["fraud: case 7"]


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 10**6), st.integers(0, 99)), max_size=8),
    st.integers(-100, 10**6),
    st.none() | st.integers(0, 10**6),
    st.none() | st.integers(0, 10**6),
)
def test_no_plan_exceeds_float_day_limit_or_withdrawable(
    raw: list[tuple[int, int, int]], float_: int, per_day: int | None, withdrawable: int | None
) -> None:
    dues = list({number: due(number, amount, since) for number, amount, since in raw}.values())
    limits = replace(LIMITS, per_day=None if per_day is None else AttoFil(per_day))
    released = None if withdrawable is None else AttoFil(withdrawable)
    plan = decide_payouts(dues, limits, Purse(AttoFil(float_), released, AttoFil(77)))
    total = plan.total.value
    assert total + 10 * len(plan.payments) <= max(float_, 0)
    assert per_day is None or total <= per_day
    assert withdrawable is None or total <= withdrawable + 77
    owed = {item.payee: item.amount for item in dues}
    assert all(d.amount <= owed[d.payee] for d in plan.decisions)


# (gas used, gas limit, burnt): cases of Lotus' rule that more than 1.1 times the gas used burns progressively
@pytest.mark.parametrize(
    ("used", "limit", "burnt"),
    [(100, 200, 90), (100, 150, 20), (1000, 1300, 60), (500, 700, 60), (200, 200, 0), (20, 21, 0), (100, 300, 200), (0, 50, 50)],
)  # fmt: skip
def test_gas_that_was_not_needed_is_burnt_progressively(used: int, limit: int, burnt: int) -> None:
    message = Message(PAYEES[0], PAYEES[1], gas_limit=limit, gas_fee_cap=AttoFil(7))
    assert gas_cost(message, used, AttoFil(3)) == AttoFil(3 * (used + burnt))


def test_tip_is_for_the_whole_limit_and_limited_by_the_fee_cap() -> None:
    message = Message(
        PAYEES[0], PAYEES[1], gas_limit=100, gas_fee_cap=AttoFil(10), gas_premium=AttoFil(4)
    )
    assert gas_cost(message, 100, AttoFil(3)) == AttoFil(100 * 3 + 100 * 4)
    assert gas_cost(message, 100, AttoFil(8)) == AttoFil(100 * 8 + 100 * 2)
    assert gas_cost(message, 100, AttoFil(50)) == AttoFil(100 * 10)


@given(st.integers(1, 10**9), st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9))
def test_gas_never_costs_more_than_limit_times_fee_cap(
    limit: int, used: int, base_fee: int, fee_cap: int
) -> None:
    message = Message(
        PAYEES[0], PAYEES[1], gas_limit=limit, gas_fee_cap=AttoFil(fee_cap), gas_premium=AttoFil(99)
    )
    assert 0 <= gas_cost(message, min(used, limit), AttoFil(base_fee)).value <= limit * fee_cap


@given(st.integers(1, 10**7), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**13))
def test_a_replacement_is_accepted_by_nodes_and_stays_under_the_cap(
    limit: int, premium: int, base_fee: int, cap: int
) -> None:
    message = Message(
        PAYEES[0],
        PAYEES[1],
        gas_limit=limit,
        gas_fee_cap=AttoFil(premium + 100),
        gas_premium=AttoFil(premium),
    )
    found = replacement_of(message, AttoFil(base_fee), FeePolicy(AttoFil(cap)))
    if found is None:
        return
    assert found.is_same_call(message)
    assert found.gas_limit == limit
    assert found.gas_premium.value * 100 >= premium * 125
    assert found.gas_premium.value >= premium * 110 // 100 + 1
    assert found.gas_premium <= found.gas_fee_cap
    assert found.gas_fee_cap.value * limit <= cap


def test_an_undecided_payout_can_only_follow_its_own_message() -> None:
    for state in UNDECIDED:
        assert not TRANSITIONS[state] & {
            PayoutState.PLANNED,
            PayoutState.APPROVED,
            PayoutState.HELD,
        }
    for state in TERMINAL:
        assert not TRANSITIONS[state]
    with pytest.raises(IllegalTransition):
        check_transition(PayoutState.SENT, PayoutState.APPROVED)
