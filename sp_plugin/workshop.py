"""Where approved jobs run: executors, the bundler, and the workers, put together from the configuration."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import structlog

from deals.denylist import Denylist
from deals.volumes import VolumeLimits, clean_cache
from fil_plus.bundle import ResourceLimits
from fil_plus.terms import Basis, ShareTerms
from lotus_client.types import AttoFil, Epoch, PaddedPieceSize
from sp_plugin.config import Config, DatasetConfig, EarningsConfig
from sp_plugin.config.jobs import DockerLimits, JobsConfig, QuotaConfig, WasmLimits
from sp_plugin.data_dir import DataDir
from sp_plugin.executors import make_executors
from sp_plugin.executors.base import (
    DockerOptions,
    EngineUnavailable,
    Executor,
    ExecutorSettings,
    LeavesTraces,
    OutlivesUs,
)
from sp_plugin.executors.pause import Pause
from sp_plugin.fetching.wiring import open_fetching
from sp_plugin.inputs.base import InputContext, PieceLibrary
from sp_plugin.jobs.bundle import BundleConditions, EngineLimits, JobBundler
from sp_plugin.jobs.fairness import Quota
from sp_plugin.jobs.hold import Hold
from sp_plugin.jobs.kinds import load_kinds
from sp_plugin.jobs.preparing import RunSettings
from sp_plugin.jobs.programs import Programs
from sp_plugin.jobs.queue import JobQueue, QueueRules
from sp_plugin.jobs.reading import Kinds
from sp_plugin.jobs.removal import remove_tree
from sp_plugin.jobs.running import JobRunner
from sp_plugin.jobs.spec import JobSpec
from sp_plugin.jobs.worker import StartCheck, Worker
from sp_plugin.publishers.base import PublishContext
from sp_plugin.publishers.wiring import buckets_of, kubo_of, publisher_check
from sp_plugin.store.jobs import Lease

__all__ = ["Workshop", "executor_settings", "open_workshop", "queue_rules", "terms_for"]

_MIB: Final = 1 << 20

log = structlog.get_logger()


class Workshop:
    """The engines of this sidecar with what surrounds them."""

    def __init__(
        self,
        kinds: Kinds,
        bundler: JobBundler,
        runner: JobRunner,
        executors: Mapping[str, Executor],
        *,
        data: DataDir,
        workers: int,
        hold: Hold,
    ) -> None:
        self.kinds = kinds
        self.bundler = bundler
        self._runner = runner
        self._executors = executors
        self._data = data
        self._node_id = f"n-{data.identity()}"
        self._count = workers
        self._resumed: list[Lease] = []
        self._hold = hold

    async def clear(self, queue: JobQueue) -> None:
        """Put away what a killed process of this data_dir left: runs, half-made volumes, containers, leases.

        Containers that still run under a lease of ours are kept, and waited for by `work`.
        A container engine that does not answer is logged: jobs that need it will say so themselves.
        """
        self._resumed = await self._adopted(queue)
        keep = {lease.execution_id for lease in self._resumed}
        for engine, executor in self._executors.items():
            if not isinstance(executor, LeavesTraces):
                continue
            try:
                removed = await executor.remove_leftovers(keep)
            except EngineUnavailable as error:
                log.warning("engine_unavailable", engine=engine, error=str(error))
                continue
            for execution_id in removed:
                log.info("leftover_removed", engine=engine, execution_id=execution_id)
        await asyncio.to_thread(self._runner.clean, keep)
        await asyncio.to_thread(clean_cache, self._data.volumes)
        await asyncio.to_thread(remove_tree, self._data.resolving)
        await asyncio.to_thread(_remove_half_made, self._data.results, self._data.staging)
        if released := await queue.release_node(self._node_id, keep):
            log.info("leases_released", jobs=released)

    async def _adopted(self, queue: JobQueue) -> list[Lease]:
        """The runs of a killed process that went on by themselves, at most one for each worker."""
        left: dict[str, int] = {}
        for engine, executor in self._executors.items():
            if isinstance(executor, OutlivesUs):
                try:
                    found = await executor.left_runs()
                except EngineUnavailable as error:
                    log.warning("engine_unavailable", engine=engine, error=str(error))
                    continue
                left |= {run.execution_id: run.token for run in found}
        leases = await queue.adopt(self._node_id, dict(sorted(left.items())[: self._count]))
        for lease in leases:
            log.info("run_goes_on", job_id=lease.job.id, execution_id=lease.execution_id)
        return leases

    async def work(
        self,
        queue: JobQueue,
        why_not_start: StartCheck,
        stop: asyncio.Event,
        on_end: Callable[[], None],
    ) -> None:
        """Run queued jobs until `stop` is set, and call `on_end` after each."""
        workers = [
            Worker(
                queue,
                self._runner,
                self._node_id,
                why_not_start=why_not_start,
                hold=self._hold,
                on_end=on_end,
                resumed=self._resumed,
            )
            for _ in range(self._count)
        ]
        async with asyncio.TaskGroup() as group:
            for worker in workers:
                group.create_task(worker.run(stop))

    def mounted(self) -> frozenset[Path]:
        """The files and directories that are inputs of runs now."""
        return self._runner.mounted()

    async def close(self) -> None:
        """Release what executors hold, e.g. the connection to a container engine."""
        for executor in self._executors.values():
            if isinstance(executor, LeavesTraces):
                await executor.close()


def _remove_half_made(results: Path, staging: Path) -> None:
    """Files that were being written when the process was killed; those that are whole stay, and a program's own: it has a folder."""
    for path in (*results.glob("*.tmp"), *results.glob("*/*.tmp"), *staging.glob("*.tmp")):
        path.unlink(missing_ok=True)


def open_workshop(
    config: Config,
    data: DataDir,
    *,
    library: PieceLibrary,
    network: str,
    head: Callable[[], Epoch],
    clock: Callable[[], int],
    denylist: Callable[[], Denylist] = Denylist,
    make_room: Callable[[], VolumeLimits] = VolumeLimits,
    hold: Hold | None = None,
) -> Workshop:
    """The workshop of the config, whose runs heed `hold`. Docker is offered only where it was switched on."""
    hold = hold or Hold()
    switched_off = frozenset() if config.jobs.docker.enabled else frozenset({"docker"})
    kinds = load_kinds(without_engines=switched_off)
    executors = {
        name: executor
        for name, executor in make_executors(
            executor_settings(
                config,
                cache_dir=data.compiled,
                runs_dir=data.runs,
                owner=f"sp-plugin-{data.identity()}",
                pause=hold.pause,
            )
        )
        if name not in switched_off
    }
    fetching = open_fetching(
        config, data.volumes, make_room=make_room, denylist=denylist, pause=hold.pause
    )
    context = InputContext(
        library=library,
        allowed_directories=config.jobs.allowed_local_directories,
        downloads=fetching.downloads,
        gateways=fetching.gateways,
    )
    publishing = PublishContext(
        results_dir=data.results,
        staging_dir=data.staging,
        cars_dir=data.cars,
        min_piece_size=PaddedPieceSize(config.jobs.minimum_piece_bytes),
        public_url=config.http.public_url,
        kubo=kubo_of(config.jobs.publish.kubo),
        buckets=buckets_of(config.jobs.publish),
        node_id=f"n-{data.identity()}",
    )
    window = config.approvals.valid_for_epochs

    def validity(_spec: JobSpec) -> tuple[Epoch, Epoch]:
        now = head()
        return now, Epoch(now + window)

    conditions = BundleConditions(
        network_name=network,
        provider=config.provider.actor,
        limits={
            name: _docker_limits(config.jobs.docker)
            if name == "docker"
            else _limits(config.jobs.wasm, 1)
            for name in executors
        },
        terms=lambda spec: terms_for(spec, config.earnings, config.datasets),
        validity=validity,
        check=publisher_check(config.jobs, kinds, publishing),
    )
    programs = Programs(kinds, executors)
    bundler = JobBundler(kinds, programs, context, conditions, data.resolving)
    settings = RunSettings(
        work_dir=data.runs,
        context=context,
        publishing=publishing,
        stream_bytes={
            "wasm": config.jobs.wasm.log_bytes,
            "docker": config.jobs.docker.log_bytes,
        },
        cpu_seconds={}
        if config.jobs.wasm.cpu_seconds is None
        else {"wasm": float(config.jobs.wasm.cpu_seconds)},
        processes=config.jobs.docker.pids,
        denylist=denylist,
        hold=hold,
        record_key=data.record_key(),
    )
    runner = JobRunner(kinds, programs, settings, clock, head)
    return Workshop(
        kinds, bundler, runner, executors, data=data, workers=config.jobs.workers, hold=hold
    )


def executor_settings(
    config: Config, *, cache_dir: Path, runs_dir: Path, owner: str, pause: Pause | None = None
) -> ExecutorSettings:
    """What the configuration says to executors, whose runs stand still with `pause`."""
    docker = config.jobs.docker
    return ExecutorSettings(
        cache_dir=cache_dir,
        runs_dir=runs_dir,
        owner=owner,
        pause=pause or Pause(),
        docker_url=docker.socket,
        docker=_docker_options(docker),
    )


def _docker_options(docker: DockerLimits) -> DockerOptions:
    """As configured; a runtime of which nothing is said is taken for one with a kernel of its own."""
    memory, pids = docker.runtime_memory_bytes, docker.runtime_pids
    return DockerOptions(
        runtime=docker.runtime,
        runtime_memory_bytes=(64 * _MIB if docker.runtime else 0) if memory is None else memory,
        runtime_processes=(64 if docker.runtime else 0) if pids is None else pids,
        pull_from=docker.pull_from,
        pull_bytes=docker.pull_bytes,
        io_bytes_per_second=docker.io_bytes_per_second,
    )


def terms_for(
    spec: JobSpec, earnings: EarningsConfig, datasets: Sequence[DatasetConfig]
) -> ShareTerms:
    """The terms a new job is offered: the provider's, no more than its dataset's. Nobody to pay means no share."""
    if spec.payee is None:
        return ShareTerms(earnings.basis, output_bps=0, input_bps=0, max_share_bps=0)
    output, used = [earnings.output_bps], [earnings.input_bps]
    for dataset in datasets:
        if dataset.name == spec.dataset:
            output += (
                [] if dataset.share_terms.output_bps is None else [dataset.share_terms.output_bps]
            )
            used += [] if dataset.share_terms.input_bps is None else [dataset.share_terms.input_bps]
    fixed = earnings.basis is Basis.FIXED_BUDGET
    return ShareTerms(
        earnings.basis,
        output_bps=min(output),
        input_bps=min(used),
        max_share_bps=earnings.max_share_bps,
        budget=earnings.fixed_budget_fil if fixed else AttoFil(0),
        budget_epochs=earnings.fixed_budget_epochs if fixed else 0,
    )


def _limits(most: WasmLimits | DockerLimits, cpus: int) -> EngineLimits:
    """A job that does not say gets half a CPU, 512 MiB, and the most of time and disk."""
    upper = ResourceLimits(
        cpu_millis=cpus * 1000,
        memory_bytes=most.memory_bytes,
        disk_bytes=most.output_bytes,
        timeout_seconds=most.wall_seconds,
        gpus=most.gpus if isinstance(most, DockerLimits) else 0,
    )
    default = ResourceLimits(
        cpu_millis=500,
        memory_bytes=min(512 * _MIB, most.memory_bytes),
        disk_bytes=most.output_bytes,
        timeout_seconds=most.wall_seconds,
    )
    return EngineLimits(default=default, most=upper)


def _docker_limits(most: DockerLimits) -> EngineLimits:
    return _limits(most, most.cpus)


def queue_rules(jobs: JobsConfig) -> QueueRules:
    """The queue's rules as the configuration has them."""

    def quota(of: QuotaConfig) -> Quota:
        return Quota(
            max_queued=of.max_queued,
            max_running=of.max_running,
            compute_seconds_per_day=of.compute_seconds_per_day,
            output_bytes_per_day=of.output_bytes_per_day,
            weight=of.weight,
        )

    return QueueRules(
        float(jobs.lease_seconds),
        default_quota=quota(jobs.quotas.default),
        quotas={submitter.name: quota(submitter) for submitter in jobs.quotas.submitters},
    )
