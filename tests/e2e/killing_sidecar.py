"""The sidecar as a process that kills itself, as `kill -9` does, at a chosen moment.

    python -m tests.e2e.killing_sidecar <directory> run --config …

A test arms a moment by a file in the directory; the process that reaches it first renames the file and is gone, so
that the one started after it goes on. The moments are wrapped around ports from outside: the product knows nothing of
them.
"""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from enum import StrEnum
from pathlib import Path
from typing import Any

from lotus_client.client import LotusClient
from sp_plugin.cli import main
from sp_plugin.executors.base import ExecutionRequest
from sp_plugin.executors.wasm import WasmExecutor
from sp_plugin.jobs.queue import JobQueue
from sp_plugin.payouts.signer import KeySigner
from sp_plugin.store import chain as chain_store
from sp_plugin.store import earnings as earnings_store
from sp_plugin.store.chain import ChainRepository
from sp_plugin.store.payouts import PayoutRepository

__all__ = ["Deaths", "Moment"]

Method = Callable[..., Awaitable[Any]]


class Moment(StrEnum):
    """Where the process may die."""

    DURING_JOB = "during_job"  # the guest runs
    AFTER_JOB = "after_job"  # results are kept and published, the queue has not heard of it
    FOLLOWING = "following"  # a range of tipsets was applied, the next was not
    INSIDE_FOLLOWING = "inside_following"  # a range is half written
    BOOKING = "booking"  # wins and their ledger entries are half written
    CLOSING = "closing"  # a period was closed, nothing was made of it yet
    BEFORE_SIGNING = "before_signing"
    AFTER_SIGNING = "after_signing"  # the signed bytes are stored and nobody else has them
    AFTER_PUSH = "after_push"  # the node has the bytes, the store does not know
    BEFORE_SETTLING = "before_settling"  # the payout is final on chain and not in the ledger


class Deaths:
    """The moments armed in a directory, and who died at which."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def arm(self, moment: Moment) -> None:
        """The next process that comes there dies."""
        self._directory.mkdir(exist_ok=True)
        (self._directory / f"{moment}.armed").touch()

    def happened(self, moment: Moment) -> bool:
        """Whether a process died there."""
        return (self._directory / f"{moment}.hit").exists()

    def orphans(self, moment: Moment) -> list[int]:
        """The children that the process had when it died."""
        return [int(pid) for pid in (self._directory / f"{moment}.hit").read_text().split()]

    def visit(self, moment: Moment) -> None:
        """Die if the moment is armed."""
        hit = self._directory / f"{moment}.hit"
        try:
            (self._directory / f"{moment}.armed").rename(hit)
        except FileNotFoundError:
            return
        pid = os.getpid()
        hit.write_text(Path(f"/proc/{pid}/task/{pid}/children").read_text())
        os.kill(pid, signal.SIGKILL)

    def is_armed(self, moment: Moment) -> bool:
        """Whether the moment waits for somebody."""
        return (self._directory / f"{moment}.armed").exists()


def _before(deaths: Deaths, moment: Moment) -> Callable[[Method], Method]:
    def wrap(method: Method) -> Method:
        @functools.wraps(method)
        async def wrapped(*args: Any, **kwargs: Any) -> Any:
            deaths.visit(moment)
            return await method(*args, **kwargs)

        return wrapped

    return wrap


def _after(deaths: Deaths, moment: Moment) -> Callable[[Method], Method]:
    def wrap(method: Method) -> Method:
        @functools.wraps(method)
        async def wrapped(*args: Any, **kwargs: Any) -> Any:
            answer = await method(*args, **kwargs)
            deaths.visit(moment)
            return answer

        return wrapped

    return wrap


def _while_the_guest_runs(deaths: Deaths) -> Callable[[Method], Method]:
    """Die once the guest's process has opened its output, which it does right before it starts the program."""

    def wrap(method: Method) -> Method:
        @functools.wraps(method)
        async def wrapped(self: Any, request: ExecutionRequest, cancel: Any = None) -> Any:
            if not deaths.is_armed(Moment.DURING_JOB):
                return await method(self, request, cancel)
            running = asyncio.create_task(method(self, request, cancel))
            while not running.done():
                if (request.result_dir / "stdout").exists():
                    deaths.visit(Moment.DURING_JOB)
                await asyncio.sleep(0.001)
            return await running

        return wrapped

    return wrap


def _wrap(owner: Any, name: str, wrapper: Callable[[Method], Method]) -> None:
    setattr(owner, name, wrapper(getattr(owner, name)))


def _set_up(deaths: Deaths) -> None:
    _wrap(WasmExecutor, "run", _while_the_guest_runs(deaths))
    _wrap(JobQueue, "finish", _before(deaths, Moment.AFTER_JOB))
    _wrap(ChainRepository, "apply", _after(deaths, Moment.FOLLOWING))
    _wrap(chain_store, "_write_cursor", _before(deaths, Moment.INSIDE_FOLLOWING))
    _wrap(earnings_store, "append_in", _before(deaths, Moment.BOOKING))
    _wrap(earnings_store.EarningsRepository, "save_period", _after(deaths, Moment.CLOSING))
    _wrap(KeySigner, "sign", _before(deaths, Moment.BEFORE_SIGNING))
    _wrap(PayoutRepository, "record_signed", _after(deaths, Moment.AFTER_SIGNING))
    _wrap(LotusClient, "mpool_push", _after(deaths, Moment.AFTER_PUSH))
    _wrap(PayoutRepository, "settle", _before(deaths, Moment.BEFORE_SETTLING))


if __name__ == "__main__":
    _set_up(Deaths(Path(sys.argv[1])))
    main(sys.argv[2:])
