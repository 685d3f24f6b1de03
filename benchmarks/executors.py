"""WASM runs at the executor itself, without a queue: what a run costs beside its program, and how many fit in a second."""

from __future__ import annotations

import asyncio
import hashlib
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from benchmarks.measure import Row, Sample, Timer

__all__ = ["NOTHING", "Bench", "rows"]

NOTHING: Final = '(module (memory (export "memory") 1) (func (export "_start")))'
# About 0.2 s of work, so that what a run adds to it can be seen.
_WORK: Final = """(module (memory (export "memory") 1) (func (export "_start") (local i64)
  (loop $l (local.set 0 (i64.add (local.get 0) (i64.const 1)))
    (i32.store (i32.const 0) (i32.wrap_i64 (local.get 0)))
    (br_if $l (i64.lt_u (local.get 0) (i64.const 300000000))))))"""
_RUNS: Final = 200
_AT_ONCE: Final = 4


class Bench:
    """An executor in a directory of its own, warm after the first run."""

    def __init__(self, folder: Path, text: str) -> None:
        import wasmtime

        from sp_plugin.executors.base import ExecutorSettings, WasmProgram
        from sp_plugin.executors.wasm import WasmExecutor

        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.code = bytes(wasmtime.wat2wasm(text))
        module = folder / "program.wasm"
        module.write_bytes(self.code)
        self._program = WasmProgram(module, hashlib.sha256(self.code).hexdigest())
        self.executor = WasmExecutor(ExecutorSettings(cache_dir=folder / "cache"))
        self._count = 0

    async def run(self) -> float:
        """Seconds of one run."""
        from sp_plugin.executors.base import ExecutionRequest

        self._count += 1
        home = self.folder / f"results-{self._count}"
        home.mkdir()
        request = ExecutionRequest(
            execution_id=str(self._count), job_id="j", program=self._program, result_dir=home
        )
        started = time.perf_counter()
        outcome = await self.executor.run(request)
        assert outcome.is_success, outcome.message
        return time.perf_counter() - started


def rows() -> list[Row]:
    """All of them."""
    return [
        Row(
            "no-op run, first ever (starts, compiles)",
            "ms",
            "",
            lambda: _measured(NOTHING, _first),
        ),
        Row("no-op run, warm, median of 200", "ms", "30", lambda: _measured(NOTHING, _median)),
        Row("no-op runs, 4 at once", "per s", "100", lambda: _measured(NOTHING, _rate)),
        Row("warm run beyond its bare program", "ms", "30", lambda: _measured(_WORK, _overhead)),
    ]


def _measured(text: str, measure: Callable[[Bench], Awaitable[float]]) -> Sample:
    async def run() -> float:
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(Path(folder), text)
            try:
                return await measure(bench)
            finally:
                await bench.executor.close()

    timer = Timer()
    return Sample(asyncio.run(run()), timer.cpu)


async def _first(bench: Bench) -> float:
    return await bench.run() * 1000


async def _median(bench: Bench) -> float:
    await bench.run()
    return statistics.median([await bench.run() for _ in range(_RUNS)]) * 1000


async def _rate(bench: Bench) -> float:
    await bench.run()

    async def some() -> None:
        for _ in range(_RUNS // _AT_ONCE):
            await bench.run()

    started = time.perf_counter()
    await asyncio.gather(*(some() for _ in range(_AT_ONCE)))
    return _RUNS / (time.perf_counter() - started)


async def _overhead(bench: Bench) -> float:
    """Each run beside the same code called directly in this process, taken in turns."""
    await bench.run()
    bare = _bare(bench.code)
    bare()
    return statistics.median([await bench.run() - bare() for _ in range(5)]) * 1000


def _bare(code: bytes) -> Callable[[], float]:
    import wasmtime

    engine = wasmtime.Engine()
    module = wasmtime.Module(engine, code)

    def call() -> float:
        started = time.perf_counter()
        store = wasmtime.Store(engine)
        wasmtime.Instance(store, module, []).exports(store)["_start"](store)
        return time.perf_counter() - started

    return call
