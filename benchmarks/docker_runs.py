"""Docker runs at the executor, beside `docker run` of the same program in the same way: how much our containment costs."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from benchmarks.measure import Row, Sample, Timer

__all__ = ["rows"]

_RUNS: Final = 9
_EXAMPLE: Final = Path(__file__).parents[1] / "examples" / "co2"


def rows() -> list[Row]:
    """All of them; none where no engine answers, which is said."""
    from devstack.demo.docker_image import why_no_engine

    if (reason := why_no_engine()) is not None:
        return [Row(f"no Docker runs: {reason}", "", "", lambda: Sample(0.0), rounds=1)]
    return [
        Row("Docker run without outputs, of `docker run`", "times", "1.3", _ratio(outputs=False)),
        Row("Docker run with bounded outputs, of the same", "times", "1.3", _ratio(outputs=True)),
    ]


def _ratio(*, outputs: bool) -> Callable[[], Sample]:
    async def measure() -> float:
        from devstack.demo.docker_image import build_image

        with tempfile.TemporaryDirectory() as folder:
            image = build_image(_EXAMPLE)
            run, close = _executor_at(Path(folder), image, outputs=outputs)
            try:
                await run()  # tries the host, once
                ours, theirs = [], []
                for _ in range(_RUNS):  # by turns, since the machine may be busy with other things
                    theirs.append(_bare(image))
                    ours.append(await run())
            finally:
                await close()
        return statistics.median(ours) / statistics.median(theirs)

    def once() -> Sample:
        timer = Timer()
        return Sample(asyncio.run(measure()), timer.cpu)

    return once


def _executor_at(
    folder: Path, image: str, *, outputs: bool
) -> tuple[Callable[[], Awaitable[float]], Callable[[], Awaitable[None]]]:
    from sp_plugin.executors.base import (
        DockerProgram,
        ExecutionRequest,
        ExecutorSettings,
        OutcomeKind,
        OutputVolume,
    )
    from sp_plugin.executors.docker import DockerExecutor

    settings = ExecutorSettings(cache_dir=folder, runs_dir=folder / "runs", owner=str(folder))
    executor = DockerExecutor(settings)
    count = 0

    async def run() -> float:
        nonlocal count
        count += 1
        home = folder / "runs" / str(count) / "results"
        home.mkdir(parents=True)
        request = ExecutionRequest(
            execution_id=f"e-{count}",
            job_id="j",
            program=DockerProgram(image),
            result_dir=home,
            outputs=(OutputVolume("out", "/out"),) if outputs else (),
        )
        started = time.perf_counter()
        outcome = await executor.run(request)
        assert outcome.kind is OutcomeKind.FINISHED, outcome.message
        return time.perf_counter() - started

    return run, executor.close


def _bare(image: str) -> float:
    """The program without its arguments ends at once, with its usage."""
    started = time.perf_counter()
    subprocess.run(
        ["docker", "run", "--rm", "--network", "none", image], check=False, capture_output=True
    )
    return time.perf_counter() - started
