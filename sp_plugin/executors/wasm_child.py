"""The process in which one WASM module runs. Started by path, it reads a plan from stdin and reports to a pipe.

It imports nothing but the standard library and wasmtime, so that it starts fast and holds no database, socket or secret.
The plan (JSON): module, sha256, entry_point, argv, env, preopens [[host, guest, writable]], stdout, stderr (paths),
stream_bytes, memory_bytes, cpu_seconds, fuel, file_bytes, cache_dir, parent. The report (JSON): `kind` (an OutcomeKind),
`exit_code`, `message`, `memory_bytes`, `cpu_seconds`, `fuel`, `stdout_truncated`, `stderr_truncated`, `warnings`.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import wasmtime
from wasmtime import (
    Config,
    Engine,
    ExitTrap,
    Func,
    FuncType,
    Linker,
    Module,
    Store,
    Trap,
    TrapCode,
    ValType,
    WasiConfig,
    WasmtimeError,
)

__all__ = ["main"]

_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
_PAGE: Final = 1 << 16
_WASI: Final = "wasi_snapshot_preview1"
# Grown by less than this from its limit a memory counts as full when the program traps.
_FULL_NUMERATOR, _FULL_DENOMINATOR = 7, 8


class _Exited(Exception):
    """Raised through the guest by our `proc_exit`; wasmtime's own refuses statuses above 125."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class _CappedStream:
    """A file that takes the first `limit` bytes; the rest is counted as truncated and dropped."""

    def __init__(self, path: str, limit: int) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._left = limit
        self._limit = limit
        self.truncated = False

    def write(self, data: bytes) -> int:
        if not self.truncated:
            kept = data[: self._left]
            _write_all(self._fd, kept)
            self._left -= len(kept)
            if len(kept) < len(data):
                self.truncated = True
                marker = f"\n[cut here: only the first {self._limit} bytes are kept]\n"
                _write_all(self._fd, marker.encode())
        return len(data)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def main() -> None:
    """Run the plan on stdin and report to the file descriptor that the first argument names."""
    report_fd = int(sys.argv[1])
    plan = json.load(sys.stdin.buffer)
    _die_with_parent(plan["parent"])
    _limit_process(plan)
    report = _run(plan)
    used = resource.getrusage(resource.RUSAGE_SELF)
    report["cpu_seconds"] = used.ru_utime + used.ru_stime
    _write_all(report_fd, json.dumps(report).encode())


def _die_with_parent(parent: int) -> None:
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before we asked to be told
        os._exit(1)


def _limit_process(plan: dict[str, Any]) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # A write beyond it fails with EFBIG in the guest (Python ignores SIGXFSZ).
    resource.setrlimit(resource.RLIMIT_FSIZE, (plan["file_bytes"], plan["file_bytes"]))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = 1024 if hard == resource.RLIM_INFINITY else min(1024, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    if plan["cpu_seconds"] is not None:
        seconds = max(1, int(plan["cpu_seconds"] + 0.999))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))


def _run(plan: dict[str, Any]) -> dict[str, Any]:
    stdout = _CappedStream(plan["stdout"], plan["stream_bytes"])
    stderr = _CappedStream(plan["stderr"], plan["stream_bytes"])
    config = Config()
    config.consume_fuel = plan["fuel"] is not None
    engine = Engine(config)
    store = Store(engine)
    store.set_limits(memory_size=plan["memory_bytes"], memories=16, instances=16, tables=16)
    if plan["fuel"] is not None:
        store.set_fuel(plan["fuel"])
    try:
        module = _load_module(engine, plan)
        store.set_wasi(_wasi_config(plan, stdout.write, stderr.write))
        ending, memory = _call(store, engine, module, plan)
    except _Fault as fault:
        ending, memory = {"kind": fault.kind, "message": str(fault)}, None
    report = {"exit_code": None, "message": "", "warnings": [], **ending}
    report["memory_bytes"] = memory
    report["fuel"] = None if plan["fuel"] is None else plan["fuel"] - store.get_fuel()
    report["stdout_truncated"] = stdout.truncated
    report["stderr_truncated"] = stderr.truncated
    return report


class _Fault(Exception):
    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def _load_module(engine: Engine, plan: dict[str, Any]) -> Module:
    """The compiled module, from the cache when it was compiled before with the same settings."""
    fuelled = "fuel" if plan["fuel"] is not None else "plain"
    version = Path(wasmtime.__file__).stat().st_mtime_ns
    cached = Path(plan["cache_dir"]) / f"{plan['sha256']}.{fuelled}.{version}.cwasm"
    if cached.exists():
        try:
            return Module.deserialize_file(engine, str(cached))
        except WasmtimeError:
            cached.unlink(missing_ok=True)  # of another wasmtime
    try:
        code = Path(plan["module"]).read_bytes()
        if hashlib.sha256(code).hexdigest() != plan["sha256"]:
            raise _Fault("input_missing", "the module's bytes are not those of the job (SHA-256)")
        module = Module(engine, code)
    except WasmtimeError as error:
        raise _Fault("invalid_program", f"not a WASM module that can run here: {error}") from error
    except OSError as error:
        raise _Fault("input_missing", f"the module cannot be read: {error}") from error
    temporary = cached.with_suffix(f".{os.getpid()}.tmp")
    try:
        temporary.write_bytes(module.serialize())
        temporary.rename(cached)
    except OSError:  # a full disk or the size limit only costs the cache
        temporary.unlink(missing_ok=True)
    return module


def _wasi_config(
    plan: dict[str, Any], stdout: Callable[[bytes], int], stderr: Callable[[bytes], int]
) -> WasiConfig:
    wasi = WasiConfig()
    wasi.argv = plan["argv"]
    wasi.env = sorted(plan["env"].items())
    wasi.stdout_custom = stdout
    wasi.stderr_custom = stderr
    for host, guest, writable in plan["preopens"]:
        try:
            # fs_mutable's default is True, so it is always given.
            wasi.preopen_dir(host, guest, fs_mutable=writable)
        except WasmtimeError as error:
            raise _Fault("input_missing", f"{guest} cannot be opened: {error}") from error
    return wasi


def _call(
    store: Store, engine: Engine, module: Module, plan: dict[str, Any]
) -> tuple[dict[str, Any], int | None]:
    linker = Linker(engine)
    linker.allow_shadowing = True
    linker.define_wasi()
    linker.define_func(_WASI, "proc_exit", FuncType([ValType.i32()], []), _proc_exit)
    try:
        instance = linker.instantiate(store, module)
    except (WasmtimeError, Trap) as error:
        raise _instantiation_fault(error, plan) from error
    exports = instance.exports(store)
    entry = exports.get(plan["entry_point"])
    if not isinstance(entry, Func) or entry.type(store).params or entry.type(store).results:
        raise _Fault(
            "invalid_program",
            f"the module exports no function {plan['entry_point']!r} without parameters and results",
        )
    memory = exports.get("memory")
    ending: dict[str, Any]
    try:
        entry(store)
        ending = {"kind": "finished", "exit_code": 0}
    except _Exited as exited:
        ending = {"kind": "finished", "exit_code": exited.code}
    except ExitTrap as exited:  # a module that brings a proc_exit of another WASI name
        ending = {"kind": "finished", "exit_code": exited.code}
    except (Trap, WasmtimeError) as error:
        ending = _trap_ending(error)
    size = memory.data_len(store) if isinstance(memory, wasmtime.Memory) else None
    _judge_memory(ending, size, plan["memory_bytes"])
    return ending, size


def _proc_exit(code: int) -> None:
    raise _Exited(code)


def _instantiation_fault(error: Exception, plan: dict[str, Any]) -> _Fault:
    text = _first_lines(str(error))
    if "memory minimum size" in text or "exceeds memory limits" in text:
        pages = plan["memory_bytes"] // _PAGE
        return _Fault(
            "out_of_memory",
            f"the module needs more memory from the start than the job asks for ({pages} pages of 64 KiB): {text}",
        )
    return _Fault("invalid_program", f"the module cannot be linked: {text}")


def _trap_ending(error: Trap | WasmtimeError) -> dict[str, Any]:
    code = error.trap_code if isinstance(error, Trap) else None
    text = _first_lines(str(error))
    if code is TrapCode.OUT_OF_FUEL or "all fuel consumed" in text:
        return {"kind": "out_of_time", "message": "the program used up its fuel"}
    return {"kind": "trapped", "message": f"the program crashed: {text}"}


def _judge_memory(ending: dict[str, Any], size: int | None, limit: int) -> None:
    """Tell a crash in a full memory from others; the store only lets `memory.grow` fail and the program decides."""
    if size is None or size * _FULL_DENOMINATOR < limit * _FULL_NUMERATOR:
        return
    note = f"its memory was full ({size} of {limit} bytes)"
    if ending["kind"] == "trapped":
        ending["kind"] = "out_of_memory"
        ending["message"] = f"{ending['message']}; {note}"
    elif ending.get("exit_code"):
        ending["warnings"] = [note]


def _first_lines(text: str) -> str:
    return " | ".join(line.strip() for line in text.strip().splitlines()[-4:])[:1000]


if __name__ == "__main__":
    main()
