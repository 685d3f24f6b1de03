"""The whole devnet in one process: full node, miner node, their ports and the files that tools look for."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from aiohttp import web

from devstack.auth import ALL_PERMISSIONS, Permission, TokenIssuer
from devstack.chain import (
    AccountSpec,
    ChainLookupError,
    MessageFailed,
    Network,
    NetworkConfig,
    PushRefused,
)
from devstack.control import add_control_routes
from devstack.datacap import VERIFIER
from devstack.flavours import Flavour, NotOfThisFlavour
from devstack.flavours.serving import forget_storage, make_storage, market_app, rpc_table
from devstack.miner_node import MinerNode
from devstack.node import FullNode
from devstack.provider import PieceRejected, SealingProvider
from devstack.remote import add_remote_routes
from devstack.rpc.dispatch import Dispatcher
from devstack.rpc.methods import MethodTable
from devstack.rpc.server import MAX_REQUEST_BYTES, RpcEndpoint
from devstack.rpc.tables import table_v0, table_v1, table_v2
from devstack.streams import PushedStreams, add_stream_routes
from devstack.wallet import UnknownKey, Wallet
from lotus_client.address import AddressError
from lotus_client.chain import HeadChange, TipSet

__all__ = ["Devstack", "DevstackConfig"]

_HOST: Final = "127.0.0.1"
_SHUTDOWN_SECONDS: Final = 2.0

# What the chain and the wallet say no with; their texts are the answer.
_EXPECTED: Final = (
    ChainLookupError,
    PushRefused,
    MessageFailed,
    PieceRejected,
    UnknownKey,
    AddressError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DevstackConfig:
    """What `devstack up` was asked for. Port 0 takes a free one; block_seconds 0 mines on request only."""

    data_dir: Path | None = None  # None: a temporary one that goes away with the devnet
    api_port: int = 0
    miner_port: int = 0  # of the provider's RPC: lotus-miner's, or Curio's
    market_port: int = 0  # of booster-http or Curio's market server; without one it is not used
    flavour: Flavour = Flavour.LOTUS_MINER
    storage_paths: int = 1  # how many the provider spreads its sectors over
    block_seconds: float = 0.0
    network: NetworkConfig = field(default_factory=NetworkConfig)
    wallet_accounts: tuple[str, ...] | None = None  # None: those of the network's `accounts`


class Devstack:
    """A running devnet; use it as `async with Devstack(config) as net`. Everything lives on one event loop."""

    def __init__(self, config: DevstackConfig | None = None) -> None:
        self.config = config if config is not None else DevstackConfig()
        self.network = Network(_with_verifier(self.config.network))
        self.node: FullNode
        self.miner: MinerNode
        self.data_dir: Path
        self.api_port = 0
        self.miner_port = 0
        self.market_port: int | None = None
        self._cleanup = contextlib.AsyncExitStack()

    @property
    def provider(self) -> SealingProvider:
        """The sealing software of the first provider, t01001."""
        return self.miner.provider

    @property
    def api_info(self) -> str:
        """`FULLNODE_API_INFO` with an admin token."""
        return f"{self.token()}:/ip4/{_HOST}/tcp/{self.api_port}/http"

    @property
    def miner_api_info(self) -> str:
        """`MINER_API_INFO` with an admin token.

        Raises:
            NotOfThisFlavour: Curio has no miner API; see `curio_api_info`.
        """
        return self._provider_api_info(miner_api=True)

    @property
    def curio_api_info(self) -> str:
        """`CURIO_API_INFO` with an admin token.

        Raises:
            NotOfThisFlavour: the provider does not run Curio.
        """
        return self._provider_api_info(miner_api=False)

    @property
    def market_url(self) -> str:
        """Where pieces are served over HTTP, without a slash at its end.

        Raises:
            NotOfThisFlavour: lotus-miner alone has no such server.
        """
        if self.market_port is None:
            raise NotOfThisFlavour(f"the flavour {self.config.flavour} has no market server")
        return f"http://{_HOST}:{self.market_port}"

    def _provider_api_info(self, *, miner_api: bool) -> str:
        flavour = self.config.flavour
        if flavour.has_miner_api is not miner_api:
            raise NotOfThisFlavour(
                f"the flavour {flavour} has no {'miner' if miner_api else 'Curio'} API"
            )
        token = self.miner.tokens.issue(ALL_PERMISSIONS)
        return f"{token}:/ip4/{_HOST}/tcp/{self.miner_port}/http"

    def token(self, *permissions: Permission) -> str:
        """A token of the full node; all permissions when none is named."""
        return self.node.tokens.issue(permissions or ALL_PERMISSIONS)

    async def advance(self, epochs: int) -> TipSet:
        """Mine so many epochs; the head then."""
        return await self.node.advance(epochs)

    async def reorg(self, *, depth: int) -> list[HeadChange]:
        """Replace the newest `depth` tipsets by a heavier fork; what changed."""
        return await self.node.reorg(depth)

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as cleanup:
            await self._start(cleanup)
            self._cleanup = cleanup.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._cleanup.aclose()

    async def _start(self, cleanup: contextlib.AsyncExitStack) -> None:
        network, config = self.network, self.config
        if config.data_dir is None:
            temporary = tempfile.TemporaryDirectory(prefix="devstack-")
            self.data_dir = Path(cleanup.enter_context(temporary))
        else:
            self.data_dir = config.data_dir
        names = config.wallet_accounts
        if names is None:
            names = tuple(account.name for account in config.network.accounts)
        wallet = Wallet(network.key(name) for name in names)
        self.node = FullNode(network, wallet, TokenIssuer(_kept_secret(self.data_dir / "lotus")))
        self.miner = self._make_miner()
        cleanup.callback(self.provider.close)
        self.api_port = await self._serve(self._node_app(), config.api_port, cleanup)
        self.miner_port = await self._serve(self._miner_app(), config.miner_port, cleanup)
        self.miner.remote_url = f"http://{_HOST}:{self.miner_port}/remote"
        market = market_app(config.flavour, self.provider)
        if market is not None:
            self.market_port = await self._serve(market, config.market_port, cleanup)
        cleanup.callback(self.node.close)
        self._write_repos(cleanup)
        if config.block_seconds:
            clock = asyncio.create_task(self.node.mine_on_clock(config.block_seconds))
            cleanup.push_async_callback(_cancel, clock)

    def _write_repos(self, cleanup: contextlib.AsyncExitStack) -> None:
        """The files that tools read in `$LOTUS_PATH` and the provider's repo; `api` goes away as a stopped Lotus'."""
        miner_token = self.miner.tokens.issue(ALL_PERMISSIONS)
        for repo, port, token in (
            (self.data_dir / "lotus", self.api_port, self.token()),
            (self.data_dir / self.config.flavour.repo, self.miner_port, miner_token),
        ):
            (repo / "api").write_text(f"/ip4/{_HOST}/tcp/{port}/http")
            file = repo / "token"
            file.touch(0o600)
            file.write_text(token)
            cleanup.callback((repo / "api").unlink, missing_ok=True)

    def _make_miner(self) -> MinerNode:
        network, repo = self.network, self.data_dir / self.config.flavour.repo
        forget_storage(repo)
        storage = make_storage(repo, self.config.storage_paths)
        spec = network.config.providers[0]
        provider = SealingProvider(network, network.providers[0], network.key(spec.worker), storage)
        tokens, streams = TokenIssuer(_kept_secret(repo)), PushedStreams(repo / "pushed")
        return MinerNode(network, provider, tokens, streams=streams)

    def _node_app(self) -> web.Application:
        app = web.Application(client_max_size=MAX_REQUEST_BYTES)
        tables: dict[str, MethodTable[FullNode]] = {
            "/rpc/v0": table_v0(), "/rpc/v1": table_v1(), "/rpc/v2": table_v2(),
        }  # fmt: skip
        for path, table in tables.items():
            endpoint = RpcEndpoint(Dispatcher(table, self.node, _EXPECTED), self.node.tokens)
            app.router.add_route("*", path, endpoint.handle)
            app.on_shutdown.append(endpoint.shut_down)
        app.router.add_get("/health/livez", _healthy)
        app.router.add_get("/health/readyz", _healthy)
        add_control_routes(app, self.node, self.provider)
        return app

    def _miner_app(self) -> web.Application:
        app = web.Application(client_max_size=MAX_REQUEST_BYTES)
        dispatcher = Dispatcher(rpc_table(self.config.flavour), self.miner, _EXPECTED)
        endpoint = RpcEndpoint(dispatcher, self.miner.tokens)
        app.router.add_route("*", "/rpc/v0", endpoint.handle)
        app.on_shutdown.append(endpoint.shut_down)
        add_remote_routes(app, self.miner)
        add_stream_routes(app, self.miner.streams, self.miner.tokens)
        return app

    @staticmethod
    async def _serve(app: web.Application, port: int, cleanup: contextlib.AsyncExitStack) -> int:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
        cleanup.push_async_callback(runner.cleanup)
        await runner.setup()
        await web.TCPSite(runner, _HOST, port).start()
        _, bound = runner.addresses[0]
        return int(bound)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _healthy(_request: web.Request) -> web.Response:
    return web.Response()


def _with_verifier(config: NetworkConfig) -> NetworkConfig:
    if any(account.name == VERIFIER for account in config.accounts):
        return config
    return replace(config, accounts=(*config.accounts, AccountSpec(VERIFIER)))


def _kept_secret(repo: Path) -> bytes:
    """The repo's token secret, made on first use, so that tokens stay valid over restarts."""
    repo.mkdir(parents=True, exist_ok=True)
    file = repo / "jwt-secret"
    if not file.exists():
        file.touch(0o600)
        file.write_bytes(TokenIssuer().secret)
    return file.read_bytes()
