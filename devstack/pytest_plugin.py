"""A Filecoin devnet as pytest fixtures, for anybody's tests.

In `conftest.py`: `pytest_plugins = ["devstack.pytest_plugin"]` (needs pytest-asyncio), then

    async def test_my_tool(devnet):
        await devnet.advance(10)
        run_my_tool(FULLNODE_API_INFO=devnet.api_info)
        await devnet.reorg(depth=3)

`devnet` is fresh for each test; `shared_devnet` is one for the whole session, so a test must not rely on its height (its
tests need `@pytest.mark.asyncio(loop_scope="session")`). Both are a `devstack.stack.Devstack`:

* `.api_info`, `.miner_api_info`: connection strings with an admin token; `.token(Permission.READ)` for a lesser one;
* `await .advance(epochs)`, `await .reorg(depth=n)`;
* `.network`: the chain itself, to look behind the API or to send messages (`.network.send("alice", …)`);
* `.provider`: the storage provider's sealing software (`await .provider.add_piece(b"…", allocation=1)`);
* `.data_dir`: `lotus/{api,token}`, `miner/{api,token,storage.json,storage/}` as `$LOTUS_PATH` and `$LOTUS_MINER_PATH`;
* `.market_url`, `.curio_api_info`: what a provider of the flavours `boost` and `curio` has besides.

Override the fixture `devnet_config` to change the network or the flavour, in a conftest or in one test module:

    @pytest.fixture(scope="session")
    def devnet_config():
        return DevstackConfig(flavour=Flavour.CURIO, storage_paths=2)

Tests that block sockets must allow 127.0.0.1.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from devstack.stack import Devstack, DevstackConfig

__all__ = ["devnet", "devnet_config", "shared_devnet"]


@pytest.fixture(scope="session")
def devnet_config() -> DevstackConfig:
    """The devnet's config; override it in your conftest."""
    return DevstackConfig()


@pytest_asyncio.fixture
async def devnet(devnet_config: DevstackConfig) -> AsyncIterator[Devstack]:
    """A fresh devnet."""
    async with Devstack(devnet_config) as net:
        yield net


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_devnet(devnet_config: DevstackConfig) -> AsyncIterator[Devstack]:
    """One devnet for the session."""
    async with Devstack(devnet_config) as net:
        yield net
