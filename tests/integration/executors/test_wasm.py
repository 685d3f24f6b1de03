from __future__ import annotations

import pytest

from sp_plugin.executors.base import (
    ExecutionLimits,
    OutcomeKind,
)
from tests.integration.executors.wasm_programs import (
    FOREVER,
    PRINT,
    SLEEP,
    as_program,
    program,
    request_for,
    write_module,
)

LIMITS = ExecutionLimits(memory_bytes=16 << 20, wall_seconds=20)


async def test_a_program_that_returns_finished_with_0(executor, tmp_path):
    outcome = await executor.run(request_for(write_module(tmp_path, program("")), tmp_path))
    assert outcome.kind is OutcomeKind.FINISHED
    assert outcome.exit_code == 0
    assert outcome.executor_version.startswith("wasmtime 50.")


@pytest.mark.parametrize("code", [0, 1, 125, 126, 130, 255, 4096, -1])
async def test_the_exit_code_is_the_programs_own(executor, tmp_path, code):
    module = write_module(tmp_path, program(f"(call $exit (i32.const {code}))"))
    outcome = await executor.run(request_for(module, tmp_path))
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.FINISHED, code)


async def test_an_endless_loop_is_killed_at_its_wall_time(executor, tmp_path):
    module = write_module(tmp_path, program(FOREVER))
    limits = ExecutionLimits(memory_bytes=1 << 20, wall_seconds=0.8)
    outcome = await executor.run(request_for(module, tmp_path, limits=limits))
    assert outcome.kind is OutcomeKind.OUT_OF_TIME
    assert "0.8 s" in outcome.message
    assert outcome.usage.wall_seconds < 5


async def test_a_sleeping_guest_is_killed_at_its_wall_time(executor, tmp_path):
    module = write_module(tmp_path, program(SLEEP))
    limits = ExecutionLimits(memory_bytes=1 << 20, wall_seconds=0.8)
    outcome = await executor.run(request_for(module, tmp_path, limits=limits))
    assert outcome.kind is OutcomeKind.OUT_OF_TIME
    assert outcome.usage.wall_seconds < 5


async def test_cpu_time_is_limited_apart_from_wall_time(executor, tmp_path):
    module = write_module(tmp_path, program(FOREVER))
    limits = ExecutionLimits(memory_bytes=1 << 20, wall_seconds=30, cpu_seconds=1)
    outcome = await executor.run(request_for(module, tmp_path, limits=limits))
    assert outcome.kind is OutcomeKind.OUT_OF_TIME
    assert "CPU" in outcome.message


async def test_fuel_ends_a_loop_and_is_counted(executor, tmp_path):
    module = write_module(tmp_path, program(FOREVER))
    limits = ExecutionLimits(memory_bytes=1 << 20, wall_seconds=30, fuel=100_000)
    outcome = await executor.run(request_for(module, tmp_path, limits=limits))
    assert outcome.kind is OutcomeKind.OUT_OF_TIME
    assert "fuel" in outcome.message
    assert outcome.usage.fuel == pytest.approx(100_000, abs=100)


async def test_a_program_that_crashes_in_a_full_memory_is_out_of_memory(executor, tmp_path):
    eat = "(loop $l (br_if $l (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable"
    outcome = await executor.run(request_for(write_module(tmp_path, program(eat)), tmp_path))
    assert outcome.kind is OutcomeKind.OUT_OF_MEMORY
    assert outcome.usage.memory_bytes == 16 << 20


async def test_a_module_that_starts_larger_than_its_limit_is_told_so(executor, tmp_path):
    module = write_module(tmp_path, program("", '(memory (export "memory") 17)'))
    limits = ExecutionLimits(memory_bytes=1 << 20, wall_seconds=20)
    outcome = await executor.run(request_for(module, tmp_path, limits=limits))
    assert outcome.kind is OutcomeKind.OUT_OF_MEMORY
    assert "17 pages" in outcome.message


async def test_a_trap_is_told_apart_from_an_exit(executor, tmp_path):
    module = write_module(tmp_path, program("unreachable"))
    outcome = await executor.run(request_for(module, tmp_path))
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.TRAPPED, None)
    assert "unreachable" in outcome.message


async def test_a_flooded_stream_is_cut_with_a_marker_while_the_program_goes_on(executor, tmp_path):
    again = """(i32.store (i32.const 12) (i32.add (i32.load (i32.const 12)) (i32.const 1)))
               (br_if $l (i32.lt_u (i32.load (i32.const 12)) (i32.const 2000)))"""
    body = PRINT.format(size=60_000, again=again) + "(call $exit (i32.const 7))"
    module = write_module(tmp_path, program(body))
    limits = ExecutionLimits(memory_bytes=1 << 20, wall_seconds=30, stream_bytes=100_000)
    outcome = await executor.run(request_for(module, tmp_path, limits=limits))
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.FINISHED, 7)
    assert outcome.stdout.truncated
    assert not outcome.stderr.truncated
    kept = (tmp_path / "results/stdout").read_bytes()
    assert kept.endswith(b"only the first 100000 bytes are kept]\n")
    assert 100_000 < len(kept) < 100_100


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (b"not wasm", "not a WASM module"),
        (b"", "not a WASM module"),
        (b"\0asm\x01\0\0\0", "exports no function '_start'"),
    ],
)
async def test_what_is_no_program_is_refused_with_a_reason(executor, tmp_path, code, said):
    outcome = await executor.run(request_for(as_program(tmp_path / "m", code), tmp_path))
    assert outcome.kind is OutcomeKind.INVALID_PROGRAM
    assert said in outcome.message


async def test_an_unknown_import_is_named(executor, tmp_path):
    text = '(module (import "env" "open_socket" (func)) (func (export "_start")))'
    outcome = await executor.run(request_for(write_module(tmp_path, text), tmp_path))
    assert outcome.kind is OutcomeKind.INVALID_PROGRAM
    assert "open_socket" in outcome.message


async def test_a_module_with_other_bytes_than_approved_is_not_run_nor_cached(executor, tmp_path):
    module = write_module(tmp_path, program("(call $exit (i32.const 3))"))
    module.module.write_bytes(b"\0asm\x01\0\0\0")
    outcome = await executor.run(request_for(module, tmp_path))
    assert outcome.kind is OutcomeKind.INPUT_MISSING
    assert not list((tmp_path / "cache/wasm").glob("*.cwasm"))
