"""A sidecar with two nodes: doctor looks at both, and losing the first does not stop it."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from devstack.auth import Permission
from devstack.stack import Devstack
from sp_plugin.config import load_config
from sp_plugin.doctor import examine
from tests.integration.service.conftest import running, write_config


class Door:
    """A port before the devnet's that can be shut: a node that goes away while its chain goes on."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.is_open = True

    async def handle(self, request: web.Request) -> web.Response:
        if not self.is_open or "upgrade" in request.headers.get("Connection", "").lower():
            return web.Response(status=502)
        headers = {
            name: request.headers[name]
            for name in ("Authorization", "Content-Type")
            if name in request.headers
        }
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                self.target + request.path, data=await request.read(), headers=headers
            ) as answer,
        ):
            body = await answer.read()
            return web.Response(body=body, status=answer.status, content_type="application/json")


async def opened(door: Door) -> tuple[web.AppRunner, int]:
    app = web.Application()
    app.router.add_route("*", "/rpc/{version}", door.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, runner.addresses[0][1]


def two_nodes(devnet: Devstack, directory: Path, port: int) -> Path:
    second = directory / "second-token"
    second.write_text(devnet.token(Permission.READ))
    second.chmod(0o600)
    own = f"/ip4/127.0.0.1/tcp/{devnet.api_port}/http"
    return write_config(
        devnet,
        directory,
        **{
            f"endpoint: {own}": f"endpoint: http://127.0.0.1:{port}",
            "  network: devstack": f"  network: devstack\n  endpoints:\n    - {{endpoint: {own}, token_file: {second}}}",
        },
    )


@pytest.mark.timeout(120)
async def test_the_chain_is_followed_at_the_second_node_while_the_first_is_away(
    devnet: Devstack, tmp_path: Path
) -> None:
    await devnet.advance(20)
    door = Door(f"http://127.0.0.1:{devnet.api_port}")
    runner, port = await opened(door)
    path = two_nodes(devnet, tmp_path, port)
    checks = {check.name: check for check in await examine(load_config(path, {}))}
    (second,) = [check for name, check in checks.items() if name.startswith("node http")]
    assert second.ok, second.detail
    assert checks["methods"].ok
    assert "/rpc/v2" in checks["finality"].detail
    async with running(path) as sidecar:
        await sidecar.until("/health/readyz", lambda answer: answer["ready"])
        door.is_open = False
        head = await devnet.advance(30)

        def is_there(_: object) -> bool:
            followed = sidecar.sidecar._followed
            return followed is not None and followed >= head.height - 1

        await sidecar.until("/health/readyz", is_there, 60)
        assert sidecar.sidecar.node.node_in_use == f"http://127.0.0.1:{devnet.api_port}"
        sender = sidecar.sidecar.treasury.sender
        assert sender is not None
        assert sender._agreement is not None
        wallet = sidecar.sidecar.config.payouts.wallet
        assert wallet is not None
        assert "too few answer" in await sender._agreement(wallet)
        door.is_open = True
        assert await sender._agreement(wallet) == ""
    await runner.cleanup()
