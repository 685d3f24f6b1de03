"""The running sidecar: node, store, periodic steps and HTTP API, wired once and stopped in order."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from typing import Final

import structlog
from aiohttp import web

from deals.event_sources import hear_of_events
from deals.follower import ChainFollower
from deals.gaps import Gap
from deals.sources.storage_path import StoragePathSource
from lotus_client.address import Address
from lotus_client.client import LotusClient
from lotus_client.miner_client import MinerClient
from lotus_client.node import NodeCapabilities
from lotus_client.types import Epoch
from sp_plugin.admission import Admission
from sp_plugin.approvals.desk import ApprovalDesk, approval_policy
from sp_plugin.config import Config
from sp_plugin.considering import Considering
from sp_plugin.data_dir import DataDir
from sp_plugin.denylists import Denylists
from sp_plugin.earning import Earning
from sp_plugin.guard.wiring import GUARD_SECONDS, open_guard
from sp_plugin.head_news import hear_of_heads
from sp_plugin.health import Health
from sp_plugin.http.app import make_app
from sp_plugin.http.links import ResultLinks
from sp_plugin.http.parts import Parts
from sp_plugin.input_cache import InputCache
from sp_plugin.jobs.following import LogPlaces
from sp_plugin.jobs.hold import Hold
from sp_plugin.jobs.queue import JobQueue
from sp_plugin.known_pieces import datasets_naming
from sp_plugin.lineage import Lineage
from sp_plugin.listening import keep_local_token, listen
from sp_plugin.measuring import measure, source_text, waits_for
from sp_plugin.metrics import CHAIN_EPOCH
from sp_plugin.piece_sources import piece_source
from sp_plugin.piece_work import WorkStopped
from sp_plugin.pieces import Pieces
from sp_plugin.policy import PolicyRules
from sp_plugin.pruning import Pruning
from sp_plugin.recent_head import RecentHead
from sp_plugin.refill import Refill
from sp_plugin.steps import Step, Steps
from sp_plugin.store.approvals import ApprovalRepository
from sp_plugin.store.base import Store
from sp_plugin.store.chain import ChainRepository
from sp_plugin.store.earnings import EarningsRepository
from sp_plugin.store.held_blocks import HeldBlockRepository
from sp_plugin.store.outputs import OutputRepository
from sp_plugin.store.piece_checks import PieceCheckRepository
from sp_plugin.store.sub_pieces import SubPieceRepository
from sp_plugin.store.tokens import TokenRepository
from sp_plugin.store.unsealing import UnsealRepository
from sp_plugin.treasury import Treasury
from sp_plugin.unsealing import Unsealing
from sp_plugin.workshop import open_workshop, queue_rules

__all__ = ["Sidecar"]

_REFILL_SECONDS: Final = 600  # a slow pace: a gap that could be read in seconds would be none

log = structlog.get_logger()


class Sidecar:
    """One sidecar at work. Made by `opening.open_sidecar`; `url` is where its API listens."""

    def __init__(
        self,
        config: Config,
        data: DataDir,
        *,
        node: LotusClient,
        found: NodeCapabilities,
        store: Store,
        sector_size: int,
        head: Epoch,
        treasury: Treasury,
        miner: MinerClient | None = None,
    ) -> None:
        self.config = config
        self.data = data
        self.node = node
        self.found = found
        self.store = store
        self.treasury = treasury
        self.url = ""
        self.provider = config.provider.actor
        self.chain = ChainRepository(store)
        self.tokens = TokenRepository(store)
        self._followed: Epoch | None = None
        self.head = RecentHead(self.head_epoch, head)
        self._follower = ChainFollower(
            node,
            self.chain,
            self.provider,
            start_at=None
            if config.follow.start_epoch is None
            else Epoch(config.follow.start_epoch),
            range_epochs=config.follow.max_epochs_per_step,
        )
        self.queue = JobQueue(store, time.time_ns, queue_rules(config.jobs))
        self.desk = ApprovalDesk(
            book=ApprovalRepository(store),
            chain=node,
            provider=self.provider,
            policy=approval_policy(config.approvals),
            clock=time.time_ns,
        )
        self.hold = Hold()
        self.guard = open_guard(config, self.hold, node, found, data.path, miner=miner)
        paths = config.provider.storage_paths
        denylists = Denylists(config.policy.denylists)
        self.input_cache = InputCache(
            data.volumes,
            most_bytes=config.jobs.cache_bytes,
            keep_free=config.jobs.keep_free_bytes,
            mounted=lambda: self.workshop.mounted(),  # noqa: PLW0108  it is made later
            clock=time.time_ns,
        )
        self.pieces = Pieces(
            self.provider,
            self.chain,
            PieceCheckRepository(store, self.provider),
            HeldBlockRepository(store),
            segments=SubPieceRepository(store),
            source=piece_source(config.provider, sector_size),
            unsealed=StoragePathSource(paths, sector_size) if paths else None,
            books=miner,
            sector_size=sector_size,
            cache_dir=data.volumes,
            roots_dir=data.piece_roots,
            make_room=self.input_cache.make_room,
            denylist=denylists.current,
            admits=lambda known: bool(datasets_naming(known, config.datasets)),
            epoch=lambda: self._followed,
            clock=time.time_ns,
        )
        self.pieces.work.hold = self.hold
        self.pieces.volumes.pause = self.hold.pause
        self.unsealing = Unsealing(
            self.pieces,
            UnsealRepository(store, self.provider),
            config.provider.unseal,
            miner=miner,
            sector_bytes=sector_size,
            address=Address.of_id(self.provider).to_text(found.address_prefix),
            clock=time.time_ns,
        )
        self.workshop = open_workshop(
            config,
            data,
            library=self.pieces,
            network=found.network_name,
            head=lambda: self.head.newest,
            clock=time.time_ns,
            denylist=denylists.current,
            make_room=self.input_cache.make_room,
            hold=self.hold,
        )
        self.admission = Admission(
            queue=self.queue,
            desk=self.desk,
            bundler=self.workshop.bundler,
            pieces=self.pieces,
            datasets=config.datasets,
            rules=PolicyRules(config.policy, config.jobs, config.earnings),
            kinds=self.workshop.kinds,
            max_waiting=config.jobs.max_queued,
            head=self.head.epoch,
        )
        self._considering = Considering(self.admission)
        self.lineage = Lineage(
            self.provider,
            queue=self.queue,
            outputs=OutputRepository(store),
            chain=self.chain,
            pieces=self.pieces,
            blocks=HeldBlockRepository(store),
            results_dir=data.results,
            staging_dir=data.staging,
            epoch=lambda: self._followed,
        )
        self.pruning = Pruning(
            data.results,
            self.queue,
            OutputRepository(store),
            keep_days=config.jobs.keep_results_days,
            clock=time.time_ns,
        )
        self.earnings_store = EarningsRepository(store)
        self.earning = Earning(
            config.earnings,
            node,
            chain=self.chain,
            lineage=self.lineage,
            store=self.earnings_store,
            treasury=treasury,
            found=found,
            provider=self.provider,
            sector_size=sector_size,
        )
        self.refill = Refill(config.node, node, self.chain, self.provider)
        steps = self._periodic()
        self.health = Health(tuple(step.name for step in steps), datetime.now(UTC))
        self.steps = Steps(steps, self.health)
        self.refill.tell = self._note_refill
        self.guard.tell = lambda text: self.health.note("guard", text)

    def _periodic(self) -> tuple[Step, ...]:
        poll = self.config.follow.poll_interval_seconds
        return (
            Step("guard", GUARD_SECONDS, self.guard.step),
            Step("follow", poll, self._follow),
            Step("verify", 60, self._verify),
            Step("admit", 15, self._admit),
            Step("trace", 30, self.lineage.step),
            Step("earn", 60, self._earn),
            Step("fund", 60, self.treasury.funding_step),
            Step("plan", 600, self.treasury.plan_step),
            Step("send", poll, self.treasury.send_step),
            Step("float", 300, self._watch_float),
            Step("refill", _REFILL_SECONDS, self.refill.step),
            Step("prune", 3600, self._prune),
            Step("measure", 15, self._measure),
        )

    async def head_epoch(self) -> Epoch:
        """The chain's present epoch, by the node."""
        return (await self.node.head()).height

    async def run_until(self, stop: asyncio.Event) -> None:
        """Serve and step until `stop` is set; then finish the rounds under way and close everything."""
        runner = web.AppRunner(make_app(self._parts()), access_log=None)
        async with AsyncExitStack() as stack:
            stack.callback(self.hold.pause.close)  # or a thread that stands would keep the process
            stack.push_async_callback(self.workshop.close)
            await self.workshop.clear(self.queue)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            self.url = await listen(runner, self.config.http)
            await keep_local_token(self.data, self.tokens, time.time_ns())
            self.data.write_private(self.data.api_url, self.url)
            stack.callback(self.data.api_url.unlink, missing_ok=True)
            stack.push_async_callback(self.steps.stop)
            stack.push_async_callback(self.pieces.work.close)
            stack.push_async_callback(self._considering.settle)
            self.steps.start()
            await self.unsealing.resume()
            stack.push_async_callback(
                _cancelled, asyncio.create_task(hear_of_heads(self.node, self._head_changed))
            )
            hints = hear_of_events(self.node, self.provider, lambda: self.steps.wake("follow"))
            stack.push_async_callback(_cancelled, asyncio.create_task(hints))
            log.info("sidecar_started", url=self.url, provider=self.provider)
            if self.config.jobs.enabled:
                await self.workshop.work(
                    self.queue,
                    self.admission.why_not_start,
                    stop,
                    on_end=lambda: self.steps.wake_within("trace", 0.5),
                )
            await stop.wait()
            log.info("sidecar_stopping")

    def _parts(self) -> Parts:
        return Parts(
            http=self.config.http,
            tokens=self.tokens,
            health=self.health,
            queue=self.queue,
            admission=self.admission,
            desk=self.desk,
            pieces=self.pieces,
            unsealing=self.unsealing,
            guard=self.guard,
            datasets=self.config.datasets,
            treasury=self.treasury,
            earnings=self.earnings_store,
            backfill=self.earning.backfill,
            statement=self.earning.statement,
            provider=self.provider,
            results_dir=self.data.results,
            links=ResultLinks(self.data.link_key()),
            record_signer=self.data.record_key().address,
            prefix=self.found.address_prefix,
            wake=self.steps.wake,
            head=self.head_epoch,
            followed=lambda: self._followed,
            event_source=lambda: self._follower.source,
            gaps=self._gaps,
            network=self.found.network_name,
            consider=self._considering.look_at,
            logs=LogPlaces(self.data.runs, self.data.results),
            kinds=self.workshop.kinds,
            jobs=self.config.jobs,
            node_id=f"n-{self.data.identity()}",
            started=datetime.now(UTC),
        )

    async def _follow(self) -> bool:
        """Take over at most one range of epochs; new ones wake the steps that live on them."""
        asked = self.head.now()
        async with self.node.pinned():  # one step reads one node's chain
            await self.treasury.same_chain.check()
            progress = await self._follower.step()
        self._followed = progress.cursor.height
        self.head.tell(progress.head, asked)
        CHAIN_EPOCH.labels("followed").set(progress.cursor.height)
        CHAIN_EPOCH.labels("head").set(progress.head)
        if self._follower.source is not None:
            self.health.note("follow", source_text(self._follower.source))
        if progress.applied or progress.reverted:
            for name in ("verify", "admit", "trace", "earn", "fund", "send"):
                self.steps.wake(name)
        return not progress.at_head

    def _note_refill(self, text: str, filled: bool) -> None:
        """What is still unknown, beside the step; what is known now makes pieces, and perhaps money."""
        self.health.note("refill", text)
        if filled:
            for name in ("verify", "admit", "trace", "earn", "measure"):
                self.steps.wake(name)

    async def _gaps(self) -> tuple[Gap, ...]:
        return await self.chain.gaps(self.provider)

    async def _verify(self) -> bool:
        """Read a piece; a job may have waited for it."""
        if self.hold.why_no_start(freezable=False) is not None:
            return False
        try:
            more = await self.pieces.verify_next()
        except WorkStopped:
            return False
        self.steps.wake("admit")
        return more

    async def _admit(self) -> bool:
        """Let approved jobs through, to workers that look for them at once."""
        more = await self.admission.step()
        await self.queue.end_late()  # also where no worker of ours does it
        return more

    async def _earn(self) -> bool:
        """Record wins that became final, close periods, release what vested."""
        step = await self.earning.step()
        if step is None:
            return False
        self.health.note("earn", waits_for(step.waiting))
        if step.recorded or step.closed:
            log.info("earnings_moved", recorded=step.recorded, closed=step.closed)
            self.steps.wake("plan")
        return False

    async def _prune(self) -> bool:
        await self.pruning.step()
        return await self.input_cache.step()

    async def _watch_float(self) -> bool:
        """Warn when the payout wallet holds more than it should: once in the log, and in readyz while it does."""
        text = await self.treasury.float_warning()
        if self.health.note("float", text) and text:
            log.warning("payout_float_exceeded", text=text)
        return False

    def _head_changed(self) -> None:
        for name in ("follow", "guard"):
            self.steps.wake(name)

    async def _measure(self) -> bool:
        await measure(self.pieces, self.queue, await self._gaps())
        return False


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
