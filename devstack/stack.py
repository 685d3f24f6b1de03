"""The whole devnet in one process: full node, miner node, their ports and the files that tools look for."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

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
from devstack.miner_node import MinerNode
from devstack.node import FullNode
from devstack.provider import SealingProvider
from devstack.remote import add_remote_routes
from devstack.rpc.dispatch import Dispatcher
from devstack.rpc.methods import MethodTable
from devstack.rpc.miner import table_miner
from devstack.rpc.server import MAX_REQUEST_BYTES, RpcEndpoint
from devstack.rpc.tables import table_v0, table_v1, table_v2
from devstack.storage import StoragePath, write_storage_list
from devstack.wallet import UnknownKey, Wallet
from lotus_client.chain import HeadChange, TipSet

__all__ = ["Devstack", "DevstackConfig"]

_HOST: Final = "127.0.0.1"
_SHUTDOWN_SECONDS: Final = 2.0

# What the chain and the wallet say no with; their texts are the answer.
_EXPECTED: Final = (ChainLookupError, PushRefused, MessageFailed, UnknownKey)


@dataclass(frozen=True, slots=True, kw_only=True)
class DevstackConfig:
    """What `devstack up` was asked for. Port 0 takes a free one; block_seconds 0 mines on request only."""

    data_dir: Path | None = None  # None: a temporary one that goes away with the devnet
    api_port: int = 0
    miner_port: int = 0
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
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._endpoints: list[RpcEndpoint] = []
        self._runners: list[web.AppRunner] = []
        self._clock: asyncio.Task[None] | None = None

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
        """`MINER_API_INFO` with an admin token."""
        return f"{self.miner.tokens.issue(ALL_PERMISSIONS)}:/ip4/{_HOST}/tcp/{self.miner_port}/http"

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
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stop()

    async def _start(self) -> None:
        network, config = self.network, self.config
        if config.data_dir is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="devstack-")
            self.data_dir = Path(self._temporary.name)
        else:
            self.data_dir = config.data_dir
        names = config.wallet_accounts
        if names is None:
            names = tuple(account.name for account in config.network.accounts)
        wallet = Wallet(network.key(name) for name in names)
        tokens = TokenIssuer(_kept_secret(self.data_dir / "lotus"))
        self.node = FullNode(network, wallet, tokens)
        self.miner = self._make_miner()
        self.api_port = await self._serve(self._node_app(), config.api_port)
        self.miner_port = await self._serve(self._miner_app(), config.miner_port)
        self.miner.remote_url = f"http://{_HOST}:{self.miner_port}/remote"
        _write_repo(self.data_dir / "lotus", self.api_port, self.token())
        _write_repo(
            self.data_dir / "miner", self.miner_port, self.miner.tokens.issue(ALL_PERMISSIONS)
        )
        if config.block_seconds:
            self._clock = asyncio.create_task(self.node.mine_on_clock(config.block_seconds))

    def _make_miner(self) -> MinerNode:
        network, miner_dir = self.network, self.data_dir / "miner"
        storage_dir = miner_dir / "storage"
        if (storage_dir / "sectorstore.json").exists():
            shutil.rmtree(storage_dir)  # sectors of an earlier chain mean nothing on this one
        storage = StoragePath(storage_dir)
        write_storage_list(miner_dir, [storage])
        spec = network.config.providers[0]
        provider = SealingProvider(network, network.providers[0], network.key(spec.worker), storage)
        return MinerNode(network, provider, TokenIssuer(_kept_secret(miner_dir)))

    def _node_app(self) -> web.Application:
        app = web.Application(client_max_size=MAX_REQUEST_BYTES)
        tables: dict[str, MethodTable[FullNode]] = {
            "/rpc/v0": table_v0(), "/rpc/v1": table_v1(), "/rpc/v2": table_v2(),
        }  # fmt: skip
        for path, table in tables.items():
            self._add_rpc(app, path, Dispatcher(table, self.node, _EXPECTED), self.node.tokens)
        app.router.add_get("/health/livez", _healthy)
        app.router.add_get("/health/readyz", _healthy)
        add_control_routes(app, self.node, self.provider)
        return app

    def _miner_app(self) -> web.Application:
        app = web.Application(client_max_size=MAX_REQUEST_BYTES)
        self._add_rpc(
            app, "/rpc/v0", Dispatcher(table_miner(), self.miner, _EXPECTED), self.miner.tokens
        )
        add_remote_routes(app, self.miner)
        return app

    def _add_rpc(
        self, app: web.Application, path: str, dispatcher: Dispatcher[Any], tokens: TokenIssuer
    ) -> None:
        endpoint = RpcEndpoint(dispatcher, tokens)
        self._endpoints.append(endpoint)
        app.router.add_route("*", path, endpoint.handle)

    async def _serve(self, app: web.Application, port: int) -> int:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
        self._runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, _HOST, port).start()
        _, bound = runner.addresses[0]
        return int(bound)

    async def _stop(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._clock
        if hasattr(self, "node"):
            self.node.close()
        for endpoint in self._endpoints:
            await endpoint.close()
        for runner in self._runners:
            await runner.cleanup()
        if hasattr(self, "miner"):
            self.provider.close()
        if hasattr(self, "data_dir"):
            for repo in ("lotus", "miner"):
                (self.data_dir / repo / "api").unlink(missing_ok=True)  # as a stopped Lotus
        if self._temporary is not None:
            self._temporary.cleanup()


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


def _write_repo(repo: Path, port: int, token: str) -> None:
    """The files that tools read in `$LOTUS_PATH` and `$LOTUS_MINER_PATH`."""
    (repo / "api").write_text(f"/ip4/{_HOST}/tcp/{port}/http")
    file = repo / "token"
    file.touch(0o600)
    file.write_text(token)
