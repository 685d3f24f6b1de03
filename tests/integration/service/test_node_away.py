"""A node that goes away and comes back, as itself or as another: the sidecar goes on alone, or not at all."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from devstack.chain import NetworkConfig
from devstack.stack import Devstack, DevstackConfig
from lotus_client.errors import LotusWrongNetwork
from tests.integration.service.conftest import running, write_config


class Line:
    """The wire to a node, which can be cut and laid to another. While it is cut, whoever connects is hung up on."""

    def __init__(self) -> None:
        self.port = 0
        self._target: int | None = None
        self._ends: set[asyncio.StreamWriter] = set()

    @asynccontextmanager
    async def laid(self, target: int) -> AsyncIterator[Line]:
        """The line, to that port, until the block is left."""
        self._target = target
        server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            self.cut()
            server.close()

    def cut(self) -> None:
        """End the connections there are, and let no new one through."""
        self._target = None
        for end in list(self._ends):
            end.close()

    def join(self, target: int) -> None:
        """Lead to that port from now on."""
        self._target = target

    async def _carry(self, near_in: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        if self._target is None:
            near.close()
            return
        far_in, far = await asyncio.open_connection("127.0.0.1", self._target)
        self._ends |= {near, far}
        await asyncio.gather(self._copy(near_in, far), self._copy(far_in, near))

    async def _copy(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(1 << 16):
                sink.write(data)
                await sink.drain()
        sink.close()
        self._ends.discard(sink)


def over(line: Line, net: Devstack, path: Path) -> Path:
    """The configuration, with the node at the end of the line."""
    path.write_text(path.read_text().replace(f"/tcp/{net.api_port}/", f"/tcp/{line.port}/"))
    return path


def followed_to(epoch: int):
    return lambda answer: (answer.get("followed_epoch") or -1) >= epoch


async def test_a_node_that_was_away_is_taken_up_again_without_anybodys_help(
    devnet: Devstack, tmp_path: Path
):
    async with (
        Line().laid(devnet.api_port) as line,
        running(over(line, devnet, write_config(devnet, tmp_path))) as sidecar,
    ):
        await sidecar.until("/health/readyz", lambda answer: answer["ready"])
        line.cut()
        away = await sidecar.until("/health/readyz", lambda answer: not answer["ready"], 60)
        reasons = {part["name"]: part["reason"] for part in away["parts"]}
        assert any(reason.startswith("the node cannot be reached: ") for reason in reasons.values())
        assert (await sidecar.call("GET", "/health/livez")) == {"status": "alive"}
        assert (await sidecar.call("GET", "/api/v1/sp/pieces"))["items"] == []
        refused = await sidecar.call("POST", "/api/v1/sp/payouts/plan", 503)
        assert refused["Code"] == "ServiceUnavailable"
        await devnet.advance(25)
        line.join(devnet.api_port)
        head = devnet.node.network.head.height
        await sidecar.until(
            "/api/v1/sp/status", followed_to(head - 1), 60
        )  # events of the head come with its child
        await sidecar.until("/health/readyz", lambda answer: answer["ready"], 60)


async def test_a_node_of_another_chain_stops_everything_that_writes(
    devnet: Devstack, tmp_path: Path
):
    shutil.copytree(devnet.data_dir / "lotus", tmp_path / "other" / "lotus")  # equal tokens
    other_config = DevstackConfig(
        data_dir=tmp_path / "other", network=NetworkConfig(genesis_timestamp=1_750_000_001)
    )
    async with (
        Devstack(other_config) as other,
        Line().laid(devnet.api_port) as line,
        running(over(line, devnet, write_config(devnet, tmp_path))) as sidecar,
    ):
        await devnet.advance(5)
        await sidecar.until("/api/v1/sp/status", followed_to(4))
        line.cut()
        await other.advance(50)
        line.join(other.api_port)
        for step in ("fund", "earn"):  # they look once a minute
            sidecar.sidecar.steps.wake(step)
        body = await sidecar.until(
            "/health/readyz",
            lambda answer: (
                {"follow", "send", "fund", "earn"}
                <= {part["name"] for part in answer["parts"] if "another chain" in part["reason"]}
            ),
            90,
        )
        reasons = {part["name"]: part["reason"] for part in body["parts"]}
        assert "Nothing is followed, booked or paid" in reasons["follow"]
        for call in ("plan", "send"):
            answer = await sidecar.call("POST", f"/api/v1/sp/payouts/{call}", 503)
            assert "another chain" in answer["Message"]
        cursor = await sidecar.sidecar.chain.cursor(sidecar.sidecar.provider)
        assert cursor is not None
        assert cursor.tipset.height <= devnet.node.network.head.height
        line.cut()
        line.join(devnet.api_port)
        await sidecar.until("/health/readyz", lambda answer: answer["ready"], 90)


async def test_a_data_dir_of_another_chain_is_refused_at_the_start(
    devnet: Devstack, tmp_path: Path
):
    path = write_config(devnet, tmp_path)
    async with running(path):
        pass
    (tmp_path / "sp" / "genesis").write_text(
        "bafy2bzacecnamqgqmifpluoeldx7zzglxcljo6oja4vrmtj7432rphldpdmm2"
    )
    with pytest.raises(LotusWrongNetwork, match="the node's genesis is"):
        async with running(path):
            pass
