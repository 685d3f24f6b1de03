"""Runs that are made to stand still, and go on as if nothing had been."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from sp_plugin.executors.base import (
    ExecutionLimits,
    ExecutorSettings,
    Freezable,
    OutcomeKind,
)
from sp_plugin.executors.docker import DockerExecutor
from sp_plugin.executors.wasm import WasmExecutor
from tests.integration.executors.test_wasm_processes import children_of
from tests.integration.executors.wasm_programs import (
    COUNT,
    FOREVER,
    SLEEP,
    program,
    request_for,
    write_module,
)

STILL_SECONDS = 1.5


async def until(good):
    for _ in range(750):
        if found := good():
            return found
        await asyncio.sleep(0.02)
    raise AssertionError("it did not come to be in 15 s")


def child_of(executor: WasmExecutor) -> int | None:
    """The process of the one run there is."""
    if executor._zygote is None:
        return None
    children = Path(f"/proc/{executor._zygote.pid}/task/{executor._zygote.pid}/children")
    return next((int(pid) for pid in children.read_text().split()), None)


def state_and_ticks(pid: int) -> tuple[str, int]:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return fields[0], int(fields[11]) + int(fields[12])


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_a_wasm_run_stands_still_and_its_result_is_the_same(executor, tmp_path):
    module = write_module(tmp_path, program(COUNT))
    for name in ("whole", "halved"):
        (tmp_path / name).mkdir()
    whole = await executor.run(request_for(module, tmp_path / "whole"))
    running = asyncio.create_task(executor.run(request_for(module, tmp_path / "halved")))
    pid = await until(lambda: child_of(executor))
    await until(lambda: state_and_ticks(pid)[1] > 10)  # it computes
    executor.pause.turn(on=True)
    await until(lambda: state_and_ticks(pid)[0] == "T")
    before = state_and_ticks(pid)
    await asyncio.sleep(STILL_SECONDS)
    assert state_and_ticks(pid) == before
    executor.pause.turn(on=False)
    halved = await running
    assert (halved.kind, halved.exit_code) == (whole.kind, whole.exit_code)
    assert halved.stdout.path.read_bytes() == whole.stdout.path.read_bytes() != b""
    assert "stood still" in halved.warnings[0]


async def test_time_that_a_run_stands_still_counts_in_no_limit(executor, tmp_path):
    module = write_module(tmp_path, program(SLEEP.replace("30000000000", "700000000")))
    limits = ExecutionLimits(memory_bytes=1 << 20, wall_seconds=1.4)
    await executor.run(request_for(module, make(tmp_path / "warm")))
    running = asyncio.create_task(
        executor.run(request_for(module, make(tmp_path / "run"), limits=limits))
    )
    await until(lambda: child_of(executor))
    executor.pause.turn(on=True)
    await asyncio.sleep(2)
    assert not running.done()
    executor.pause.turn(on=False)
    outcome = await running
    assert outcome.kind is OutcomeKind.FINISHED
    assert outcome.usage.wall_seconds < 1.4


def make(directory: Path) -> Path:
    directory.mkdir()
    return directory


async def test_a_run_that_stands_still_is_cancelled_at_once(executor, tmp_path):
    module = write_module(tmp_path, program(FOREVER))
    cancel = asyncio.Event()
    running = asyncio.create_task(executor.run(request_for(module, tmp_path), cancel))
    pid = await until(lambda: child_of(executor))
    executor.pause.turn(on=True)
    await until(lambda: state_and_ticks(pid)[0] == "T")
    cancel.set()
    outcome = await asyncio.wait_for(running, 5)
    assert outcome.kind is OutcomeKind.CANCELLED
    assert not is_there(pid)


async def test_a_compiler_stands_still_too_and_its_time_does_not_run(executor, tmp_path):
    module = write_module(tmp_path, program(""))
    limits = ExecutionLimits(memory_bytes=1 << 20, wall_seconds=1.5)
    executor.pause.turn(on=True)
    running = asyncio.create_task(executor.run(request_for(module, tmp_path, limits=limits)))
    (compiler,) = await until(lambda: children_of(os.getpid(), "compile"))
    await until(lambda: state_and_ticks(compiler)[0] == "T")
    await asyncio.sleep(2)
    assert child_of(executor) is None
    executor.pause.turn(on=False)
    assert (await running).kind is OutcomeKind.FINISHED


async def test_a_run_whose_compiler_stands_still_is_cancelled_at_once(executor, tmp_path):
    cancel = asyncio.Event()
    executor.pause.turn(on=True)
    running = asyncio.create_task(
        executor.run(request_for(write_module(tmp_path, program("")), tmp_path), cancel)
    )
    await until(lambda: children_of(os.getpid(), "compile"))
    cancel.set()
    assert (await asyncio.wait_for(running, 5)).kind is OutcomeKind.CANCELLED
    assert children_of(os.getpid(), "compile") == []


async def test_closing_the_executor_leaves_no_stopped_process(executor, tmp_path):
    module = write_module(tmp_path, program(FOREVER))
    running = asyncio.create_task(executor.run(request_for(module, tmp_path)))
    pid = await until(lambda: child_of(executor))
    executor.pause.turn(on=True)
    await until(lambda: state_and_ticks(pid)[0] == "T")
    await executor.close()
    assert (await running).kind is OutcomeKind.RUNTIME_FAULT
    await until(lambda: not is_there(pid))


def test_both_engines_can_be_frozen(tmp_path):
    settings = ExecutorSettings(cache_dir=tmp_path)
    for made in (WasmExecutor(settings), DockerExecutor(settings)):
        assert isinstance(made, Freezable)
        assert made.pause is settings.pause
