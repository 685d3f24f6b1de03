"""The whole devnet in one process: full node, miner node, their ports and the files that tools look for."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from devstack.auth import ALL_PERMISSIONS, Permission, TokenIssuer
from devstack.chain import (
    ForkShape,
    Network,
)
from devstack.faults import FaultBook, FaultKind
from devstack.faults.files import FileFaults
from devstack.faults.sectors import SectorFaults
from devstack.faults.stale import StaleHeads
from devstack.flavours import Flavour, NotOfThisFlavour
from devstack.flavours.serving import forget_storage, make_storage, market_app
from devstack.journal import Journal, JournalError, Restored, restore_chain, save_chain
from devstack.journal.replay import restore_journal
from devstack.journal.saving import SavedProvider, save_journal
from devstack.miner_node import MinerNode
from devstack.node import FullNode
from devstack.provider import SealingProvider
from devstack.repos import kept_secret, locked, write_api
from devstack.serving import HOST, gateway_app, miner_app, node_app, numbered, serve
from devstack.stack_config import DevstackConfig, with_verifier
from devstack.streams import PushedStreams
from devstack.swarm import Swarm
from devstack.wallet import Wallet
from lotus_client.address import Address
from lotus_client.chain import HeadChange, TipSet

__all__ = ["Devstack", "DevstackConfig"]

_JOURNAL: Final = "chain.journal"


class Devstack:
    """A running devnet; use it as `async with Devstack(config) as net`. Everything lives on one event loop."""

    def __init__(self, config: DevstackConfig | None = None) -> None:
        self.config = config if config is not None else DevstackConfig()
        self.network: Network
        self.nodes: list[FullNode] = []
        self.miners: list[MinerNode] = []
        self.swarm: Swarm
        self.faults = FaultBook()
        self.sector_faults: SectorFaults
        self.data_dir: Path
        self.node_ports: list[int] = []
        self.miner_ports: list[int] = []
        self.gateway_port = 0
        self.market_ports: list[int] = []
        self._cleanup = contextlib.AsyncExitStack()

    @property
    def node(self) -> FullNode:
        """The first node."""
        return self.nodes[0]

    @property
    def miner(self) -> MinerNode:
        """The first provider's node."""
        return self.miners[0]

    @property
    def api_port(self) -> int:
        """The first node's port."""
        return self.node_ports[0]

    @property
    def miner_port(self) -> int:
        """The first miner node's port."""
        return self.miner_ports[0]

    @property
    def provider(self) -> SealingProvider:
        """The sealing software of the first provider, t01001."""
        return self.miner.provider

    @property
    def api_info(self) -> str:
        """`FULLNODE_API_INFO` with an admin token."""
        return self.node_api_info(0)

    def node_api_info(self, index: int) -> str:
        """`FULLNODE_API_INFO` of one of the nodes, with an admin token."""
        token = self.nodes[index].tokens.issue(ALL_PERMISSIONS)
        return f"{token}:/ip4/{HOST}/tcp/{self.node_ports[index]}/http"

    @property
    def eth_rpc_url(self) -> str:
        """Where Ethereum's tools reach the first node; reading asks for no token."""
        return f"http://{HOST}:{self.api_port}/rpc/v1"

    @property
    def gateway_api_info(self) -> str:
        """`FULLNODE_API_INFO` of the gateway, which asks for no token."""
        return f"/ip4/{HOST}/tcp/{self.gateway_port}/http"

    @property
    def miner_api_info(self) -> str:
        """`MINER_API_INFO` with an admin token.

        Raises:
            NotOfThisFlavour: Curio has no miner API; see `curio_api_info`.
        """
        return self._named_api_info(miner_api=True)

    @property
    def curio_api_info(self) -> str:
        """`CURIO_API_INFO` with an admin token.

        Raises:
            NotOfThisFlavour: the provider does not run Curio.
        """
        return self._named_api_info(miner_api=False)

    @property
    def market_url(self) -> str:
        """Where pieces are served over HTTP, without a slash at its end.

        Raises:
            NotOfThisFlavour: lotus-miner alone has no such server.
        """
        if self.market_port is None:
            raise NotOfThisFlavour(f"the flavour {self.config.flavour} has no market server")
        return f"http://{HOST}:{self.market_port}"

    @property
    def market_port(self) -> int | None:
        """The first provider's market port; None without such a server."""
        return self.market_ports[0] if self.market_ports else None

    def _named_api_info(self, *, miner_api: bool) -> str:
        flavour = self.config.flavour
        if flavour.has_miner_api is not miner_api:
            raise NotOfThisFlavour(
                f"the flavour {flavour} has no {'miner' if miner_api else 'Curio'} API"
            )
        return self.miner_node_api_info(0)

    def miner_node_api_info(self, index: int) -> str:
        """The API info of one of the providers' nodes, lotus-miner or Curio, with an admin token."""
        token = self.miners[index].tokens.issue(ALL_PERMISSIONS)
        return f"{token}:/ip4/{HOST}/tcp/{self.miner_ports[index]}/http"

    def token(self, *permissions: Permission) -> str:
        """A token of the full node; all permissions when none is named."""
        return self.node.tokens.issue(permissions or ALL_PERMISSIONS)

    async def advance(self, epochs: int) -> TipSet:
        """Mine so many epochs; the head then."""
        return await self.node.advance(epochs)

    async def until_win(
        self, miner: Address | None = None, *, epochs: int = 100_000, skip: bool = True
    ) -> TipSet:
        """Mine until the miner (the first provider if none is named) has won a block; the head with it.

        With `skip`, epochs in which nothing happens are null rounds; without, each has its tipset.

        Raises:
            EpochsNotReached: it won none in so many epochs.
        """
        winner = miner if miner is not None else self.provider.miner
        return await self.node.advance(
            epochs,
            lambda tipset: any(block.miner == winner for block in tipset.blocks),
            skip_for=winner if skip else None,
        )

    async def reorg(self, *, depth: int, shape: ForkShape | None = None) -> list[HeadChange]:
        """Replace the newest `depth` tipsets by a heavier fork; what changed."""
        return await self.node.reorg(depth, shape)

    def partition(self, *groups: Sequence[int], shares: Sequence[int] | None = None) -> None:
        """Split the network between nodes; raises ValueError as `Swarm.partition`."""
        self.swarm.partition(groups, shares)

    def heal(self) -> list[int]:
        """Join the network; all nodes take the heaviest chain. Those that refuse it for finality's sake come back."""
        refused = self.swarm.heal()
        for node in self.nodes:
            node.heads.flush()
        return refused

    async def save(self, path: Path) -> int:
        """Write the first node's chain, wallet and the providers' sectors to a file; its size.

        Raises:
            OSError: it cannot be written.
        """
        return save_chain(path, self.network, self.node.wallet.keys(), self._saved_providers())

    def _saved_providers(self) -> list[SavedProvider]:
        return [
            (
                list(miner.provider.sectors.values()),
                [path.root for path in miner.provider.storage.paths],
            )
            for miner in self.miners
        ]

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
        config = self.config
        if config.data_dir is None:
            temporary = tempfile.TemporaryDirectory(prefix="devstack-")
            self.data_dir = Path(cleanup.enter_context(temporary))
        else:
            self.data_dir = config.data_dir
        if config.keep:
            cleanup.enter_context(locked(self.data_dir))
        earlier = self._earlier_chain()
        if earlier is None:
            self._forget_sectors()
        self.network = earlier.network if earlier else Network(with_verifier(config.network))
        self._make_nodes(earlier, cleanup)
        proving = self.network.proving
        for index in range(len(self.network.config.providers)):
            miner = self._make_miner(index)
            cleanup.callback(miner.provider.close)
            cleanup.push_async_callback(miner.unsealing.close)
            if earlier is not None:
                miner.provider.resume(earlier.sectors.get(index, {}))
                address = miner.provider.miner
                self.network.prove_automatically(address, enabled=address.actor_id in proving)
            self.miners.append(miner)
        if config.keep:
            self._keep_journal(earlier, cleanup)
        self._take_faults()
        cleanup.callback(self.faults.clear)  # files come back before the miners go
        await self._serve_all(cleanup)
        self._write_repos(cleanup)
        if config.block_seconds:
            clock = asyncio.create_task(self.node.mine_on_clock(config.block_seconds))
            cleanup.push_async_callback(_cancel, clock)

    def _earlier_chain(self) -> Restored | None:
        """The chain to go on with: a saved one, or the data directory's."""
        journal = self.data_dir / _JOURNAL
        if self.config.restore is not None:
            if self.config.keep and journal.exists():
                raise JournalError(f"{self.data_dir} has a chain already: restore into another one")
            self.data_dir.mkdir(parents=True, exist_ok=True)
            self._forget_sectors()
            return restore_chain(self.config.restore, self._repo)
        if not self.config.keep or not journal.exists():
            return None
        earlier = restore_journal(journal)
        made = earlier.network.config
        wanted = replace(
            with_verifier(self.config.network),  # the clock may differ: the chain keeps its own
            genesis_timestamp=made.genesis_timestamp,
            block_delay_seconds=made.block_delay_seconds,
        )
        if made != wanted:
            raise JournalError(
                f"{self.data_dir} has the chain of a network with another make-up; "
                "take another data directory, or begin anew with --fresh"
            )
        return earlier

    def _forget_sectors(self) -> None:
        """Sectors of an earlier chain mean nothing on this one."""
        for name in {flavour.repo for flavour in Flavour}:
            for repo in (self.data_dir / name, *self.data_dir.glob(f"{name}-*")):
                forget_storage(repo)

    def _make_nodes(self, earlier: Restored | None, cleanup: contextlib.AsyncExitStack) -> None:
        names = self.config.wallet_accounts
        if names is None:
            names = tuple(account.name for account in self.network.config.accounts)
        chains = [self.network, *(self.network.replica() for _ in range(1, self.config.nodes))]
        self.swarm = Swarm(chains)
        cleanup.callback(self.swarm.close)
        for index, chain in enumerate(chains):
            keys = (self.network.key(name) for name in names)
            wallet = Wallet(keys, self.network.config.eip155_chain_id)
            for key in earlier.wallet if earlier and index == 0 else ():
                wallet.add(key)
            secret = kept_secret(self.data_dir / numbered("lotus", index))
            node = FullNode(chain, wallet, TokenIssuer(secret))
            node.mine_epoch = self.swarm.mine_epoch
            node.skip_epoch = self.swarm.skip_epoch
            self.nodes.append(node)
            cleanup.callback(node.close)

    def _keep_journal(self, earlier: Restored | None, cleanup: contextlib.AsyncExitStack) -> None:
        path = self.data_dir / _JOURNAL
        if self.config.restore is not None:
            save_journal(path, self.network, self.node.wallet.keys(), self._saved_providers())
        journal = Journal(path, self.network)
        cleanup.callback(journal.close)
        if earlier is None:
            for name in self.network.key_names:
                journal.keyed(name)
            for miner_id in self.network.proving:
                journal.proving(miner_id, enabled=True)
        self.node.wallet.on_add = journal.wallet
        for index, miner in enumerate(self.miners):
            miner.provider.on_change = partial(journal.sector, index)

    def _take_faults(self) -> None:
        files = FileFaults([miner.provider for miner in self.miners])
        self.faults.on(FaultKind.MISSING_UNSEALED, files.hide)
        self.faults.on(FaultKind.CORRUPT_PIECE, files.corrupt)
        self.faults.on(FaultKind.STALE_HEAD, StaleHeads(self.nodes).freeze)
        self.sector_faults = SectorFaults(self.node, self.miners)

    async def _serve_all(self, cleanup: contextlib.AsyncExitStack) -> None:
        config = self.config
        for index in range(len(self.nodes)):
            port = config.api_port + index if config.api_port else 0
            self.node_ports.append(await serve(node_app(self, index), port, cleanup))
        if config.gateway_port is not None:
            self.gateway_port = await serve(gateway_app(self), config.gateway_port, cleanup)
        for index, miner in enumerate(self.miners):
            port = config.miner_port + index if config.miner_port else 0
            self.miner_ports.append(await serve(miner_app(self, index), port, cleanup))
            miner.remote_url = f"http://{HOST}:{self.miner_ports[index]}/remote"
            market = market_app(config.flavour, miner.provider)
            if market is not None:
                port = config.market_port + index if config.market_port else 0
                self.market_ports.append(await serve(market, port, cleanup))

    def _write_repos(self, cleanup: contextlib.AsyncExitStack) -> None:
        """The files that tools read in `$LOTUS_PATH` and the provider's repo; `api` goes away as a stopped Lotus'."""
        repos = [
            (self.data_dir / numbered("lotus", index), port, node.tokens)
            for index, (node, port) in enumerate(zip(self.nodes, self.node_ports, strict=True))
        ]
        repos += [
            (self._repo(index), port, miner.tokens)
            for index, (miner, port) in enumerate(zip(self.miners, self.miner_ports, strict=True))
        ]
        for repo, port, tokens in repos:
            write_api(repo, f"/ip4/{HOST}/tcp/{port}/http", tokens)
            cleanup.callback((repo / "api").unlink, missing_ok=True)

    def _repo(self, index: int) -> Path:
        """The repo of a provider's software."""
        return self.data_dir / numbered(self.config.flavour.repo, index)

    def _make_miner(self, index: int) -> MinerNode:
        network, repo = self.network, self._repo(index)
        storage = make_storage(repo, self.config.storage_paths)
        worker = network.key(network.config.providers[index].worker)
        provider = SealingProvider(network, network.providers[index], worker, storage)
        tokens, streams = TokenIssuer(kept_secret(repo)), PushedStreams(repo / "pushed")
        node = MinerNode(network, provider, tokens, streams=streams)
        node.unsealing.seconds = self.config.unseal_seconds
        return node


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
