"""What an operator sees of epochs that could not be read, and that money waits for them: a sidecar behind a gateway."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import aiohttp
import pytest

from devstack.chain import NetworkConfig
from devstack.stack import Devstack, DevstackConfig
from lotus_client.cid import Cid
from tests.integration.service.conftest import SidecarAtWork, make_deal, running, write_config
from tests.integration.service.test_commands import sp_plugin

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

LOOKBACK = 2000  # epochs


@pytest.fixture(scope="session")
def devnet_config() -> DevstackConfig:
    """Beside a small miner, so that the provider wins often; with a gateway."""
    network = NetworkConfig(genesis_sectors=96)
    seconds = LOOKBACK * network.block_delay_seconds
    return DevstackConfig(network=network, gateway_port=0, gateway_lookback_seconds=seconds)


def behind_gateway(net: Devstack, directory: Path, **changes: str) -> Path:
    """A sidecar's configuration that names the gateway alone."""
    here = f"tcp/{net.api_port}/http"
    return write_config(net, directory, **{here: f"tcp/{net.gateway_port}/http"}, **changes)


async def followed(net: Devstack, sidecar: SidecarAtWork) -> dict[str, Any]:
    parent = net.network.tipset(net.network.head.parents).height
    answer: dict[str, Any] = await sidecar.until(
        "/api/v1/sp/status", lambda body: body.get("followed_epoch") == parent, 60
    )
    return answer


async def won(net: Devstack) -> None:
    """Mine until the provider has won a block, and that is final."""
    miner = net.provider.miner
    await net.node.advance(
        30_000, until=lambda tipset: any(block.miner == miner for block in tipset.blocks)
    )
    await net.advance(920)


async def test_without_traces_a_win_stays_unknown_and_nothing_is_paid_for_it(
    devnet: Devstack, tmp_path: Path, car: tuple[bytes, Cid]
) -> None:
    await make_deal(devnet, car[0])
    await devnet.advance(3000)
    await won(devnet)
    start = devnet.network.head.height - 1500
    config = behind_gateway(devnet, tmp_path, **{"start_epoch: 0": f"start_epoch: {start}"})
    async with running(config) as sidecar:
        earnings = await sidecar.until("/api/v1/sp/earnings", lambda body: body.get("wins"), 60)
        assert {(win["credited"], win["complete"]) for win in earnings["wins"]} == {(None, False)}
        ledger = await sidecar.call("GET", "/api/v1/sp/ledger")
        assert not [name for name in ledger["balances"] if name.startswith("payable")]
        assert (await sidecar.call("GET", "/api/v1/sp/payouts"))["items"] == []
        code, out, _ = await sp_plugin(config, "earnings", "show")
        assert (code, "no closed period owes anything" in out) == (0, True)
        assert " 0 " not in out.splitlines()[1]


async def test_an_operator_is_told_what_is_not_known_until_a_deeper_node_is_named(
    devnet: Devstack, tmp_path: Path, car: tuple[bytes, Cid]
) -> None:
    config = behind_gateway(devnet, tmp_path)
    async with running(config) as sidecar:
        await followed(devnet, sidecar)
    await make_deal(devnet, car[0])
    await devnet.advance(3000)
    await won(devnet)
    await devnet.advance(LOOKBACK)
    async with running(config) as sidecar:
        (gap,) = (await followed(devnet, sidecar))["gaps"]
        assert gap["unknown"] == "chain"
        assert "lookbacks of more than" in gap["reason"]
        span = f"epochs {gap['from_epoch']} to {gap['to_epoch'] - 1}"
        for what in ("datasets list", "pieces list", "earnings show"):
            code, _, err = await sp_plugin(config, *what.split())
            assert code == 0
            assert f"not known for {span}: blocks won" in err
            assert "what is shown may lack these" in err
        await sidecar.sidecar.steps.run_once("refill")
        await sidecar.sidecar.steps.run_once("measure")
        ready = await sidecar.call("GET", "/health/readyz", status=ANY)
        (note,) = [part["note"] for part in ready["parts"] if part["name"] == "refill"]
        assert span in note or "once that is final" in note
        unknown = gap["to_epoch"] - gap["from_epoch"]
        assert f'sp_plugin_unknown_epochs{{kind="chain"}} {float(unknown)}' in await metrics(
            sidecar
        )
    code, out, _ = await sp_plugin(config, "doctor", "--json")
    assert code == 1
    (check,) = [one for one in json.loads(out) if one["name"] == "unread epochs"]
    assert "name one that kept that part of the chain" in check["detail"]

    for _ in range(2):
        await devnet.advance(500)
    full = f"endpoint: /ip4/127.0.0.1/tcp/{devnet.api_port}/http"
    text = config.read_text()
    config.write_text(
        text.replace(f"endpoint: /ip4/127.0.0.1/tcp/{devnet.gateway_port}/http", full)
    )
    async with running(config) as sidecar:
        await followed(devnet, sidecar)
        await sidecar.sidecar.steps.run_once("refill")
        status = await sidecar.until("/api/v1/sp/status", lambda body: not body["gaps"], 60)
        assert status["ready"] in (True, False)
        earnings = await sidecar.until(
            "/api/v1/sp/earnings",
            lambda body: any(win["epoch"] < gap["to_epoch"] for win in body["wins"]),
            60,
        )
        late = [win for win in earnings["wins"] if win["epoch"] < gap["to_epoch"]]
        assert all(win["complete"] and int(win["credited"]) > 0 for win in late)
        assert not [text for p in earnings["periods"] for text in p["unknown"]]
        assert 'sp_plugin_unknown_epochs{kind="chain"} 0.0' in await metrics(sidecar)


async def metrics(sidecar: SidecarAtWork) -> str:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{sidecar.sidecar.url}/metrics") as response,
    ):
        return await response.text()
