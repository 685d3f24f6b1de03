"""Following a job: its state on standard error, its logs as they come on stdout and stderr."""

from __future__ import annotations

import asyncio
import sys
from typing import Any, Final

import aiohttp

from lotus_client.json_text import read_json
from sp_plugin.cli.api import Api, segment
from sp_plugin.errors import SidecarUnreachable, SpPluginError

__all__ = ["follow_logs", "follow_to_end"]

_JOBS: Final = "/api/v1/orchestrator/jobs"
_OVER: Final = frozenset({"Completed", "Failed", "Stopped"})
_LOOK_SECONDS: Final = 0.3
_MOST_FRAME: Final = 4 << 20
_STDERR: Final = 2


def follow_logs(api: Api, job_id: str, *, tail: bool = False) -> None:
    """Print what a job writes until it is over; what it wrote before comes first, unless `tail`.

    Raises:
        SpPluginError: it has not run and will not, or the stream broke off.
    """
    query = "follow=true" + ("&tail=true" if tail else "")
    asyncio.run(_print_logs(api, f"{_JOBS}/{segment(job_id)}/logs?{query}"))


def follow_to_end(api: Api, job_id: str, *, quiet: bool) -> dict[str, Any]:
    """The job when it is over. Until then its state is shown, and, unless `quiet`, its logs."""
    return asyncio.run(_follow(api, job_id, quiet=quiet))


async def _follow(api: Api, job_id: str, *, quiet: bool) -> dict[str, Any]:
    path = f"{_JOBS}/{segment(job_id)}"
    logs: asyncio.Task[None] | None = None
    if not quiet:
        logs = asyncio.create_task(_print_logs(api, f"{path}/logs?follow=true"))
    shown, job = "", {}
    try:
        while True:
            answer = await asyncio.to_thread(api.get, path)
            job = answer["Job"]
            state, message = job["State"]["StateType"], job["State"]["Message"]
            if state == "Running" and _is_docker(job):  # its image may be pulled first
                message = await asyncio.to_thread(_doing, api, path)
            line = f"{state}: {message}" if message and message != state.lower() else state
            if state in _OVER and logs is not None:
                await asyncio.gather(logs, return_exceptions=True)
            if line != shown:
                sys.stderr.write(f"{line}\n")
                shown = line
            if state in _OVER:
                return dict(job)
            await asyncio.sleep(_LOOK_SECONDS)
    finally:
        if logs is not None:
            logs.cancel()


def _is_docker(job: dict[str, Any]) -> bool:
    return any(task["Engine"]["Type"].lower() == "docker" for task in job["Tasks"])


def _doing(api: Api, path: str) -> str:
    """What a job's newest execution does now, in the sidecar's words."""
    items = api.get(f"{path}/executions")["Items"]
    newest = max(items, key=lambda item: int(item["CreateTime"]), default=None)
    return "" if newest is None else str(newest["ComputeState"]["Message"])


async def _print_logs(api: Api, path: str) -> None:
    try:
        async with (
            aiohttp.ClientSession(headers=api.headers) as session,
            session.ws_connect(api.url + path, max_msg_size=_MOST_FRAME) as socket,
        ):
            async for message in socket:
                _print(read_json(message.data))
            if socket.close_code != aiohttp.WSCloseCode.OK:
                raise SpPluginError("the log broke off: ask again with `sp-plugin job logs`")
    except aiohttp.ClientError as error:
        raise SidecarUnreachable(f"no log from {api.url}: {error}") from error


def _print(frame: dict[str, Any]) -> None:
    if error := frame.get("error"):
        raise SpPluginError(str(error))
    value = frame["value"]
    out = sys.stderr if value["Type"] == _STDERR else sys.stdout
    out.write(value["Line"])
    out.flush()
