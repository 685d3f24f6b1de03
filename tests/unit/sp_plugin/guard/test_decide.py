"""What jobs may do beside a prover, by the chain and by the host."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotus_client.types import Epoch
from sp_plugin.config.guard import HostRole
from sp_plugin.guard.decide import GuardState, decide, due_now
from sp_plugin.guard.proof_watch import ProofWatch
from sp_plugin.guard.sights import Activity, GuardRules, HostSight
from tests.unit.sp_plugin.guard.parts import PROVER, deadline, sight, time_of

HOST = HostSight()
FIFTH = deadline(5, (0, 1, 2))  # challenge 280, open 300, close 360


def at(epoch: int, *deadlines, rules=PROVER, host=HOST, watch=None):
    chain = sight(epoch, *deadlines)
    return decide(rules, chain, host, watch or ProofWatch(), now=time_of(epoch))


@pytest.mark.parametrize(
    ("epoch", "state"),
    [
        (269, GuardState.RUN),
        (270, GuardState.NO_STARTS),  # guard.lead_epochs before the challenge
        (279, GuardState.NO_STARTS),
        (280, GuardState.FROZEN),
        (300, GuardState.FROZEN),
        (339, GuardState.FROZEN),
        (340, GuardState.STOP),  # 20 epochs before the close
        (359, GuardState.STOP),
    ],
)
def test_jobs_stand_still_from_the_challenge_and_end_twenty_epochs_before_the_close(epoch, state):
    assert at(epoch, FIFTH).state is state


def test_jobs_go_on_inside_the_window_once_every_partition_is_on_chain():
    assert at(306, deadline(5, (2,), (0, 1, 2))).state is GuardState.FROZEN
    assert at(306, deadline(5, (), (0, 1, 2))).state is GuardState.RUN


def test_a_deadline_with_nothing_to_prove_holds_nothing_up():
    assert at(310, deadline(5), deadline(6)).state is GuardState.RUN


def test_what_can_be_frozen_may_start_before_a_challenge_and_the_rest_may_not():
    verdict = at(275, FIFTH)
    assert verdict.freezable_may_start
    assert verdict.until == FIFTH.challenge
    assert not at(285, FIFTH).freezable_may_start


def test_the_next_deadline_is_challenged_while_this_one_is_open():
    assert at(340, deadline(5, (), (0,)), deadline(6, (0,))).state is GuardState.FROZEN
    both = at(340, deadline(5, (0,)), deadline(6, (0,)))
    assert both.state is GuardState.STOP
    assert [text.split(":")[0] for text in both.reasons] == [
        "partition 0 of deadline 5",
        "partition 0 of deadline 6",
    ]


def test_a_chain_that_was_never_seen_freezes_and_says_why():
    verdict = decide(PROVER, None, HOST, ProofWatch(), now=0, why_unseen="connection refused")
    assert verdict.state is GuardState.FROZEN
    assert "connection refused" in verdict.why


def test_a_head_that_stays_behind_the_clock_freezes_after_five_epochs():
    chain = sight(100, deadline(1, (), (0,)), deadline(2))
    late = [
        decide(PROVER, chain, HOST, ProofWatch(), now=time_of(100 + epochs)) for epochs in (5, 6)
    ]
    assert [verdict.state for verdict in late] == [GuardState.RUN, GuardState.FROZEN]


def test_a_challenge_comes_by_the_clock_although_no_block_does():
    chain = sight(277, FIFTH)
    verdict = decide(PROVER, chain, HOST, ProofWatch(), now=time_of(280))
    assert verdict.state is GuardState.FROZEN
    assert "deadline 5" in verdict.why


def test_a_clock_that_goes_slow_does_not_turn_the_chain_back():
    assert sight(300, FIFTH).epoch_at(time_of(10)) == 300


@pytest.mark.parametrize("role", [role for role in HostRole if role is not HostRole.PROVER])
def test_the_chain_does_not_matter_on_a_host_that_proves_nothing(role):
    rules = GuardRules(role)
    assert decide(rules, sight(340, FIFTH), HOST, ProofWatch(), now=0).state is GuardState.RUN
    assert decide(rules, None, HOST, ProofWatch(), now=0).state is GuardState.RUN


LIMITS = GuardRules(
    HostRole.COMPUTE,
    max_load_percent=200,
    max_io_wait_percent=50,
    least_memory_bytes=1000,
    keep_free_bytes=1000,
)
WELL = HostSight(load_percent=200, io_wait_percent=50, memory_bytes=1000, disk_free_bytes=1000)


@pytest.mark.parametrize(
    ("change", "state", "key"),
    [
        ({}, GuardState.RUN, ""),
        ({"load_percent": 201}, GuardState.NO_STARTS, "guard.max_load_percent"),
        ({"io_wait_percent": 51}, GuardState.NO_STARTS, "guard.max_io_wait_percent"),
        ({"memory_bytes": 999}, GuardState.NO_STARTS, "guard.least_memory_bytes"),
        ({"memory_bytes": 499}, GuardState.STOP, "guard.least_memory_bytes"),
        ({"disk_free_bytes": 999}, GuardState.NO_STARTS, "jobs.keep_free_bytes"),
        ({"disk_free_bytes": 499}, GuardState.STOP, "jobs.keep_free_bytes"),
    ],
)
def test_each_limit_of_the_host_counts_on_every_role_and_names_its_key(change, state, key):
    for role in HostRole:
        rules = replace(LIMITS, role=role)
        verdict = decide(rules, sight(100), replace(WELL, **change), ProofWatch(), now=time_of(100))
        assert verdict.state is state
        assert key in verdict.why


def test_a_host_that_does_not_tell_is_not_held_to_limits():
    assert decide(LIMITS, None, HOST, ProofWatch(), now=0).state is GuardState.RUN


def test_a_host_that_is_short_lets_nothing_start_although_a_challenge_only_nears():
    short = replace(LIMITS, role=HostRole.PROVER)
    verdict = at(275, FIFTH, rules=short, host=replace(WELL, load_percent=900))
    assert (verdict.state, verdict.freezable_may_start) == (GuardState.NO_STARTS, False)


def test_without_a_proof_due_it_says_when_the_next_challenge_comes():
    assert at(250, deadline(4, (), (0,)), FIFTH).until == FIFTH.challenge
    assert at(250, deadline(4), deadline(5)).until == deadline(6).challenge


epochs = st.integers(0, 3000)
indexes = st.integers(1, 48)
parts_of = st.lists(st.integers(0, 9), unique=True).map(tuple)


@given(epochs, indexes, parts_of, parts_of, st.booleans())
def test_nothing_ever_runs_between_a_challenge_and_its_proof_unless_the_prover_rested(
    epoch, index, first, second, rested
):
    near = (deadline(index, first), deadline(index + 1, second))
    chain = sight(epoch, *near)
    watch = ProofWatch()
    if rested and (due := due_now(chain, Epoch(epoch))):
        watch = ProofWatch(due[0].open, was_busy=True, idle_since=Epoch(epoch - 3))
    verdict = decide(PROVER, chain, HOST, watch, now=time_of(epoch))
    due = due_now(chain, Epoch(epoch))
    if not due:
        assert verdict.state in {GuardState.RUN, GuardState.NO_STARTS}
    elif verdict.state is GuardState.RUN:
        assert rested
        assert len(due) == 1
        assert epoch < due[0].open + 10
    assert (verdict.state is GuardState.STOP) == any(d.close - 20 <= epoch for d in due)


def test_a_proof_that_was_made_frees_the_host_until_its_message_is_overdue():
    watch = ProofWatch(FIFTH.open, was_busy=True, idle_since=Epoch(288))
    states = [at(epoch, FIFTH, watch=watch).state for epoch in (291, 292, 309, 310)]
    frozen, run = GuardState.FROZEN, GuardState.RUN
    assert states == [frozen, run, run, frozen]
    never = replace(PROVER, idle_epochs=0)
    assert at(300, FIFTH, rules=never, watch=watch).state is frozen


def test_rest_counts_only_behind_work_on_this_very_deadline():
    watch = ProofWatch().look(FIFTH, Activity.IDLE, Epoch(281))
    assert watch.rested(FIFTH, Epoch(295)) == 0
    watch = watch.look(FIFTH, Activity.BUSY, Epoch(283)).look(FIFTH, Activity.IDLE, Epoch(290))
    assert watch.rested(FIFTH, Epoch(295)) == 5
    assert watch.look(FIFTH, Activity.IDLE, Epoch(294)).rested(FIFTH, Epoch(295)) == 5
    assert watch.look(FIFTH, None, Epoch(294)).rested(FIFTH, Epoch(295)) == 0
    assert watch.look(FIFTH, Activity.BUSY, Epoch(294)).rested(FIFTH, Epoch(295)) == 0
    sixth = deadline(6, (0,))
    assert watch.look(sixth, Activity.IDLE, Epoch(341)).rested(sixth, Epoch(350)) == 0
    assert watch.look(None, Activity.IDLE, Epoch(320)) == ProofWatch()
