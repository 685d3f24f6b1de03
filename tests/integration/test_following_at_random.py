"""A seeded slice of the soak: random forks, null rounds, drops, kills and late news."""

import pytest

from tests.soak_devnet import run_devnet_episode
from tests.soak_following import run_episode


@pytest.mark.parametrize("seed", [3, 14, 15, 92, 65, 35, 89, 79])
async def test_after_every_step_the_index_is_the_one_built_from_scratch(seed):
    assert await run_episode(seed, 25) > 5


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("seed", [1, 2, 5])
async def test_on_a_living_devnet_too(seed, tmp_path):
    seen = await run_devnet_episode(seed, 10, tmp_path)
    assert {"reorg", "claim", "extend"} <= seen
    assert len(seen) > 8
