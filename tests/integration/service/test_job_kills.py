"""A seeded slice of the soak of the job engine, see `tests.soak_jobs`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak_jobs import soak
from tests.soak_jobs_kinds import TICKS, is_told_whole

pytestmark = pytest.mark.timeout(300)


async def test_jobs_end_once_and_nothing_is_left_however_often_processes_are_killed(tmp_path: Path):
    async with soak(tmp_path, seed=11) as one:
        await one.run(jobs=60, kills=7)
        assert len(one.told) == 60
        assert one.kills.total() == 7


def test_the_soak_knows_a_gap_and_a_line_told_twice():
    half = TICKS[: len(TICKS) // 2]
    assert is_told_whole(half + TICKS, completed=True)
    assert is_told_whole(half[:-3], completed=False)
    assert not is_told_whole(half, completed=True)
    assert not is_told_whole(TICKS.replace("tick 07\n", ""), completed=False)
    assert not is_told_whole(TICKS.replace("tick 07\n", "tick 07\n" * 2), completed=True)
    assert not is_told_whole(TICKS + "tick 39\n", completed=True)
