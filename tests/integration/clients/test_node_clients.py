"""Clients of Lotus that others wrote, from npm, against the devstack: wallet, FIL, state, events.

`npm ci --ignore-scripts` in `tests/clients` installs them.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from deals.commp import zero_commitment
from deals.piece_cid import encode_piece_cid_v1
from devstack.datacap import allocate_piece, grant_datacap
from devstack.rpc.tables import table_v1
from devstack.stack import Devstack, DevstackConfig
from lotus_client.address import Address
from lotus_client.types import PaddedPieceSize

SCRIPTS = Path(__file__).parents[2] / "clients"
FIL = 10**18
PIECE_SIZE = PaddedPieceSize(1 << 20)

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or not (SCRIPTS / "node_modules").is_dir(),
    reason="needs Node.js 20 and `npm ci --ignore-scripts` in tests/clients",
)


@pytest.fixture
async def net() -> AsyncIterator[Devstack]:
    """A devnet that mines by the clock, with an allocation of alice and its events."""
    async with Devstack(DevstackConfig(block_seconds=0.1)) as net:
        alice = net.network.key("alice")
        await grant_datacap(net.node, alice.address, 1 << 30)
        piece = encode_piece_cid_v1(zero_commitment(PIECE_SIZE.bit_length() - 6))
        await allocate_piece(net.node, alice, net.provider.miner, piece, PIECE_SIZE)
        yield net


async def run(net: Devstack, script: str) -> dict[str, Any]:
    """What the script found out about the devnet."""
    alice = net.network.key("alice")
    process = await asyncio.create_subprocess_exec(
        "node", "--no-warnings", str(SCRIPTS / script),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={
            "PATH": os.environ["PATH"],
            "DEVNET_URL": f"http://127.0.0.1:{net.api_port}",
            "DEVNET_TOKEN": net.token(),
            "DEVNET_SECRET": alice.secret.hex(),
            "DEVNET_ALICE": str(alice.address),
            "DEVNET_PROVIDER": str(net.provider.miner),
        },
    )  # fmt: skip
    try:
        async with asyncio.timeout(90):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, errors.decode()[-4000:]
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


def balance(net: Devstack, address: str) -> int:
    return net.network.state().balance(Address.parse(address)).value


async def test_iso_filecoin_sends_fil_both_ways_with_its_own_wallet(net: Devstack) -> None:
    found = await run(net, "iso_filecoin.mjs")
    assert found["alice"] == str(net.network.key("alice").address)
    assert (found["there"]["exit"], found["back"]["exit"]) == (0, 0)
    assert found["network"] == net.network.config.name
    assert 2 * FIL < int(found["balance"]) < 3 * FIL  # 5 came, 2 and gas went
    assert int(found["balance"]) == balance(net, found["wallet"])
    assert found["nonce"] == 1
    assert found["id"].startswith("t0")
    assert found["allocations"] == 1
    assert {"t06", "t07"} >= set(found["emitters"]) >= {"t06"}


async def test_the_shipyard_client_follows_heads_over_websocket(net: Devstack) -> None:
    found = await run(net, "lotus_client.mjs")
    assert found["listed"] is True
    assert (found["exit"], int(found["balance"])) == (0, 3 * FIL)
    assert balance(net, found["wallet"]) == 3 * FIL
    assert found["sectorSize"] == net.provider.sector_size
    assert found["changes"][0] == "current"
    assert set(found["changes"][1:]) == {"apply"}
    assert found["heights"] == sorted(found["heights"])


async def test_glifs_client_and_zondax_signatures_are_accepted(net: Devstack) -> None:
    found = await run(net, "glif.mjs")
    assert found["wallet"].startswith("t1")
    assert (found["there"]["exit"], found["back"]["exit"]) == (0, 0)
    assert 2 * FIL < int(found["balance"]) == balance(net, found["wallet"]) < 3 * FIL
    assert found["power"]["HasMinPower"] is False
    assert found["events"] >= 3


if "eth_sendRawTransaction" in table_v1().by_name:

    async def test_ethers_pays_and_reads_through_eth_methods(net: Devstack) -> None:
        found = await run(net, "ethers.mjs")
        assert int(found["chain"], 16) == net.network.config.eip155_chain_id
        assert (found["funded"], found["status"], found["nonce"]) == (0, 1, 1)
        assert int(found["before"]) == 10 * FIL
        assert int(found["other"]) == 2.5 * FIL
        assert found["included"] is True


def test_the_lock_file_names_no_registry() -> None:
    packages = json.loads((SCRIPTS / "package-lock.json").read_text())["packages"]
    assert len(packages) > 100
    for path, package in packages.items():
        assert "resolved" not in package, path
        assert not path or package["integrity"].startswith("sha512-"), path
