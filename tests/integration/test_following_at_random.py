"""A seeded slice of the soak: random forks, null rounds, drops, kills and late news."""

import pytest

from tests.soak_following import run_episode


@pytest.mark.parametrize("seed", [3, 14, 15, 92, 65, 35, 89, 79])
async def test_after_every_step_the_index_is_the_one_built_from_scratch(seed):
    assert await run_episode(seed, 25) > 5
