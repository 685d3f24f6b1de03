"""An executor in one file: engine `sed` runs a sed script over the file named by its first argument."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from pydantic import Field

from sp_plugin.executors.base import (
    ExecutionOutcome,
    ExecutionRequest,
    ExecutorSettings,
    FileProgram,
    OutcomeKind,
    ResolvedProgram,
    Usage,
    register_executor,
)
from sp_plugin.executors.capture import capture_stream, make_output_directories
from sp_plugin.jobs.params import Params


class SedParams(Params):
    """`Script`, the target of the input that holds it, and `Over`, the file to edit."""

    script: str = Field(alias="Script")
    over: str = Field(alias="Over")


@register_executor("sed")
class SedExecutor:
    """Writes what sed prints to `edited` in the job's first output."""

    engine = "sed"
    params = SedParams

    def __init__(self, settings: ExecutorSettings) -> None:
        pass

    async def version(self) -> str:
        return "sed"

    async def resolve(
        self, params: SedParams, find: Callable[[str], Awaitable[Path]]
    ) -> ResolvedProgram:
        script = await find(params.script)
        program = FileProgram(script, hashlib.sha256(script.read_bytes()).hexdigest())
        return ResolvedProgram(program, (params.over,))

    async def run(
        self, request: ExecutionRequest, cancel: asyncio.Event | None = None
    ) -> ExecutionOutcome:
        started = time.monotonic()
        outputs = make_output_directories(request)
        streams = request.result_dir / "stdout", request.result_dir / "stderr"
        with streams[0].open("wb") as out, streams[1].open("wb") as err:
            process = await asyncio.create_subprocess_exec(
                "sed",
                "-f",
                str(request.program.path),
                str(_on_host(request)),
                stdout=out,
                stderr=err,
            )
            try:
                code: int | None = await asyncio.wait_for(
                    process.wait(), request.limits.wall_seconds
                )
            except BaseException as error:
                process.kill()
                await process.wait()
                if not isinstance(error, TimeoutError):
                    raise
                code = None
        (next(iter(outputs.values())) / "edited").write_bytes(streams[0].read_bytes())
        return ExecutionOutcome(
            kind=OutcomeKind.OUT_OF_TIME if code is None else OutcomeKind.FINISHED,
            message="took too long" if code is None else "",
            exit_code=code,
            stdout=capture_stream(streams[0], truncated=False),
            stderr=capture_stream(streams[1], truncated=False),
            usage=Usage(wall_seconds=time.monotonic() - started),
            executor="sed",
            executor_version=await self.version(),
        )


def _on_host(request: ExecutionRequest) -> Path:
    """The file that the first argument names, among the inputs."""
    guest = Path(request.arguments[0])
    for volume in request.inputs:
        if guest.is_relative_to(volume.guest_path):
            return volume.host_path / guest.relative_to(volume.guest_path)
    raise AssertionError(f"{guest} is in no input")
