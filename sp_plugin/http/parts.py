"""What the HTTP handlers work with: the sidecar's parts, handed over once when the app is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from aiohttp import web
from sp_plugin.views import Views

from sp_plugin.approvals.desk import ApprovalDesk
from sp_plugin.config import HttpConfig
from sp_plugin.health import Health
from sp_plugin.jobs.queue import JobQueue
from sp_plugin.store.jobs import JobRecord
from sp_plugin.store.tokens import TokenRepository

__all__ = ["PARTS", "Intake", "Parts", "Wake"]


class Intake(Protocol):
    """Takes job descriptions in."""

    async def submit(
        self, description: Mapping[str, Any], submitter: str
    ) -> tuple[JobRecord, tuple[str, ...]]:
        """The new job, and warnings about keys that were ignored or defaults that were taken.

        Raises:
            BadInput: every fault of the description, one a line.
        """
        ...


Wake = Callable[[str], None]  # run a periodic step now, by its name


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything the handlers may use."""

    http: HttpConfig
    tokens: TokenRepository
    health: Health
    queue: JobQueue
    intake: Intake
    desk: ApprovalDesk
    views: Views
    results_dir: Path
    wake: Wake


PARTS: Final = web.AppKey("parts", Parts)
