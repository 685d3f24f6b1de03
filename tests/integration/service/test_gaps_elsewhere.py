"""A gap that the first node of the configuration cannot fill is filled from a further one that reaches deeper."""

from __future__ import annotations

from pathlib import Path

import pytest

from devstack.auth import Permission
from devstack.chain import NetworkConfig
from devstack.stack import Devstack, DevstackConfig
from lotus_client.cid import Cid
from tests.integration.service.conftest import make_deal, running
from tests.integration.service.test_gaps import LOOKBACK, behind_gateway, followed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(scope="session")
def devnet_config() -> DevstackConfig:
    """With a gateway."""
    network = NetworkConfig()
    seconds = LOOKBACK * network.block_delay_seconds
    return DevstackConfig(network=network, gateway_port=0, gateway_lookback_seconds=seconds)


async def test_a_gap_left_by_a_gateway_is_filled_from_a_second_node_in_the_configuration(
    devnet: Devstack, tmp_path: Path, car: tuple[bytes, Cid]
) -> None:
    config = behind_gateway(devnet, tmp_path)
    async with running(config) as sidecar:
        await followed(devnet, sidecar)
    await make_deal(devnet, car[0])
    await devnet.advance(LOOKBACK + 2000)
    async with running(config) as sidecar:
        (gap,) = (await followed(devnet, sidecar))["gaps"]
        assert "lookbacks of more than" in gap["reason"]
        await devnet.advance(920)  # the gap is final
        await followed(devnet, sidecar)
        await sidecar.sidecar.steps.run_once("refill")  # the gateway alone cannot
        assert (await followed(devnet, sidecar))["gaps"] == [gap]
    own = f"endpoint: /ip4/127.0.0.1/tcp/{devnet.api_port}/http"
    second = tmp_path / "second-token"
    second.write_text(devnet.token(Permission.READ))
    second.chmod(0o600)
    network = "  network: devstack"
    text = config.read_text()
    further = f"{network}\n  endpoints:\n    - {{{own}, token_file: {second}}}"
    named = text.replace(network, further, 1)
    assert named != text
    config.write_text(named)
    async with running(config) as sidecar:
        await followed(devnet, sidecar)
        await sidecar.sidecar.steps.run_once("refill")
        await sidecar.until("/api/v1/sp/status", lambda body: not body["gaps"], 60)
        pieces = await sidecar.call("GET", "/api/v1/sp/pieces")
        assert pieces["items"]
