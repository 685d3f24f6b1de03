"""The WASM executor: each run in a process of its own that can be killed at any moment (`wasm_child`).

The sidecar never loads a guest: it starts the child with a minimal environment in its own session, watches time,
memory and outputs from outside, and reads a short report. The child dies with the sidecar (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any, Final

from sp_plugin.executors.base import (
    MIB,
    ExecutionLimits,
    ExecutionOutcome,
    ExecutionRequest,
    ExecutorSettings,
    OutcomeKind,
    ProgramMissing,
    ResolvedProgram,
    Usage,
    WasmProgram,
    register_executor,
)
from sp_plugin.executors.capture import (
    OutputMeter,
    capture_stream,
    make_output_directories,
    write_exit_code,
)
from sp_plugin.jobs.spec import WasmParams

__all__ = ["WasmExecutor"]

_CHILD: Final = Path(__file__).with_name("wasm_child.py")
_PAGE: Final = 1 << 16
_MAX_MODULE: Final = 64 * MIB
_MAX_MEMORY: Final = 1 << 32  # a 32-bit linear memory's end
_COMPILER_BYTES: Final = 1024 * MIB  # what compiling may take beside the guest's own memory
_FIRST_LOOK, _LONGEST_PAUSE = 0.02, 0.25  # seconds between two looks at a running child


class _VolumeClash(Exception):
    """Two volumes that cannot both be where the job wants them."""


@dataclass(frozen=True, slots=True)
class _Ending:
    kind: OutcomeKind
    message: str = ""
    exit_code: int | None = None
    report: Mapping[str, Any] | None = None
    cpu_seconds: float | None = None


@register_executor("wasm")
class WasmExecutor:
    """Runs WASI preview 1 commands by wasmtime."""

    engine = "wasm"
    params = WasmParams

    def __init__(self, settings: ExecutorSettings) -> None:
        self._cache_dir = settings.cache_dir / "wasm"
        self._modules_dir = settings.cache_dir / "modules"
        self._cache_bytes = settings.cache_bytes

    async def resolve(
        self, params: WasmParams, find: Callable[[str], Awaitable[Path]]
    ) -> ResolvedProgram:
        """See `Executor.resolve`. A directory with one `.wasm` file in it stands for that file, as Bacalhau has it."""
        assert isinstance(params.entry_module, str)  # the reader made an input of the old form
        path = await find(params.entry_module)
        module = await asyncio.to_thread(_keep_module, path, self._modules_dir)
        return ResolvedProgram(
            WasmProgram(module, module.stem, params.entry_point),
            tuple(params.parameters),
            dict(params.environment),
        )

    async def version(self) -> str:
        """E.g. `wasmtime 50.0.1`."""
        return f"wasmtime {version('wasmtime')}"

    async def run(
        self, request: ExecutionRequest, cancel: asyncio.Event | None = None
    ) -> ExecutionOutcome:
        """See `Executor.run`."""
        started = time.monotonic()
        self._cache_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        _prune_cache(self._cache_dir, self._cache_bytes)
        outputs = make_output_directories(request)
        meter = OutputMeter(tuple(outputs.values()), request.limits)
        scratch = Path(tempfile.mkdtemp(prefix="run-", dir=self._cache_dir))
        try:
            ending = await self._run_child(request, outputs, meter, scratch, cancel)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        if (excess := meter.excess()) and ending.kind is OutcomeKind.FINISHED:
            ending = _Ending(OutcomeKind.OUT_OF_DISK, excess, None, ending.report)
        return await self._outcome(request, ending, meter, time.monotonic() - started)

    async def _run_child(
        self,
        request: ExecutionRequest,
        outputs: Mapping[str, Path],
        meter: OutputMeter,
        scratch: Path,
        cancel: asyncio.Event | None,
    ) -> _Ending:
        try:
            preopens = _preopens(request, outputs, scratch)
        except _VolumeClash as clash:
            return _Ending(OutcomeKind.INPUT_MISSING, str(clash))
        except OSError as error:
            return _Ending(OutcomeKind.INPUT_MISSING, f"an input cannot be read: {error}")
        plan = _plan(request, preopens, self._cache_dir)
        log = scratch / "runtime.log"
        read_fd, write_fd = os.pipe()
        try:
            try:
                with log.open("wb") as log_file:
                    process = await asyncio.create_subprocess_exec(
                        sys.executable, "-I", str(_CHILD), str(write_fd),
                        stdin=asyncio.subprocess.PIPE, stdout=log_file, stderr=log_file,
                        pass_fds=(write_fd,), start_new_session=True, cwd=scratch,
                        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
                    )  # fmt: skip
            finally:
                os.close(write_fd)
            verdict, cpu = await _supervise(process, plan, request.limits, meter, cancel)
            report = os.read(read_fd, 1 << 16)
        finally:
            os.close(read_fd)
        if verdict is not None:
            return replace(verdict, cpu_seconds=cpu)
        return _judge(report, process.returncode, cpu, request.limits, log)

    async def _outcome(
        self, request: ExecutionRequest, ending: _Ending, meter: OutputMeter, seconds: float
    ) -> ExecutionOutcome:
        report = ending.report or {}
        write_exit_code(request.result_dir, ending.exit_code)
        limit = request.limits.stream_bytes
        streams = {
            name: capture_stream(
                path,
                truncated=bool(report.get(f"{name}_truncated", _is_larger(path, limit))),
            )
            for name, path in _stream_paths(request).items()
        }
        return ExecutionOutcome(
            kind=ending.kind,
            message=ending.message,
            exit_code=ending.exit_code,
            stdout=streams["stdout"],
            stderr=streams["stderr"],
            usage=Usage(
                wall_seconds=seconds,
                cpu_seconds=report.get("cpu_seconds", ending.cpu_seconds),
                memory_bytes=report.get("memory_bytes"),
                fuel=report.get("fuel"),
                output_bytes=meter.total_bytes,
                output_files=meter.total_files,
            ),
            executor=self.engine,
            executor_version=await self.version(),
            warnings=tuple(report.get("warnings", ())),
        )


def _keep_module(path: Path, directory: Path) -> Path:
    """A copy of the module named by its SHA-256, so that what was approved is what will run."""
    if path.is_dir():
        found = sorted(path.glob("*.wasm"))
        if len(found) != 1:
            raise ProgramMissing(
                OutcomeKind.INVALID_PROGRAM,
                f"the module's input is a directory with {len(found)} .wasm files; it needs exactly one",
            )
        path = found[0]
    size = path.stat().st_size
    if size > _MAX_MODULE:
        raise ProgramMissing(
            OutcomeKind.INVALID_PROGRAM, f"the module has {size} bytes; the limit is {_MAX_MODULE}"
        )
    code = path.read_bytes()
    target = directory / f"{hashlib.sha256(code).hexdigest()}.wasm"
    if not target.exists():
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = target.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_bytes(code)
        temporary.rename(target)
    return target


def _stream_paths(request: ExecutionRequest) -> dict[str, Path]:
    return {name: request.result_dir / name for name in ("stdout", "stderr")}


def _is_larger(path: Path, limit: int) -> bool:
    return path.exists() and path.stat().st_size > limit


def _plan(
    request: ExecutionRequest, preopens: list[tuple[str, str, bool]], cache_dir: Path
) -> dict[str, Any]:
    program, limits = request.program, request.limits
    assert isinstance(program, WasmProgram)
    paths = _stream_paths(request)
    return {
        # absolute, since the child works in another directory
        "module": str(program.module.absolute()),
        "sha256": program.sha256,
        "entry_point": program.entry_point,
        "argv": ["", *request.arguments],  # Bacalhau gives an empty argv[0]
        "env": dict(request.environment),
        "preopens": preopens,
        "stdout": str(paths["stdout"].absolute()),
        "stderr": str(paths["stderr"].absolute()),
        "stream_bytes": limits.stream_bytes,
        "memory_bytes": min(-(-limits.memory_bytes // _PAGE) * _PAGE, _MAX_MEMORY),
        "cpu_seconds": limits.cpu_seconds,
        "fuel": limits.fuel,
        # also room for the compiled module and the cut marker
        "file_bytes": max(limits.output_bytes, limits.stream_bytes + 4096, 256 * MIB),
        "cache_dir": str(cache_dir.absolute()),
        "parent": os.getpid(),
    }


def _preopens(
    request: ExecutionRequest, outputs: Mapping[str, Path], scratch: Path
) -> list[tuple[str, str, bool]]:
    """(host, guest, writable) directories. Single files are linked into a directory, since only those can be opened."""
    opened: dict[str, tuple[Path, bool]] = {}
    files: dict[str, list[tuple[Path, str]]] = {}
    for volume in request.inputs:
        guest = PurePosixPath(volume.guest_path)
        if volume.host_path.is_dir():
            _claim(opened, str(guest), volume.host_path, writable=False)
        else:
            files.setdefault(str(guest.parent), []).append((volume.host_path, guest.name))
    for output in request.outputs:
        guest = PurePosixPath(output.guest_path)
        _claim(opened, str(guest), outputs[output.name], writable=True)
    for number, (parent, members) in enumerate(files.items()):
        directory = scratch / f"files-{number}"
        directory.mkdir()
        for host_path, name in members:
            if (directory / name).exists():
                raise _VolumeClash(
                    f"two inputs want to be {parent}/{name}; give them other targets"
                )
            _link(host_path, directory / name)
        _claim(opened, parent, directory, writable=False)
    return [(str(host.absolute()), guest, writable) for guest, (host, writable) in opened.items()]


def _claim(opened: dict[str, tuple[Path, bool]], guest: str, host: Path, *, writable: bool) -> None:
    if guest in opened:
        raise _VolumeClash(f"two volumes want to be {guest}; give them other targets")
    opened[guest] = (host, writable)


def _link(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:  # another file system
        shutil.copyfile(source, target)


async def _supervise(
    process: asyncio.subprocess.Process,
    plan: Mapping[str, Any],
    limits: ExecutionLimits,
    meter: OutputMeter,
    cancel: asyncio.Event | None,
) -> tuple[_Ending | None, float | None]:
    """Why we killed the child (`None`: it ended by itself), and the CPU seconds last seen."""
    waiting = [asyncio.create_task(process.wait())]
    if cancel is not None:
        waiting.append(asyncio.create_task(cancel.wait()))
    deadline = time.monotonic() + limits.wall_seconds
    pause, cpu = _FIRST_LOOK, None
    try:
        await _send(process, json.dumps(plan).encode())
        while True:
            left = deadline - time.monotonic()
            done, _ = await asyncio.wait(
                waiting, timeout=max(0.0, min(pause, left)), return_when=asyncio.FIRST_COMPLETED
            )
            if waiting[0] in done:
                return None, cpu
            if done:
                return _Ending(OutcomeKind.CANCELLED, "cancelled"), cpu
            resident, cpu = _look_at(process.pid)
            if verdict := _verdict(limits, meter, resident, cpu, is_late=left <= 0):
                return verdict, cpu
            pause = min(pause * 1.5, _LONGEST_PAUSE)
    finally:
        _kill_group(process)
        if len(waiting) > 1:
            waiting[1].cancel()
        await asyncio.shield(waiting[0])


async def _send(process: asyncio.subprocess.Process, data: bytes) -> None:
    assert process.stdin is not None
    with suppress(
        BrokenPipeError, ConnectionResetError
    ):  # it ended before reading; its log says why
        process.stdin.write(data)
        await process.stdin.drain()
    process.stdin.close()


def _kill_group(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _verdict(
    limits: ExecutionLimits,
    meter: OutputMeter,
    resident: int | None,
    cpu: float | None,
    *,
    is_late: bool,
) -> _Ending | None:
    if is_late:
        return _Ending(OutcomeKind.OUT_OF_TIME, f"ran longer than {limits.wall_seconds:g} s")
    if cpu is not None and limits.cpu_seconds is not None and cpu > limits.cpu_seconds:
        return _Ending(OutcomeKind.OUT_OF_TIME, _cpu_message(limits))
    if resident is not None and resident > limits.memory_bytes + _COMPILER_BYTES:
        return _Ending(OutcomeKind.OUT_OF_MEMORY, f"its process took {resident} bytes of memory")
    if excess := meter.excess():
        return _Ending(OutcomeKind.OUT_OF_DISK, excess)
    return None


def _look_at(pid: int) -> tuple[int | None, float | None]:
    """Resident bytes and CPU seconds of a process, from /proc; `None` where there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None, None
    # proc(5): utime and stime are fields 14 and 15, rss is 24; the list starts with field 3
    ticks = int(fields[11]) + int(fields[12])
    return int(fields[21]) * os.sysconf("SC_PAGE_SIZE"), ticks / os.sysconf("SC_CLK_TCK")


def _judge(
    report_bytes: bytes,
    return_code: int | None,
    cpu: float | None,
    limits: ExecutionLimits,
    log: Path,
) -> _Ending:
    try:
        report = json.loads(report_bytes)
        return _Ending(OutcomeKind(report["kind"]), report["message"], report["exit_code"], report)
    except ValueError:
        pass  # it died without a report
    if return_code == -signal.SIGXCPU or (
        limits.cpu_seconds is not None and cpu is not None and cpu >= limits.cpu_seconds
    ):
        return _Ending(OutcomeKind.OUT_OF_TIME, _cpu_message(limits), cpu_seconds=cpu)
    said = log.read_bytes()[-1000:].decode("utf-8", "replace").strip() if log.exists() else ""
    how = f"signal {-return_code}" if return_code and return_code < 0 else f"status {return_code}"
    message = f"the WASM runtime ended with {how}" + (f": {said}" if said else "")
    return _Ending(OutcomeKind.RUNTIME_FAULT, message, cpu_seconds=cpu)


def _cpu_message(limits: ExecutionLimits) -> str:
    return f"used more than {limits.cpu_seconds:g} s of CPU time"


def _prune_cache(directory: Path, limit: int) -> None:
    """Remove the compiled modules that were used longest ago until the rest fits."""
    entries = []
    for path in directory.glob("*.cwasm"):
        with suppress(FileNotFoundError):
            status = path.stat()
            entries.append((max(status.st_atime, status.st_mtime), status.st_size, path))
    total = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if total <= limit:
            break
        path.unlink(missing_ok=True)
        total -= size
