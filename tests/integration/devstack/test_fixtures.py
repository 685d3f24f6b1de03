"""The fixtures that outsiders use."""

from __future__ import annotations

import pytest

from devstack.stack import Devstack

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_shared_devnet_serves_its_files(shared_devnet: Devstack) -> None:
    await shared_devnet.advance(3)
    token, _, address = shared_devnet.api_info.partition(":")
    assert (shared_devnet.data_dir / "lotus" / "token").read_text() == token
    assert (shared_devnet.data_dir / "lotus" / "api").read_text() == address


async def test_the_shared_devnet_goes_on_in_the_next_test(shared_devnet: Devstack) -> None:
    height = shared_devnet.network.head.height
    await shared_devnet.advance(1)
    assert shared_devnet.network.head.height == height + 1
