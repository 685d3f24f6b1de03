"""What `doctor` says of the guard, beside a full node and beside a gateway."""

from __future__ import annotations

from pathlib import Path

import pytest

from devstack.stack import Devstack, DevstackConfig
from lotus_client.api_info import ApiInfo
from lotus_client.client import LotusClient
from sp_plugin.config import Config, parse_config
from sp_plugin.guard.checks import check_guard


@pytest.fixture
def devnet_config() -> DevstackConfig:
    return DevstackConfig(gateway_port=0)


def config_for(directory: Path, text: str) -> Config:
    return parse_config(
        f"data_dir: {directory}\nnode: {{endpoint: http://127.0.0.1:1, network: devstack}}\n"
        "provider: {actor: t01000}\nearnings: {capital_cost_apr_bps: 0}\n" + text
    )


async def said(devnet: Devstack, directory: Path, text: str, info: str) -> tuple[bool, str]:
    await devnet.advance(30)
    async with LotusClient.connect(ApiInfo.parse(info)) as node:
        await node.probe()
        return await check_guard(config_for(directory, text), node, 30, None)


async def test_a_prover_hears_which_deadlines_count_and_what_is_not_seen(devnet, tmp_path):
    ok, detail = await said(devnet, tmp_path, "guard: {host_role: prover}\n", devnet.api_info)
    assert ok
    assert "role prover: deadlines with proofs, open or near: " in detail
    assert "guard.curio_metrics_url" in detail


async def test_a_prover_beside_a_gateway_hears_that_its_jobs_would_stand_still(devnet, tmp_path):
    ok, detail = await said(devnet, tmp_path, "", devnet.gateway_api_info)
    assert not ok
    assert "jobs stand still all the time" in detail
    assert "guard.host_role" in detail


async def test_other_hosts_need_no_deadlines(devnet, tmp_path):
    for text in ("guard: {host_role: sealer}\n", "jobs: {enabled: false}\n"):
        assert (await said(devnet, tmp_path, text, devnet.gateway_api_info))[0]
