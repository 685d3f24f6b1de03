from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from sp_plugin.jobs.deadlines import deadlines_of, why_too_late
from sp_plugin.jobs.fairness import Candidate, Choice, Quota, Share, decide_next

A = Candidate("j-a", "ann", 0, 1)
B = Candidate("j-b", "bob", 9, 2)
shares = st.builds(
    Share,
    running=st.integers(0, 3),
    compute_ms=st.integers(0, 5000),
    output_bytes=st.integers(0, 100),
    last_start=st.integers(0, 9),
)


def test_whoever_runs_least_goes_first_whatever_the_priority():
    assert decide_next([A, B], {"bob": Share(running=1)}, {}).job_id == "j-a"
    assert decide_next([A, B], {"ann": Share(running=1)}, {}).job_id == "j-b"


def test_with_equal_runs_the_one_that_used_least_in_the_day_goes_first():
    used = {"ann": Share(compute_ms=2000), "bob": Share(compute_ms=1000)}
    assert decide_next([A, B], used, {}).job_id == "j-b"
    assert decide_next([A, B], used, {"ann": Quota(weight=3)}).job_id == "j-a"


def test_with_equal_use_they_take_turns():
    assert decide_next([A, B], {"ann": Share(last_start=5)}, {}).job_id == "j-b"
    assert decide_next([A, B], {}, {}).job_id == "j-a"  # the older one


def test_who_is_over_a_quota_is_passed_by_and_told_which():
    for quota, share, word in (
        (Quota(max_running=1), Share(running=1), "max_running"),
        (Quota(compute_seconds_per_day=2), Share(compute_ms=2000), "compute_seconds_per_day"),
        (Quota(output_bytes_per_day=10), Share(output_bytes=10), "output_bytes_per_day"),
    ):
        choice = decide_next([A, B], {"ann": share}, {"ann": quota})
        assert choice.job_id == "j-b"
        assert word in choice.passed_by["j-a"]
        assert decide_next([A], {"ann": share}, {"ann": quota}).job_id is None
    assert decide_next([], {}, {}) == Choice()


@given(st.dictionaries(st.text(min_size=1), shares, min_size=1), st.randoms())
def test_the_choice_does_not_depend_on_the_order_asked_in(used, mix: random.Random):
    candidates = [Candidate(f"j-{name}", name, 0, n % 2) for n, name in enumerate(used)]
    first = decide_next(candidates, used, {})
    mix.shuffle(candidates)
    assert decide_next(candidates, used, {}) == first
    assert first.job_id is not None


def test_total_time_runs_from_the_first_queueing_and_queue_time_from_the_last():
    spec = {"Tasks": [{"Timeouts": {"QueueTimeout": 5, "TotalTimeout": 60}}]}
    found = deadlines_of(spec, 10 * 10**9, 2 * 10**9)
    assert (found.queue, found.total) == (15 * 10**9, 62 * 10**9)
    assert "QueueTimeout" in why_too_late(spec, found.total, 20 * 10**9)
    assert "60 s" in why_too_late(spec, found.total, 70 * 10**9)
    assert deadlines_of({"Tasks": []}, 1, 1).total is None
