"""Proving deadlines as a node prints them, and their arithmetic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotus_client.bitfield import BitField
from lotus_client.codec.proving import (
    deadline_info_from_json,
    partitions_from_json,
    posted_from_json,
)
from lotus_client.errors import LotusDecodeError
from lotus_client.proving import DeadlineInfo, ProvingPartition
from lotus_client.types import Epoch

# What Lotus prints for mainnet's constants (go-state-types `dline`): deadline 42 of a period that started at epoch 5,000,000.
INFO = {
    "CurrentEpoch": 5002530,
    "PeriodStart": 5000000,
    "Index": 42,
    "Open": 5002520,
    "Close": 5002580,
    "Challenge": 5002500,
    "FaultCutoff": 5002450,
    "WPoStPeriodDeadlines": 48,
    "WPoStProvingPeriod": 2880,
    "WPoStChallengeWindow": 60,
    "WPoStChallengeLookback": 20,
    "FaultDeclarationCutoff": 70,
}


def test_a_deadline_is_read_as_lotus_prints_it():
    info = deadline_info_from_json(INFO)
    assert (info.index, info.open, info.close, info.challenge) == (42, 5002520, 5002580, 5002500)
    assert (info.deadlines, info.window, info.lookback) == (48, 60, 20)


def test_the_next_deadlines_follow_and_the_period_turns():
    info = deadline_info_from_json(INFO)
    following = info.after(1)
    assert (following.index, following.open, following.challenge) == (43, 5002580, 5002560)
    turned = info.after(6)
    assert (turned.index, turned.period_start, turned.open) == (0, 5002880, 5002880)
    assert info.after(48).index == 42
    assert info.after(0) == info


@given(st.integers(0, 47), st.integers(0, 200), st.integers(0, 200))
def test_going_on_in_two_steps_is_going_on_in_one(index, first, second):
    start = Epoch(7)
    opens = Epoch(start + index * 60)
    info = DeadlineInfo(
        opens, start, index, opens, Epoch(opens + 60), Epoch(opens - 20), 48, 60, 20
    )
    assert info.after(first).after(second) == info.after(first + second)
    later = info.after(first)
    assert later.open == later.period_start + later.index * 60 + (opens - start - index * 60)


@pytest.mark.parametrize(
    "change",
    [
        {"Close": 5002579},
        {"Challenge": 5002501},
        {"WPoStPeriodDeadlines": 0},
        {"WPoStPeriodDeadlines": 1 << 40},
        {"WPoStChallengeWindow": 0},
        {"Index": -1},
        {"Open": None},
        {"Open": "5002520"},
    ],
)
def test_epochs_that_contradict_each_other_are_refused(change):
    with pytest.raises(LotusDecodeError):
        deadline_info_from_json(INFO | change)


def test_proofs_on_chain_are_read_by_deadline():
    raw = [
        {"PostSubmissions": [0], "DisputableProofCount": 0, "DailyFee": "0"},
        {"PostSubmissions": [5, 1], "DisputableProofCount": 42, "DailyFee": "0"},
    ]
    assert posted_from_json(raw) == (BitField(), BitField.from_ints([5]))
    assert posted_from_json(None) == ()
    for wrong in ([{"PostSubmissions": 3}], [7], {"a": 1}):
        with pytest.raises(LotusDecodeError):
            posted_from_json(wrong)


def partition(live=(), faulty=(), recovering=()):
    raw = {
        "AllSectors": [0, 9],
        "FaultySectors": BitField.from_ints(faulty).run_lengths(),
        "RecoveringSectors": BitField.from_ints(recovering).run_lengths(),
        "LiveSectors": BitField.from_ints(live).run_lengths(),
        "ActiveSectors": [0],
    }
    (found,) = partitions_from_json([raw])
    return found


def test_a_partition_needs_a_proof_if_there_is_anything_to_prove():
    assert partition(live=[1, 2]).needs_proof
    assert partition(live=[1, 2], faulty=[1]).needs_proof
    assert partition(live=[1], faulty=[1], recovering=[1]).needs_proof
    assert not partition(live=[1, 2], faulty=[1, 2]).needs_proof
    assert not partition().needs_proof  # all ended
    assert ProvingPartition(BitField(), BitField(), BitField()).needs_proof is False
