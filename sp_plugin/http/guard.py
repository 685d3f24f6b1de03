"""What holds jobs back on the provider's host, and why."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from pydantic import BaseModel

from sp_plugin.config import Scope
from sp_plugin.guard.decide import Verdict
from sp_plugin.guard.sights import ChainSight, HostSight
from sp_plugin.guard.watch import Report
from sp_plugin.http.auth import needs
from sp_plugin.http.described import answers
from sp_plugin.http.parts import PARTS

__all__ = ["GuardAnswer", "routes"]

routes = web.RouteTableDef()


class GuardDeadline(BaseModel):
    """A deadline that is open or near: when its proof is due, and the partitions that have none on chain."""

    index: int
    challenge_epoch: int
    open_epoch: int
    close_epoch: int
    partitions: list[int]
    unproven: list[int]


class GuardHost(BaseModel):
    """What the host shows; null is what it does not tell."""

    proving: str | None
    sealing: str | None
    seen: list[str]
    not_seen: list[str]
    load_percent: int | None
    io_wait_percent: int | None
    memory_available_bytes: int | None
    disk_free_bytes: int | None


class GuardChange(BaseModel):
    """That jobs were held back, or let go. `at` is in Unix seconds."""

    at: float
    state: str
    reasons: list[str]


class GuardAnswer(BaseModel):
    """What jobs may do on this host. Epochs are null where no chain was seen, as on hosts that prove nothing."""

    role: str
    state: str
    reasons: list[str]
    since: float
    until_epoch: int | None
    freezable_may_start: bool
    epoch: int | None
    head_epoch: int | None
    chain_error: str
    deadlines: list[GuardDeadline]
    host: GuardHost
    changes: list[GuardChange]


@routes.get("/api/v1/sp/guard")
@needs(Scope.READ)
@answers(GuardAnswer)
async def guard(request: web.Request) -> web.Response:
    """What jobs may do on this host now, why, until when, and what that was decided on."""
    return web.json_response(_answer(request.app[PARTS].guard.report()).model_dump())


def _answer(report: Report) -> GuardAnswer:
    verdict, chain = report.verdict, report.chain
    return GuardAnswer(
        role=report.rules.role,
        **_of_verdict(verdict),
        since=report.since,
        until_epoch=verdict.until,
        freezable_may_start=verdict.freezable_may_start,
        epoch=report.epoch,
        head_epoch=None if chain is None else chain.head,
        chain_error=report.why_unseen,
        deadlines=[] if chain is None else _deadlines(chain),
        host=_host(report.host),
        changes=[
            GuardChange(at=change.at, **_of_verdict(change.verdict)) for change in report.changes
        ],
    )


def _of_verdict(verdict: Verdict) -> dict[str, Any]:
    return {"state": verdict.state.value, "reasons": list(verdict.reasons)}


def _deadlines(chain: ChainSight) -> list[GuardDeadline]:
    return [
        GuardDeadline(
            index=deadline.index,
            challenge_epoch=deadline.challenge,
            open_epoch=deadline.open,
            close_epoch=deadline.close,
            partitions=list(deadline.needed),
            unproven=list(deadline.missing),
        )
        for deadline in chain.deadlines
    ]


def _host(host: HostSight) -> GuardHost:
    return GuardHost(
        proving=host.proving,
        sealing=host.sealing,
        seen=list(host.seen),
        not_seen=list(host.unseen),
        load_percent=host.load_percent,
        io_wait_percent=host.io_wait_percent,
        memory_available_bytes=host.memory_bytes,
        disk_free_bytes=host.disk_free_bytes,
    )
