"""Small WASI programs as text, for tests of the WASM executor."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import wasmtime

from sp_plugin.executors.base import ExecutionLimits, ExecutionRequest, WasmProgram

IMPORTS = """
(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
(import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
"""


FOREVER = "(loop $l (br $l))"
SLEEP = """
(i64.store (i32.const 24) (i64.const 30000000000)) (i32.store (i32.const 16) (i32.const 1))
(drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))
"""
PRINT = """
(i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const {size}))
(loop $l (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))) {again})
"""


def program(body: str, memory: str = '(memory (export "memory") 1)') -> str:
    """A module whose `_start` is `body`."""
    return f'(module {IMPORTS} {memory} (func (export "_start") {body}))'


def write_module(directory: Path, text: str) -> WasmProgram:
    """The module of that WAT text, written and ready to run."""
    return as_program(directory / "module.wasm", wasmtime.wat2wasm(text))


def as_program(path: Path, code: bytes) -> WasmProgram:
    path.write_bytes(code)
    return WasmProgram(path, hashlib.sha256(code).hexdigest())


def compile_c(directory: Path, source: str, *flags: str) -> WasmProgram:
    """The module of a C program, by clang."""
    (directory / "program.c").write_text(source)
    target = directory / "program.wasm"
    subprocess.run(
        ["clang", "--target=wasm32-wasi", "-O1", *flags, "-o", target, directory / "program.c"],
        check=True,
        capture_output=True,
    )
    return as_program(target, target.read_bytes())


def has_wasi_clang() -> bool:
    return shutil.which("clang") is not None and Path("/usr/lib/wasm32-wasi/libc.a").exists()


def request_for(wasm: WasmProgram, directory: Path, **changes: object) -> ExecutionRequest:
    """A request with small limits and a fresh result directory."""
    result_dir = directory / "results"
    result_dir.mkdir()
    values: dict[str, object] = {
        "execution_id": "e-1",
        "job_id": "j-1",
        "program": wasm,
        "result_dir": result_dir,
        "limits": ExecutionLimits(memory_bytes=16 << 20, wall_seconds=20),
    }
    return ExecutionRequest(**(values | changes))  # type: ignore[arg-type]


# Computes for a second or two, and writes eight bytes of it ten times: what a stop in the middle must not change.
COUNT = """
(local $n i64) (local $x i64) (local $round i32)
(i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 8))
(loop $rounds
  (local.set $n (i64.const 120000000))
  (loop $l
    (local.set $x (i64.add (i64.mul (local.get $x) (i64.const 6364136223846793005)) (i64.const 1442695040888963407)))
    (br_if $l (i64.ne (i64.const 0) (local.tee $n (i64.sub (local.get $n) (i64.const 1))))))
  (i64.store (i32.const 64) (local.get $x))
  (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
  (br_if $rounds (i32.lt_u (local.tee $round (i32.add (local.get $round) (i32.const 1))) (i32.const 10))))
"""
