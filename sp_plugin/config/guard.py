"""The keys about what goes first on this host: sealing and proving."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from sp_plugin.config.fields import Count, PositiveCount, Section, Text, wrong

__all__ = ["GuardConfig", "HostRole"]

_GIB = 1 << 30


class HostRole(StrEnum):
    """What else the host of the sidecar does for the provider."""

    PROVER = "prover"  # computes WindowPoSts
    SEALER = "sealer"
    STORAGE = "storage"
    COMPUTE = "compute"  # nothing


class GuardConfig(Section):
    """What goes before jobs on this host: proving and sealing."""

    host_role: HostRole | None = Field(
        default=None,
        description="prover (it computes WindowPoSts), sealer, storage or compute; null is taken for prover, the safe one",
    )
    lead_epochs: Count = Field(
        default=10,
        description="on a prover, nothing that cannot be frozen starts so long before a deadline's challenge",
    )
    idle_epochs: Count = Field(
        default=4,
        description="a prover seen at work on a proof, and idle for so long, has made it: jobs go on until it is due; "
        "0 waits for the chain",
    )
    max_load_percent: PositiveCount | None = Field(
        default=400,
        description="load of the last minute in percent of the processors, above which no job starts; null is no limit",
    )
    max_io_wait_percent: Annotated[int, Field(strict=True, ge=1, le=100)] | None = Field(
        default=60,
        description="time that work stood still for disks (/proc/pressure/io, full, 10 s), above which no job starts",
    )
    least_memory_bytes: Count = Field(
        default=_GIB,
        description="memory available on the host, below which no job starts; below half of it jobs are stopped",
    )
    curio_metrics_url: Text | None = Field(
        default=None,
        description="Curio's metrics page on this host (http://127.0.0.1:12300/debug/metrics): it tells whether Curio proves",
    )

    @model_validator(mode="after")
    def _is_a_page(self) -> Self:
        url = self.curio_metrics_url
        if url is not None and urlsplit(url).scheme not in ("http", "https"):
            raise wrong("curio_metrics_url", "must begin with http:// or https://")
        return self

    @property
    def role(self) -> HostRole:
        """The role, the safe one where none is given."""
        return self.host_role or HostRole.PROVER
