"""Compiled programs, kept by the digest of their module, the settings and the version of wasmtime.

What lies here is machine code that will be executed. So the directory is this user's alone, each product's SHA-256 stands in
a record beside it, and a run compares it before it loads the code; a product that differs is dropped and compiled anew.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sp_plugin.executors.base import MIB, OutcomeKind
from sp_plugin.executors.pause import Pause, Stopwatch
from sp_plugin.executors.wasm_zygote import runtime_command, runtime_environment

__all__ = ["CompileCache", "CompileFailed", "Compiled"]

_COMPILER_BYTES: Final = 2048 * MIB
_COMPILER_CPU_SECONDS: Final = 300
_REPORT_BYTES: Final = 4 * MIB


@dataclass(frozen=True, slots=True)
class Compiled:
    """A compiled program and what it wants and offers."""

    key: str
    path: Path
    sha256: str  # of the file at `path`
    form: str  # `module` or `component`
    imports: Mapping[str, str]  # modules or interfaces, each with the first name wanted of it
    exports: tuple[str, ...]


class CompileFailed(Exception):
    """The program has no compiled form; `kind` tells why."""

    def __init__(self, kind: OutcomeKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class CompileCache:
    """Compiles each program once, also when many ask for it at the same time. Compilers stand still with `pause`."""

    def __init__(
        self, directory: Path, most_bytes: int, version: str, pause: Pause | None = None
    ) -> None:
        self._directory = directory
        self._pause = pause or Pause()
        self._most_bytes = most_bytes
        self._version = version.replace(" ", "-")
        self._known: dict[str, Compiled] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    def make_directory(self) -> None:
        """Make the directory.

        Raises:
            CompileFailed: another user could write in it.
        """
        try:
            status = self._directory.stat()
        except FileNotFoundError:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = self._directory.stat()
        if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o022:
            raise CompileFailed(
                OutcomeKind.RUNTIME_FAULT,
                f"others can write in {self._directory}, where compiled programs lie; chmod 700 it and make it yours",
            )

    async def get(self, module: Path, sha256: str, flavour: str, seconds: float) -> Compiled:
        """The compiled form of the module with that SHA-256; compiling may take so many seconds.

        Raises:
            CompileFailed: it cannot be compiled, or is not here.
        """
        key = f"{sha256}.{flavour}.{self._version}"
        if known := self._known.get(key):
            return known
        lock = self._locks.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                found = self._known.get(key) or self._recorded(key)
                if found is None:
                    found = await self._compile(key, module, sha256, flavour, seconds)
                self._known[key] = found
        finally:
            if not lock.locked():
                self._locks.pop(key, None)
        with suppress(OSError):
            os.utime(found.path)  # the ones used longest ago go first
        return found

    def drop(self, key: str) -> None:
        """Forget a product that is not what was recorded."""
        self._known.pop(key, None)
        self._record_path(key).unlink(missing_ok=True)
        self._product_path(key).unlink(missing_ok=True)

    def _product_path(self, key: str) -> Path:
        return self._directory / f"{key}.cwasm"

    def _record_path(self, key: str) -> Path:
        return self._directory / f"{key}.json"

    def _recorded(self, key: str) -> Compiled | None:
        try:
            record = json.loads(self._record_path(key).read_bytes())
            path = self._product_path(key)
            if path.stat().st_uid != os.geteuid():
                return None
            return _compiled(key, path, record)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    async def _compile(
        self, key: str, module: Path, sha256: str, flavour: str, seconds: float
    ) -> Compiled:
        temporary = self._directory / f"{key}.{os.getpid()}.tmp"
        try:
            report = await _run_compiler(
                _plan(module, sha256, flavour, temporary), seconds, self._pause
            )
            if report["kind"] != "compiled":
                raise CompileFailed(OutcomeKind(report["kind"]), report["message"])
            self._keep(key, temporary, report)
        except OSError as error:
            message = f"the compiled program cannot be kept: {error}"
            raise CompileFailed(OutcomeKind.RUNTIME_FAULT, message) from error
        finally:
            temporary.unlink(missing_ok=True)
        self._prune(keep=key)
        return _compiled(key, self._product_path(key), report)

    def _keep(self, key: str, product: Path, report: Mapping[str, Any]) -> None:
        """Put both into their places; killed between the two, the next one compiles again."""
        record = product.with_suffix(".record.tmp")
        record.write_text(json.dumps(report))
        self._record_path(key).unlink(missing_ok=True)
        product.rename(self._product_path(key))
        record.rename(self._record_path(key))

    def _prune(self, keep: str) -> None:
        """Remove the products that were used longest ago until the rest fits."""
        entries = []
        for path in self._directory.glob("*.cwasm"):
            with suppress(FileNotFoundError):
                status = path.stat()
                entries.append((status.st_mtime, status.st_size, path.name.removesuffix(".cwasm")))
        total = sum(size for _, size, _ in entries)
        for _, size, key in sorted(entries):
            if total <= self._most_bytes:
                break
            if key != keep:
                self.drop(key)
                total -= size


def _plan(module: Path, sha256: str, flavour: str, target: Path) -> dict[str, Any]:
    return {
        "module": str(module.absolute()),
        "sha256": sha256,
        "flavour": flavour,
        "target": str(target.absolute()),
        "memory_bytes": _COMPILER_BYTES,
        "cpu_seconds": _COMPILER_CPU_SECONDS,
        "parent": os.getpid(),
    }


def _compiled(key: str, path: Path, record: Mapping[str, Any]) -> Compiled:
    return Compiled(
        key,
        path,
        str(record["sha256"]),
        str(record["form"]),
        dict(record["imports"]),
        tuple(record["exports"]),
    )


async def _run_compiler(plan: Mapping[str, Any], seconds: float, pause: Pause) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        *runtime_command("compile"),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        start_new_session=True, env=runtime_environment(), limit=_REPORT_BYTES,
    )  # fmt: skip
    talking = asyncio.ensure_future(process.communicate(json.dumps(plan).encode()))
    try:
        await _until_done(process, talking, seconds, pause)
        said, errors = talking.result()
    finally:
        talking.cancel()
        if process.returncode is None:
            process.kill()
            await process.wait()
    return _judge(said, errors, process.returncode)


async def _until_done(
    process: asyncio.subprocess.Process,
    talking: asyncio.Future[Any],
    seconds: float,
    pause: Pause,
) -> None:
    """Return when it has said all; it stands still while the pause is on, which does not count.

    Raises:
        CompileFailed: it took too long.
    """
    watch, still = Stopwatch(pause), False
    while not talking.done():
        change = asyncio.ensure_future(pause.change().wait())
        if pause.is_on is not still and process.returncode is None:
            still = pause.is_on
            process.send_signal(signal.SIGSTOP if still else signal.SIGCONT)
        left = None if still else max(0.0, seconds - watch.seconds)
        await asyncio.wait({talking, change}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        change.cancel()
        if not talking.done() and not pause.is_on and watch.seconds >= seconds:
            message = f"compiling it took longer than {seconds:g} s"
            raise CompileFailed(OutcomeKind.OUT_OF_TIME, message)


def _judge(said: bytes, errors: bytes, code: int | None) -> dict[str, Any]:
    try:
        report: dict[str, Any] = json.loads(said)
    except ValueError:
        log = errors[-1000:].decode("utf-8", "replace").strip()
    else:
        return report
    if code == -signal.SIGXCPU:
        message = f"compiling it took more than {_COMPILER_CPU_SECONDS} s of CPU time"
        raise CompileFailed(OutcomeKind.OUT_OF_TIME, message)
    if "memory allocation of" in log or "MemoryError" in log:
        message = f"compiling it takes more than {_COMPILER_BYTES // MIB} MiB of memory"
        raise CompileFailed(OutcomeKind.OUT_OF_MEMORY, message)
    message = f"the compiler ended with status {code}: {log}"
    raise CompileFailed(OutcomeKind.RUNTIME_FAULT, message)
