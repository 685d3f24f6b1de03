"""One run of one program in this process, which is a child made for it.

The plan (JSON): flavour, modules [{name, path, sha256, form, exports}] in the order of linking, the program itself last,
entry_point, argv, env, preopens [[host, guest, writable]], stdout, stderr (paths), stream_bytes, memory_bytes, cpu_seconds,
fuel, file_bytes. The report (JSON): `kind` (an OutcomeKind, or `damaged` with the `sha256` of the program whose
compiled code is not what the sidecar recorded), `exit_code`, `message`, `memory_bytes` (a module's linear memory at its end;
what a component's process grew by at most), `fuel`, `stdout_truncated`, `stderr_truncated`, `warnings`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final

from wasmtime import (
    ExitTrap,
    Func,
    FuncType,
    Instance,
    Linker,
    Memory,
    Module,
    Store,
    Trap,
    TrapCode,
    ValType,
    WasiConfig,
    WasmtimeError,
)
from wasmtime import component as components

from sp_plugin.wasm_runtime.engines import FUELLED, make_engine
from sp_plugin.wasm_runtime.peak_memory import forget_peak, peak_since
from sp_plugin.wasm_runtime.streams import CappedStream

__all__ = ["Runtime", "run_plan"]

_PAGE: Final = 1 << 16
_WASI: Final = "wasi_snapshot_preview1"
_TABLE_ELEMENTS: Final = 1 << 20  # of each table; 8 bytes apiece
_MANY: Final = 64  # instances, memories and tables of one run
_RUN: Final = "wasi:cli/run@"
# Grown by less than this from its limit a memory counts as full when the program traps.
_FULL_NUMERATOR, _FULL_DENOMINATOR = 7, 8

Report = dict[str, Any]


class _Exited(Exception):
    """Raised through the guest by our `proc_exit`; wasmtime's own refuses statuses above 125."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class _Fault(Exception):
    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Runtime:
    """An engine with its linkers, made before the fork so that each run finds them ready."""

    def __init__(self, flavour: str) -> None:
        self.is_fuelled = flavour == FUELLED
        self.engine = make_engine(flavour)
        self.linker = Linker(self.engine)
        self.linker.allow_shadowing = True
        self.linker.define_wasi()
        exit_type = FuncType([ValType.i32()], [])
        self.linker.define_func(_WASI, "proc_exit", exit_type, _proc_exit)
        self.components = components.Linker(self.engine)
        self.components.add_wasip2()


def _proc_exit(code: int) -> None:
    raise _Exited(code)


def run_plan(plan: dict[str, Any], runtime: Runtime) -> Report:
    """How the program ended."""
    stdout = CappedStream(plan["stdout"], plan["stream_bytes"])
    stderr = CappedStream(plan["stderr"], plan["stream_bytes"])
    store = Store(runtime.engine)
    store.set_limits(
        memory_size=plan["memory_bytes"],
        table_elements=_TABLE_ELEMENTS,
        memories=_MANY,
        instances=_MANY,
        tables=_MANY,
    )
    if runtime.is_fuelled:
        store.set_fuel(plan["fuel"])
    memory = None
    try:
        store.set_wasi(_wasi_config(plan, stdout, stderr))
        if plan["modules"][-1]["form"] == "component":
            ending, memory = _run_component(store, runtime, plan)
        else:
            ending, memory = _run_module(store, runtime, plan)
    except _Fault as fault:
        ending = {"kind": fault.kind, "message": str(fault)}
    return {
        "exit_code": None,
        "message": "",
        "warnings": [],
        **ending,
        "memory_bytes": memory,
        "fuel": plan["fuel"] - store.get_fuel() if runtime.is_fuelled else None,
        "stdout_truncated": stdout.truncated,
        "stderr_truncated": stderr.truncated,
    }


def _wasi_config(plan: dict[str, Any], stdout: CappedStream, stderr: CappedStream) -> WasiConfig:
    wasi = WasiConfig()
    wasi.argv = plan["argv"]
    wasi.env = sorted(plan["env"].items())
    wasi.stdout_custom = stdout.write
    wasi.stderr_custom = stderr.write
    for host, guest, writable in plan["preopens"]:
        try:
            # fs_mutable's default is True, so it is always given.
            wasi.preopen_dir(host, guest, fs_mutable=writable)
        except WasmtimeError as error:
            raise _Fault("input_missing", f"{guest} cannot be opened: {error}") from error
    return wasi


def _code_of(entry: dict[str, Any]) -> bytes:
    """The compiled code. It is machine code that will be executed, so it must be what the sidecar recorded."""
    try:
        code = Path(entry["path"]).read_bytes()
    except OSError as error:
        raise _Fault("damaged", entry["key"]) from error
    if hashlib.sha256(code).hexdigest() != entry["sha256"]:
        raise _Fault("damaged", entry["key"])
    return code


def _run_module(store: Store, runtime: Runtime, plan: dict[str, Any]) -> tuple[Report, int | None]:
    memory: Memory | None = None
    try:
        for entry in plan["modules"][:-1]:
            _link(store, runtime, entry, plan)
        instance = _instantiate(store, runtime, plan["modules"][-1], plan)
        exports = instance.exports(store)
        found = exports.get("memory")
        memory = found if isinstance(found, Memory) else None
        entry_point = exports.get(plan["entry_point"])
        if not isinstance(entry_point, Func) or _has_signature(entry_point.type(store)):
            raise _Fault(
                "invalid_program",
                f"the module exports no function {plan['entry_point']!r} without parameters and results",
            )
        entry_point(store)
        ending: Report = {"kind": "finished", "exit_code": 0}
    except (_Exited, ExitTrap) as exited:
        ending = {"kind": "finished", "exit_code": exited.code}
    except (Trap, WasmtimeError) as error:
        ending = _trap_ending(error)
    size = None if memory is None else memory.data_len(store)
    _judge_memory(ending, size, plan["memory_bytes"])
    return ending, size


def _has_signature(kind: FuncType) -> bool:
    return bool(kind.params or kind.results)


def _link(store: Store, runtime: Runtime, entry: dict[str, Any], plan: dict[str, Any]) -> None:
    """Make the exports of a module importable under its name; a reactor is initialised first, as its ABI asks."""
    instance = _instantiate(store, runtime, entry, plan)
    exports = instance.exports(store)
    initialise = exports.get("_initialize")
    if isinstance(initialise, Func) and not _has_signature(initialise.type(store)):
        initialise(store)
    runtime.linker.define_instance(store, entry["name"], instance)


def _instantiate(
    store: Store, runtime: Runtime, entry: dict[str, Any], plan: dict[str, Any]
) -> Instance:
    """An instance; its start function, if it has one, runs here."""
    try:
        module = Module.deserialize(runtime.engine, _code_of(entry))
    except WasmtimeError as error:  # of another wasmtime or another CPU
        raise _Fault("damaged", entry["key"]) from error
    try:
        return runtime.linker.instantiate(store, module)
    except ExitTrap:
        raise
    except WasmtimeError as error:
        if _is_out_of_fuel(error):
            raise
        raise _link_fault(error, plan) from error


def _run_component(
    store: Store, runtime: Runtime, plan: dict[str, Any]
) -> tuple[Report, int | None]:
    entry = plan["modules"][-1]
    if plan["entry_point"] != "_start":
        raise _Fault(
            "invalid_program",
            "a component is started by its export wasi:cli/run; leave Entrypoint out",
        )
    name = next((name for name in entry["exports"] if name.startswith(_RUN)), None)
    if name is None:
        raise _Fault(
            "invalid_program",
            "the component is not a command: it does not export wasi:cli/run of WASI 0.2",
        )
    try:
        component = components.Component.deserialize(runtime.engine, _code_of(entry))
    except WasmtimeError as error:
        raise _Fault("damaged", entry["key"]) from error
    before = forget_peak()
    ending = _component_run(store, runtime, component, name, plan)
    return ending, peak_since(before)


def _component_run(
    store: Store,
    runtime: Runtime,
    component: components.Component,
    name: str,
    plan: dict[str, Any],
) -> Report:
    """How the function `run` of the export `name` ended."""
    try:
        instance = runtime.components.instantiate(store, component)
        outer = instance.get_export_index(store, name)
        inner = None if outer is None else instance.get_export_index(store, "run", outer)
        run = None if inner is None else instance.get_func(store, inner)
        if run is None:
            raise _Fault("invalid_program", f"{name} has no function run")
        result = run(store)
        run.post_return(store)
    except ExitTrap as exited:
        return {"kind": "finished", "exit_code": exited.code}
    except Trap as error:
        return _trap_ending(error)
    except WasmtimeError as error:
        return _component_ending(error, plan)
    return {"kind": "finished", "exit_code": 1 if getattr(result, "tag", None) == "err" else 0}


def _component_ending(error: WasmtimeError, plan: dict[str, Any]) -> Report:
    """A component's traps come as errors; what cannot be linked has no backtrace."""
    if "wasm backtrace" in str(error) or _is_out_of_fuel(error):
        return _trap_ending(error)
    fault = _link_fault(error, plan)
    return {"kind": fault.kind, "message": str(fault)}


def _link_fault(error: Exception, plan: dict[str, Any]) -> _Fault:
    text = _brief(str(error))
    if "exceeds memory limits" in text or "memory minimum size" in text:
        pages = plan["memory_bytes"] // _PAGE
        return _Fault(
            "out_of_memory",
            f"the module needs more memory from the start than the job asks for ({pages} pages of 64 KiB): {text}",
        )
    return _Fault("invalid_program", f"the module cannot be linked: {text}")


def _is_out_of_fuel(error: Exception) -> bool:
    code = error.trap_code if isinstance(error, Trap) else None
    return code is TrapCode.OUT_OF_FUEL or "all fuel consumed" in str(error)


def _trap_ending(error: Exception) -> Report:
    if _is_out_of_fuel(error):
        return {"kind": "out_of_time", "message": "the program used up its fuel"}
    return {"kind": "trapped", "message": f"the program crashed: {_brief(str(error))}"}


def _judge_memory(ending: Report, size: int | None, limit: int) -> None:
    """Tell a crash in a full memory from others; the store only lets `memory.grow` fail and the program decides."""
    if size is None or size * _FULL_DENOMINATOR < limit * _FULL_NUMERATOR:
        return
    note = f"its memory was full ({size} of {limit} bytes)"
    if ending["kind"] == "trapped":
        ending["kind"] = "out_of_memory"
        ending["message"] = f"{ending['message']}; {note}"
    elif ending.get("exit_code"):
        ending["warnings"] = [note]


def _brief(text: str) -> str:
    lines = [line.strip() for line in text.strip().splitlines()]
    return " | ".join(lines if len(lines) < 6 else [lines[0], *lines[-4:]])[:1000]
