"""The ports of a devnet: which application serves what."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from aiohttp import web

from devstack.auth import ALL_PERMISSIONS, TokenIssuer
from devstack.chain import ChainLookupError, ForkRefused, MessageFailed, PushRefused
from devstack.control import add_control_routes
from devstack.control_net import add_net_routes
from devstack.faults.gateway import GatewaySeam, gateway_table
from devstack.faults.remote import strike_remote
from devstack.faults.seam import FaultySeam
from devstack.flavours.serving import rpc_table
from devstack.node import FullNode
from devstack.provider import PieceRejected
from devstack.remote import add_remote_routes
from devstack.rpc.dispatch import Dispatcher
from devstack.rpc.methods import MethodTable
from devstack.rpc.server import MAX_REQUEST_BYTES, RpcEndpoint
from devstack.rpc.tables import table_v0, table_v1, table_v2
from devstack.streams import add_stream_routes
from devstack.wallet import UnknownKey
from lotus_client.address import AddressError

if TYPE_CHECKING:
    from devstack.stack import Devstack

__all__ = ["HOST", "gateway_app", "miner_app", "node_app", "numbered", "serve"]

HOST: Final = "127.0.0.1"
_SHUTDOWN_SECONDS: Final = 2.0

# What the chain and the wallet say no with; their texts are the answer.
_EXPECTED: Final = (
    ChainLookupError,
    ForkRefused,
    PushRefused,
    MessageFailed,
    PieceRejected,
    UnknownKey,
    AddressError,
)


async def serve(app: web.Application, port: int, cleanup: contextlib.AsyncExitStack) -> int:
    """Serve an application until the clean-up; the port it has."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
    cleanup.push_async_callback(runner.cleanup)
    await runner.setup()
    await web.TCPSite(runner, HOST, port).start()
    _, bound = runner.addresses[0]
    return int(bound)


def node_app(net: Devstack, index: int) -> web.Application:
    """A full node's port; the first one's has the control API, too."""
    node = net.nodes[index]
    app = web.Application(client_max_size=MAX_REQUEST_BYTES)
    for path, table in _tables().items():
        seam = FaultySeam(net.faults, numbered("node", index, ""))
        endpoint = RpcEndpoint(Dispatcher(table, node, _EXPECTED, seam), node.tokens)
        app.router.add_route("*", path, endpoint.handle)
        app.on_shutdown.append(endpoint.shut_down)
    app.router.add_get("/health/livez", _healthy)
    app.router.add_get("/health/readyz", _healthy)
    if index == 0:
        others = [miner.provider for miner in net.miners[1:]]
        add_control_routes(app, node, net.provider, others)
        add_net_routes(app, net)
    return app


def gateway_app(net: Devstack) -> web.Application:
    """The first node's port behind lotus-gateway."""
    app = web.Application(client_max_size=MAX_REQUEST_BYTES)
    for path, table in _tables().items():
        seam = GatewaySeam(net.faults, net.config.gateway_lookback_seconds)
        dispatcher = Dispatcher(gateway_table(table), net.node, _EXPECTED, seam)
        endpoint = RpcEndpoint(dispatcher, _Anybody())
        app.router.add_route("*", path, endpoint.handle)
        app.on_shutdown.append(endpoint.shut_down)
    return app


def miner_app(net: Devstack, index: int) -> web.Application:
    """A miner node's port."""
    miner = net.miners[index]
    seam = FaultySeam(net.faults, numbered("miner", index, ""))
    app = web.Application(client_max_size=MAX_REQUEST_BYTES, middlewares=[strike_remote(seam)])
    endpoint = RpcEndpoint(
        Dispatcher(rpc_table(net.config.flavour), miner, _EXPECTED, seam), miner.tokens
    )
    app.router.add_route("*", "/rpc/v0", endpoint.handle)
    app.on_shutdown.append(endpoint.shut_down)
    add_remote_routes(app, miner)
    add_stream_routes(app, miner.streams, miner.tokens)
    return app


async def _healthy(_request: web.Request) -> web.Response:
    return web.Response()


class _Anybody(TokenIssuer):
    """A gateway checks no tokens: whoever calls may do all that it passes on."""

    def verify(self, token: str) -> list[str]:
        return [*map(str, ALL_PERMISSIONS)]

    def nobody(self) -> list[str]:
        return [*map(str, ALL_PERMISSIONS)]


def _tables() -> dict[str, MethodTable[FullNode]]:
    return {"/rpc/v0": table_v0(), "/rpc/v1": table_v1(), "/rpc/v2": table_v2()}


def numbered(name: str, index: int, separator: str = "-") -> str:
    """`lotus`, `lotus-1`, `lotus-2`: the first one has the plain name."""
    return name if index == 0 else f"{name}{separator}{index}"
