"""Programs that try to take more than they were given: each ends with the right outcome, and the host is unharmed."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from sp_plugin.executors.base import ExecutionLimits, OutcomeKind
from tests.integration.executors.wasm_programs import (
    FOREVER,
    PRINT,
    as_program,
    program,
    request_for,
    write_module,
)

LIMITS = ExecutionLimits(memory_bytes=16 << 20, wall_seconds=20)
GROW = "(loop $l{i} (br_if $l{i} (i32.ne (memory.grow {i} (i32.const 16)) (i32.const -1))))"
TOUCH = """(loop $t{i} (i32.store {i} (global.get $p) (i32.const 1))
  (global.set $p (i32.add (global.get $p) (i32.const 4096)))
  (br_if $t{i} (i32.lt_u (global.get $p) (i32.mul (memory.size {i}) (i32.const 65536)))))
  (global.set $p (i32.const 0))"""


async def test_a_memory_that_grows_for_ever_stops_at_its_limit(executor, tmp_path):
    body = GROW.format(i=0) + TOUCH.format(i=0) + "unreachable"
    text = program(body, '(memory (export "memory") 1) (global $p (mut i32) (i32.const 0))')
    outcome = await executor.run(request_for(write_module(tmp_path, text), tmp_path))
    assert outcome.kind is OutcomeKind.OUT_OF_MEMORY
    assert 15 << 20 < outcome.usage.memory_bytes <= 16 << 20


async def test_many_memories_cannot_get_around_the_limit(executor, tmp_path):
    """Each memory is below the limit; all of them together would be 60 times of it."""
    count = 60
    memories = '(memory (export "memory") 1) (global $p (mut i32) (i32.const 0))'
    memories += "(memory 1)" * (count - 1)
    body = "".join(GROW.format(i=i) + TOUCH.format(i=i) for i in range(count)) + FOREVER
    limits = ExecutionLimits(memory_bytes=64 << 20, wall_seconds=6)
    most = 0

    async def watch():
        nonlocal most
        while True:
            await asyncio.sleep(0.02)
            if executor._zygote is not None:
                most = max(most, resident_of_children(executor._zygote.pid))

    watching = asyncio.create_task(watch())
    request = request_for(write_module(tmp_path, program(body, memories)), tmp_path, limits=limits)
    outcome = await executor.run(request)
    watching.cancel()
    assert outcome.kind in {OutcomeKind.OUT_OF_MEMORY, OutcomeKind.OUT_OF_TIME}
    assert 0 < most < 1100 << 20  # 60 x 64 MiB would be 3840


def resident_of_children(pid: int) -> int:
    pages = 0
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        try:
            pages += int(Path(f"/proc/{child}/statm").read_text().split()[1])
        except OSError:
            continue
    return pages * os.sysconf("SC_PAGE_SIZE")


async def test_a_table_that_grows_for_ever_stops_at_a_limit(executor, tmp_path):
    body = """(loop $l (br_if $l (i32.ne
        (table.grow $t (ref.null func) (i32.const 65536)) (i32.const -1))))
        (call $exit (i32.div_u (table.size $t) (i32.const 65536)))"""
    text = program(body, '(memory (export "memory") 1) (table $t 1 funcref)')
    outcome = await executor.run(request_for(write_module(tmp_path, text), tmp_path))
    assert outcome.kind is OutcomeKind.FINISHED
    assert 0 < outcome.exit_code <= 16  # a million elements


async def test_a_table_that_is_declared_too_large_is_refused(executor, tmp_path):
    text = program("", '(memory (export "memory") 1) (table 100000000 funcref)')
    outcome = await executor.run(request_for(write_module(tmp_path, text), tmp_path))
    assert outcome.kind in {OutcomeKind.OUT_OF_MEMORY, OutcomeKind.INVALID_PROGRAM}
    assert "table" in outcome.message


async def test_endless_recursion_is_a_crash_of_the_program_only(executor, tmp_path):
    text = program("(call $deeper)").removesuffix(")") + "(func $deeper (call $deeper)))"
    outcome = await executor.run(request_for(write_module(tmp_path, text), tmp_path))
    assert outcome.kind is OutcomeKind.TRAPPED
    assert "stack" in outcome.message


async def test_a_shared_memory_is_refused_since_it_has_no_limit(executor, tmp_path):
    text = program("", '(memory (export "memory") 1 65536 shared)')
    outcome = await executor.run(request_for(write_module(tmp_path, text), tmp_path))
    assert outcome.kind is OutcomeKind.INVALID_PROGRAM


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        ("unreachable", OutcomeKind.TRAPPED, None),
        ("(call $exit (i32.const 255))", OutcomeKind.FINISHED, 255),
    ],
)
async def test_a_start_function_ends_the_program_as_the_entry_point_would(
    executor, tmp_path, body, kind, code
):
    text = program("(call $exit (i32.const 1))").removesuffix(")")
    module = write_module(tmp_path, text + f"(func $s {body}) (start $s))")
    outcome = await executor.run(request_for(module, tmp_path))
    assert (outcome.kind, outcome.exit_code) == (kind, code), outcome.message


@pytest.mark.parametrize("fuel", [None, 100_000_000])
async def test_a_start_function_that_never_ends_is_bounded(executor, tmp_path, fuel):
    text = program("").removesuffix(")") + f"(func $s {FOREVER}) (start $s))"
    limits = ExecutionLimits(memory_bytes=1 << 20, wall_seconds=3, fuel=fuel)
    module = write_module(tmp_path, text)
    outcome = await executor.run(request_for(module, tmp_path, limits=limits))
    assert outcome.kind is OutcomeKind.OUT_OF_TIME
    assert ("fuel" in outcome.message) == (fuel is not None)


async def test_endless_output_on_both_streams_takes_no_more_than_their_limit(executor, tmp_path):
    body = PRINT.format(size=60_000, again="") + PRINT.format(size=60_000, again="").replace(
        "(call $write (i32.const 1)", "(call $write (i32.const 2)"
    )
    module = write_module(tmp_path, program(f"(loop $again {body} (br $again))"))
    limits = ExecutionLimits(memory_bytes=1 << 20, wall_seconds=1.5, stream_bytes=50_000)
    outcome = await executor.run(request_for(module, tmp_path, limits=limits))
    assert outcome.kind is OutcomeKind.OUT_OF_TIME
    for stream in (outcome.stdout, outcome.stderr):
        assert stream.truncated
        assert stream.path.stat().st_size < 50_100
        assert stream.tail.endswith("only the first 50000 bytes are kept]\n")


async def test_arguments_and_variables_of_megabytes_arrive(executor, tmp_path):
    text = """(module
      (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
      (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
      (memory (export "memory") 1)
      (func (export "_start") (drop (call $sizes (i32.const 0) (i32.const 4)))
        (call $exit (i32.div_u (i32.load (i32.const 4)) (i32.const 100000)))))"""
    request = request_for(
        write_module(tmp_path, text),
        tmp_path,
        arguments=("x" * 1000,) * 8000,
        environment={f"NAME{i}": "y" * 1000 for i in range(1000)},
    )
    outcome = await executor.run(request)
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.FINISHED, 80), outcome.message


async def test_64_mib_of_garbage_are_refused_in_little_time(executor, tmp_path):
    code = b"\0asm\x01\0\0\0" + os.urandom(1 << 20) * 63
    started = time.monotonic()
    outcome = await executor.run(request_for(as_program(tmp_path / "m", code), tmp_path))
    assert outcome.kind is OutcomeKind.INVALID_PROGRAM
    assert time.monotonic() - started < 10


async def test_a_module_that_compiles_too_long_runs_out_of_time_and_is_not_kept(executor, tmp_path):
    body = "(local.set 0 (i32.rotl (i32.mul (local.get 0) (local.get 1)) (local.get 0)))" * 2000
    many = f"(func (param i32 i32) (result i32) {body} (local.get 0))" * 300
    text = program("").removesuffix(")") + many + ")"
    limits = ExecutionLimits(memory_bytes=1 << 20, wall_seconds=0.3)
    request = request_for(write_module(tmp_path, text), tmp_path, limits=limits)
    outcome = await executor.run(request)
    assert outcome.kind is OutcomeKind.OUT_OF_TIME
    assert "compiling" in outcome.message
    assert list((tmp_path / "cache/wasm").glob("*.cwasm")) == []


async def test_a_compiled_header_with_code_behind_it_is_not_taken_for_compiled_code(
    executor, tmp_path
):
    """Compiled code (an ELF file) given as a program must never be loaded as such."""
    good = write_module(tmp_path, program("(call $exit (i32.const 3))"))
    await executor.run(request_for(good, tmp_path))
    (cached,) = (tmp_path / "cache/wasm").glob("*.cwasm")
    (tmp_path / "second").mkdir()
    forged = as_program(tmp_path / "forged", cached.read_bytes())
    outcome = await executor.run(request_for(forged, tmp_path / "second"))
    assert outcome.kind is OutcomeKind.INVALID_PROGRAM
