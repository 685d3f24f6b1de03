"""What must hold after the soak, whatever was killed when."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.stand import JOBS

if TYPE_CHECKING:
    from tests.soak_jobs import Soak, Told

__all__ = ["check_all", "check_nothing_is_left"]

_ENDED = ("Completed", "Failed", "Stopped")
_COMPLETED, _OVER = 9, (9, 10, 11)  # numbers of execution states
_SECONDS = 240
# Killed in each of its attempts a job may fail; it then says so.
_WORN_OUT = ("went silent in each of", "the run was lost", "the WASM runtime ended with signal 9")


async def check_all(soak: Soak) -> None:
    """Wait until every job that was taken has ended, then look at each."""
    deadline = time.monotonic() + _SECONDS
    roots: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for told in soak.told:
        while True:
            status, answer = await soak.ask("GET", f"{JOBS}/{told.id}?include=executions,history")
            assert status == 200, f"{told.id} is lost: {answer}"
            if answer["Job"]["State"]["StateType"] in _ENDED:
                break
            assert time.monotonic() < deadline, f"{told.id} does not end: {answer['Job']['State']}"
            await asyncio.sleep(0.1)
        _check_one(told, answer)
        if (root := _root_of(soak, answer)) is not None:
            roots[told.kind.name][root] += 1
    for kind, found in roots.items():
        assert len(found) == 1, f"{kind}: one program, several results: {found}"


def _check_one(told: Told, answer: dict[str, Any]) -> None:
    state, history = answer["Job"]["State"], answer["History"]["Items"]
    executions = answer["Executions"]["Items"]
    levels = [item["JobState"]["New"] for item in history if item["Type"] == "JobLevel"]
    ends = [new for new in levels if new in _ENDED]
    assert ends == [state["StateType"]], (told, levels)
    assert levels[0] == "Pending", (told, levels)
    numbers = [item["ComputeState"]["StateType"] for item in executions]
    assert all(number in _OVER for number in numbers), (told, numbers)
    assert numbers.count(_COMPLETED) == (state["StateType"] == "Completed"), (told, numbers)
    _check_end(told, state, executions)
    stamps = [item["Time"] for item in history]
    assert [item["SeqNum"] for item in history] == sorted(item["SeqNum"] for item in history)
    assert stamps[0] == min(stamps)


def _check_end(told: Told, state: dict[str, str], executions: Sequence[Any]) -> None:
    if told.was_stopped:
        assert state["StateType"] == "Stopped", (told, state)
    elif state["StateType"] != told.kind.ends:
        assert state["StateType"] == "Failed", (told, state)
        assert len(executions) == 3, (told, state)
        by_kills = any(words in state["Message"] for words in _WORN_OUT)
        assert by_kills or told.kind.name == "container", (told, state)  # its engine was away


def _root_of(soak: Soak, answer: dict[str, Any]) -> str | None:
    """The root CID of a completed job's results, as its record beside them has it."""
    for item in answer["Executions"]["Items"]:
        if item["ComputeState"]["StateType"] == _COMPLETED:
            home = soak.process.data_dir / "results" / item["ID"]
            record = json.loads((home / "run-record.json").read_text())
            return str(record["output"]["root_cid"])
    return None


async def check_nothing_is_left(soak: Soak) -> None:
    """After the sidecar's end: no process, no working directory, no container, and a whole database."""
    data = soak.process.data_dir
    for _ in range(50):  # a killed process is there until it has been waited for
        if not (left := _processes_in(data)):
            break
        await asyncio.sleep(0.1)
    assert left == []
    for folder in (data / "runs", data / "resolving"):
        assert not folder.exists() or list(folder.iterdir()) == []
    half_made = [str(path.relative_to(data)) for path in data.rglob("*.tmp")]
    assert half_made == [], half_made
    if soak.engine is not None:
        client = soak.engine.client()
        try:
            assert await asyncio.to_thread(client.containers.list, all=True) == []
        finally:
            client.close()
    if (database := data / "sp-plugin.db").exists():
        with closing(sqlite3.connect(database)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def _processes_in(folder: Path) -> list[str]:
    """The processes that work below a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            where = Path(os.readlink(process / "cwd"))  # noqa: PTH115
            if where.is_relative_to(folder) or str(folder) in (process / "cmdline").read_text():
                found.append(f"{process.name}: {(process / 'cmdline').read_text()[:200]}")
    return found
