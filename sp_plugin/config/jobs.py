"""The keys about jobs: how they run, their bounds, and what each submitter may have."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sp_plugin.config.fields import (
    Count,
    Flag,
    PathField,
    PositiveCount,
    Section,
    Text,
    wrong,
)
from sp_plugin.config.transfers import FetchConfig, PublishConfig

__all__ = [
    "DockerLimits",
    "JobsConfig",
    "QuotaConfig",
    "QuotasConfig",
    "SubmitterQuotaConfig",
    "WasmLimits",
]

_MIB = 1 << 20
_GIB = 1 << 30


class WasmLimits(Section):
    """Upper bounds of one WASM run; a job may ask for less."""

    memory_bytes: PositiveCount = Field(default=512 * _MIB, description="linear memory")
    wall_seconds: PositiveCount = Field(default=600, description="from start to kill")
    cpu_seconds: PositiveCount | None = Field(
        default=None, description="CPU time of one run; null bounds it by wall_seconds only"
    )
    output_bytes: PositiveCount = Field(default=_GIB, description="all files it writes")
    log_bytes: PositiveCount = Field(default=_MIB, description="kept of stdout and of stderr, each")


class DockerLimits(Section):
    """Upper bounds of one container; a job may ask for less."""

    enabled: Flag = Field(
        default=False, description="containers share the host's kernel: switch on by choice"
    )
    memory_bytes: PositiveCount = Field(default=_GIB, description="memory, swap included")
    cpus: PositiveCount = Field(default=1, description="whole CPUs")
    pids: PositiveCount = Field(default=128, description="processes and threads")
    gpus: Count = Field(
        default=0,
        description="GPUs of the engine that one job may have; its programs then reach the host's GPU driver",
    )
    io_bytes_per_second: PositiveCount | None = Field(
        default=None,
        description="read from, and written to, the disk of data_dir, where the engine can bound it; null is no bound",
    )
    wall_seconds: PositiveCount = Field(default=1800, description="from start to kill")
    output_bytes: PositiveCount = Field(default=_GIB, description="all files it writes")
    log_bytes: PositiveCount = Field(default=_MIB, description="kept of stdout and of stderr, each")
    socket: Text | None = Field(
        default=None,
        description="where the engine listens (unix:///…); null: DOCKER_HOST, else a rootless engine of this user, else the usual one",
    )
    runtime: Text | None = Field(
        default=None, description="the engine's runtime for jobs, e.g. runsc; null: its default"
    )
    runtime_memory_bytes: Count | None = Field(
        default=None,
        description="what the runtime itself needs in each container, added to a job's memory; null: 64 MiB with a runtime, else 0",
    )
    runtime_pids: Count | None = Field(
        default=None,
        description="the same for its processes and threads; null: 64 with a runtime, else 0",
    )
    pull_from: tuple[Text, ...] = Field(
        default=(),
        description="repositories, or what their names begin with, that images are pulled from, by digest only; none: nothing is pulled",
    )
    pull_bytes: PositiveCount = Field(
        default=8 * _GIB, description="largest image that is pulled, compressed"
    )


class QuotaConfig(Section):
    """What one submitter may have at a time and in a day; null is no limit."""

    max_queued: PositiveCount | None = Field(
        default=None, description="jobs waiting to run, approved or not; more are refused"
    )
    max_running: PositiveCount | None = Field(
        default=None, description="jobs running at the same time; further ones wait in the queue"
    )
    compute_seconds_per_day: PositiveCount | None = Field(
        default=None, description="CPU seconds used in the last 24 hours after which jobs wait"
    )
    output_bytes_per_day: PositiveCount | None = Field(
        default=None, description="bytes written in the last 24 hours after which jobs wait"
    )
    weight: Annotated[int, Field(strict=True, ge=1, le=1000)] = Field(
        default=1, description="size of its share beside other submitters"
    )


class _Submitter(Section):
    name: Text = Field(
        description="the name of its token, or its address if it signs; anonymous is whoever needs none",
        examples=["institute"],
    )


class SubmitterQuotaConfig(QuotaConfig, _Submitter):
    """The quota of one submitter, in place of the default one."""


class QuotasConfig(Section):
    """Shares of the machine: submitters take turns by what they used in the last day."""

    default: QuotaConfig = Field(default=QuotaConfig(), description="each submitter not named")
    submitters: tuple[SubmitterQuotaConfig, ...] = Field(
        default=(), description="submitters with quotas of their own"
    )

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        names = [submitter.name for submitter in self.submitters]
        for position, name in enumerate(names):
            if name in names[:position]:
                raise wrong(f"submitters.{position}.name", "stands twice among the submitters")
        return self


class JobsConfig(Section):
    """How jobs run."""

    enabled: Flag = Field(default=True, description="take approved jobs from the queue")
    workers: PositiveCount = Field(default=1, description="jobs running at the same time")
    lease_seconds: PositiveCount = Field(
        default=60, description="a worker silent this long has lost its job"
    )
    max_queued: PositiveCount = Field(default=1000, description="jobs waiting; more are refused")
    quotas: QuotasConfig = Field(
        default=QuotasConfig(), description="shares and limits of submitters"
    )
    wasm: WasmLimits = Field(default=WasmLimits(), description="WASM limits")
    docker: DockerLimits = Field(default=DockerLimits(), description="Docker limits")
    allowed_publishers: tuple[Literal["local", "ipfs", "filecoin", "s3"], ...] = Field(
        default=("local", "filecoin"), description="where results may go"
    )
    fetch: FetchConfig = Field(default=FetchConfig(), description="what is fetched for jobs")
    publish: PublishConfig = Field(default=PublishConfig(), description="where results are sent")
    allowed_local_directories: tuple[PathField, ...] = Field(
        default=(), description="host directories a localDirectory input may lie in"
    )
    minimum_piece_bytes: Literal[256, 1048576] = Field(
        default=1048576,
        description="least padded size of a staged result: 1 MiB on mainnet and calibration, 256 on a 2k network",
    )
    cache_bytes: PositiveCount = Field(
        default=100 * _GIB,
        description="files written out from pieces for jobs; those unused for longest go first",
    )
    keep_free_bytes: PositiveCount = Field(
        default=5 * _GIB,
        description="what the disk of data_dir keeps free: nothing more is written out from pieces below it",
    )
    keep_results_days: PositiveCount = Field(
        default=90,
        description="files of a run are kept this long after it ended; pieces staged for deals are never removed",
    )
