"""`kill -9` at chosen moments, and a restart: the same balances, one payout message, one ledger, one result."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from lotus_client.types import AttoFil
from tests.e2e.killed_story import COPIES, KilledStory, tell
from tests.e2e.killing_sidecar import Moment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> KilledStory:
    """The story of the demo, with the same seed, and all the kills."""
    return asyncio.run(tell(tmp_path_factory.mktemp("kills") / "out"))


@pytest.mark.parametrize("moment", Moment)
def test_the_sidecar_was_killed_at_every_moment(story: KilledStory, moment: Moment):
    assert story.deaths[moment].happened(moment)


def test_a_guest_does_not_outlive_the_sidecar(story: KilledStory):
    orphans = story.deaths[Moment.DURING_JOB].orphans(Moment.DURING_JOB)
    assert orphans
    assert [pid for pid in orphans if Path(f"/proc/{pid}").exists()] == []


def test_a_job_killed_twice_has_one_result(story: KilledStory):
    assert len(story.results) == 1
    kinds = sorted(name.partition(".")[2] for name in story.staged)
    assert kinds == ["car", "json", "run-record.json"]
    states = [item["ComputeState"]["StateType"] for item in story.executions]
    assert sorted(states) == [9, 10, 10]  # one completed, two failed: "went silent"
    messages = {item["ComputeState"]["Message"] for item in story.executions}
    assert any("went silent" in message for message in messages)


def test_the_result_is_that_of_the_undisturbed_run(story: KilledStory, demo: dict[str, Any]):
    assert str(story.job.root) == demo["output_cid"]


@pytest.mark.parametrize("name", COPIES)
def test_after_a_kill_the_payee_is_paid_once_and_as_much_as_undisturbed(
    story: KilledStory, demo: dict[str, Any], name: str
):
    paid = story.paid[name]
    totals = paid.statement["totals"]
    assert totals["paid"] == demo["paid_attofil"]
    assert totals["net_accrued"] == demo["accrued_attofil"]
    (message,) = paid.messages
    assert paid.nonce == 1
    assert (str(message.message.to), str(message.message.value)) == (
        demo["payee"],
        demo["paid_attofil"],
    )
    (payout,) = paid.payouts
    assert (payout["state"], payout["message"]) == ("final", str(message.cid))


@pytest.mark.parametrize("name", COPIES)
def test_after_a_kill_there_is_one_ledger_and_the_statement_holds(story: KilledStory, name: str):
    paid = story.paid[name]
    assert (paid.ledger["ok"], paid.ledger["problems"]) == (True, [])
    assert paid.audit["ok"], paid.audit["findings"]


def test_a_token_that_may_not_push_holds_the_payout_and_stops_nothing(story: KilledStory):
    held = story.held
    assert held is not None
    assert (held.payout["state"], held.is_live, held.nonce) == ("signed", True, 0)
    assert "permission write" in held.log
    assert "Traceback" not in held.log
    assert held.doctor.exit_code == 1
    assert "permission to push" in held.doctor.stdout


def test_the_payee_has_exactly_what_the_statements_say(story: KilledStory):
    total = sum(int(paid.statement["totals"]["paid"]) for paid in story.paid.values())
    assert story.risen == AttoFil(total)
