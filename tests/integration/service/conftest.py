"""A sidecar beside an embedded devnet, with a verified deal of a real CAR, run in this process."""

from __future__ import annotations

import asyncio
import io
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import aiohttp
import pytest

from deals.commp import commp
from deals.unixfs_write import pack_car
from devstack.auth import Permission
from devstack.datacap import allocate_piece, grant_datacap
from devstack.stack import Devstack
from lotus_client.address import Address
from lotus_client.cid import Cid
from lotus_client.types import AllocationId, PaddedPieceSize
from sp_plugin.config import load_config
from sp_plugin.opening import open_sidecar
from sp_plugin.service import Sidecar

CONFIG = """\
data_dir: {data_dir}
node:
  endpoint: /ip4/127.0.0.1/tcp/{port}/http
  token_file: {token_file}
  network: devstack
provider:
  actor: {actor}
  storage_paths: [{storage}]
http:
  port: 0
follow:
  poll_interval_seconds: 1
  start_epoch: 0
datasets:
  - name: open
    licence: CC0-1.0
    steward: Open Data Trust
    consent: public
    selector:
      clients: [{client}]
approvals:
  k: 2
  approvers:
    - {{name: Ada, address: {ada}, roles: [steward]}}
    - {{name: Ben, address: {ben}, roles: [allocator]}}
jobs:
  minimum_piece_bytes: 256
guard:
  host_role: compute
  max_load_percent: null
  max_io_wait_percent: null
earnings:
  basis: verified_extra
  capital_cost_apr_bps: 0
payouts:
  enabled: true
  dry_run: false
  wallet: {wallet}
  signer:
    key_file: {key_file}
  minimum_payout_fil: 0.000000001
  max_fee_fil: 0.01
"""


class SidecarAtWork:
    """A running sidecar, spoken to over its HTTP API."""

    def __init__(self, sidecar: Sidecar, session: aiohttp.ClientSession, config: Path) -> None:
        self.sidecar = sidecar
        self.config = config
        self._session = session
        token = sidecar.data.local_token()
        assert token is not None
        self.headers = {"Authorization": f"Bearer {token.reveal()}"}

    async def call(self, method: str, path: str, status: Any = 200, **body: Any) -> Any:
        async with self._session.request(
            method, self.sidecar.url + path, json=body or None, headers=self.headers
        ) as response:
            text = await response.text()
            if status is not ANY:
                assert response.status == status, text
            return json.loads(text)

    async def until(self, path: str, good: Callable[[Any], bool], seconds: float = 30) -> Any:
        """The answer to GET `path` once it is good."""
        answer: Any = None
        try:
            async with asyncio.timeout(seconds):
                while True:
                    answer = await self.call("GET", path, ANY)  # readyz answers 503 at first
                    if good(answer):
                        return answer
                    await asyncio.sleep(0.1)
        except TimeoutError:
            pytest.fail(f"{path} stayed {json.dumps(answer)[:2000]}")


async def make_deal(net: Devstack, payload: bytes) -> AllocationId:
    """An allocation by alice for a payload that is then sealed; not proven yet."""
    piece = commp(io.BytesIO(payload))
    alice = net.network.key("alice")
    await grant_datacap(net.node, alice.address, 1 << 30)
    number = await allocate_piece(
        net.node, alice, net.provider.miner, piece.piece_cid, PaddedPieceSize(piece.padded_size)
    )
    await net.provider.add_piece(payload, number)
    return number


@pytest.fixture
def car(tmp_path: Path) -> tuple[bytes, Cid]:
    """A CAR of a small directory, and its root."""
    source = tmp_path / "data"
    source.mkdir()
    (source / "readings.csv").write_text(
        "day,mm\n" + "".join(f"{n},{n % 7}\n" for n in range(9999))
    )
    with (tmp_path / "data.car").open("w+b") as out:
        packed = pack_car(source, out)
        out.seek(0)
        return out.read(), packed.root


def write_config(net: Devstack, directory: Path, **changes: str) -> Path:
    """A configuration for the devnet; `changes` replace pieces of its text."""
    token, key = directory / "token", directory / "payout.key"
    for path, text in (
        (token, net.token(Permission.READ, Permission.WRITE)),
        (key, net.network.key("bob").secret.hex()),
    ):
        path.write_text(text)
        path.chmod(0o600)
    state = net.network.state()
    text = CONFIG.format(
        data_dir=directory / "sp",
        port=net.api_port,
        token_file=token,
        actor=net.provider.miner,
        storage=net.data_dir / "miner" / "storage",
        client=Address.of_id(state.actor_id(net.network.key("alice").address) or 0),
        ada=net.network.key("ada").address,
        ben=net.network.key("ben").address,
        wallet=net.network.key("bob").address,
        key_file=key,
    )
    for old, new in changes.items():
        text = text.replace(old, new)
    path = directory / "sp-plugin.yaml"
    path.write_text(text)
    return path


@asynccontextmanager
async def running(path: Path) -> AsyncIterator[SidecarAtWork]:
    """A sidecar of that configuration until the block is left."""
    stop = asyncio.Event()
    async with open_sidecar(load_config(path, dict(os.environ))) as sidecar:
        work = asyncio.create_task(sidecar.run_until(stop))
        try:
            async with asyncio.timeout(20):
                while not sidecar.url or not sidecar.data.api_url.exists():
                    if work.done():
                        work.result()
                    await asyncio.sleep(0.02)
            async with aiohttp.ClientSession() as session:
                yield SidecarAtWork(sidecar, session, path)
        finally:
            stop.set()
            await work
