"""WASI 0.2 commands: components that export wasi:cli/run."""

from __future__ import annotations

import pytest

from sp_plugin.executors.base import ExecutionLimits, OutcomeKind, WasmProgram
from tests.integration.executors.wasm_programs import request_for, write_module

HELLO = r"""
(component
  (import "wasi:io/error@0.2.0" (instance $error (export "error" (type (sub resource)))))
  (alias export $error "error" (type $err))
  (import "wasi:io/streams@0.2.0" (instance $streams
    (export "output-stream" (type $out (sub resource)))
    (alias outer 1 $err (type $err1))
    (export "error" (type $err2 (eq $err1)))
    (type $failed (variant (case "last-operation-failed" (own $err2)) (case "closed")))
    (export "stream-error" (type $stream-error (eq $failed)))
    (export "[method]output-stream.blocking-write-and-flush"
      (func (param "self" (borrow $out)) (param "contents" (list u8)) (result (result (error $stream-error)))))))
  (alias export $streams "output-stream" (type $out))
  (import "wasi:cli/stdout@0.2.0" (instance $stdout
    (alias outer 1 $out (type $out1))
    (export "output-stream" (type $out2 (eq $out1)))
    (export "get-stdout" (func (result (own $out2))))))
  (core module $libc (memory (export "memory") 1) (data (i32.const 64) "hello from 0.2\n"))
  (core instance $libc (instantiate $libc))
  (core func $get (canon lower (func $stdout "get-stdout")))
  (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")
    (memory (core memory $libc "memory"))))
  (core module $main
    (import "x" "get" (func $get (result i32)))
    (import "x" "write" (func $write (param i32 i32 i32 i32)))
    (func (export "run") (result i32)
      (call $write (call $get) (i32.const 64) (i32.const 15) (i32.const 0)) (i32.const 0)))
  (core instance $main (instantiate $main
    (with "x" (instance (export "get" (func $get)) (export "write" (func $write))))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $command (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $command)))
"""

CONNECT = r"""
(component
  (import "wasi:sockets/network@0.2.0" (instance $network
    (type $codes (enum "unknown" "access-denied" "not-supported" "invalid-argument" "out-of-memory" "timeout"
      "concurrency-conflict" "not-in-progress" "would-block" "invalid-state" "new-socket-limit"
      "address-not-bindable" "address-in-use" "remote-unreachable" "connection-refused" "connection-reset"
      "connection-aborted" "datagram-too-large" "name-unresolvable" "temporary-resolver-failure"
      "permanent-resolver-failure"))
    (export "error-code" (type (eq $codes)))
    (type $families (enum "ipv4" "ipv6"))
    (export "ip-address-family" (type (eq $families)))))
  (alias export $network "error-code" (type $code))
  (alias export $network "ip-address-family" (type $family))
  (import "wasi:sockets/tcp@0.2.0" (instance $tcp (export "tcp-socket" (type (sub resource)))))
  (alias export $tcp "tcp-socket" (type $socket))
  (import "wasi:sockets/tcp-create-socket@0.2.0" (instance $create
    (alias outer 1 $code (type $c1)) (export "error-code" (type $c2 (eq $c1)))
    (alias outer 1 $family (type $f1)) (export "ip-address-family" (type $f2 (eq $f1)))
    (alias outer 1 $socket (type $s1)) (export "tcp-socket" (type $s2 (eq $s1)))
    (export "create-tcp-socket" (func (param "address-family" $f2) (result (result (own $s2) (error $c2)))))))
  (core module $libc (memory (export "memory") 1))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $mem))
  (core func $open (canon lower (func $create "create-tcp-socket") (memory (core memory $libc "memory"))))
  (core module $main
    (import "x" "open" (func $open (param i32 i32)))
    (import "x" "memory" (memory 1))
    (func (export "run") (result i32)
      (call $open (i32.const 0) (i32.const 0))
      ;; an error that is access-denied is what run reports as its own error; all else traps
      (if (i32.ne (i32.load8_u (i32.const 0)) (i32.const 1)) (then unreachable))
      (if (i32.ne (i32.load8_u (i32.const 4)) (i32.const 1)) (then unreachable))
      (i32.const 1)))
  (core instance $main (instantiate $main
    (with "x" (instance (export "open" (func $open)) (export "memory" (memory $mem))))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $command (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $command)))
"""


def command(body: str, imports: str = "", core_imports: str = "", given: str = "") -> str:
    """A component whose `run` is `body`, which leaves 0 for ok and 1 for an error."""
    return f"""(component {imports}
      (core module $m {core_imports} (memory 1) (func (export "run") (result i32) {body}))
      (core instance $i (instantiate $m {given}))
      (func $run (result (result)) (canon lift (core func $i "run")))
      (instance $command (export "run" (func $run)))
      (export "wasi:cli/run@0.2.6" (instance $command)))"""


EXIT = {
    "imports": """(import "wasi:cli/exit@0.2.0" (instance $exit (export "exit" (func (param "status" (result))))))
      (core func $e (canon lower (func $exit "exit")))""",
    "core_imports": '(import "x" "exit" (func $exit (param i32)))',
    "given": '(with "x" (instance (export "exit" (func $e))))',
}


async def test_a_component_prints_and_ends_with_0(executor, tmp_path):
    outcome = await executor.run(request_for(write_module(tmp_path, HELLO), tmp_path))
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.FINISHED, 0), outcome.message
    assert (tmp_path / "results/stdout").read_text() == "hello from 0.2\n"


async def test_a_component_that_returns_an_error_finished_with_1(executor, tmp_path):
    module = write_module(tmp_path, command("(i32.const 1)"))
    outcome = await executor.run(request_for(module, tmp_path))
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.FINISHED, 1)


@pytest.mark.parametrize("status", [0, 1])
async def test_a_component_may_exit_before_it_returns(executor, tmp_path, status):
    body = f"(call $exit (i32.const {status})) unreachable"
    module = write_module(tmp_path, command(body, **EXIT))
    outcome = await executor.run(request_for(module, tmp_path))
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.FINISHED, status), outcome.message


async def test_a_component_that_crashes_trapped(executor, tmp_path):
    module = write_module(tmp_path, command("unreachable"))
    outcome = await executor.run(request_for(module, tmp_path))
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.TRAPPED, None)
    assert "unreachable" in outcome.message


async def test_fuel_and_time_bound_a_component_too(executor, tmp_path):
    module = write_module(tmp_path, command("(loop $l (br $l)) (i32.const 0)"))
    limits = ExecutionLimits(memory_bytes=1 << 20, wall_seconds=20, fuel=100_000)
    outcome = await executor.run(request_for(module, tmp_path, limits=limits))
    assert outcome.kind is OutcomeKind.OUT_OF_TIME
    assert "fuel" in outcome.message
    (tmp_path / "wall").mkdir()
    limits = ExecutionLimits(memory_bytes=1 << 20, wall_seconds=0.5)
    outcome = await executor.run(request_for(module, tmp_path / "wall", limits=limits))
    assert outcome.kind is OutcomeKind.OUT_OF_TIME


async def test_a_component_larger_than_its_memory_is_told_so(executor, tmp_path):
    text = command("(i32.const 0)").replace("(memory 1)", "(memory 17)")
    limits = ExecutionLimits(memory_bytes=1 << 20, wall_seconds=20)
    outcome = await executor.run(request_for(write_module(tmp_path, text), tmp_path, limits=limits))
    assert outcome.kind is OutcomeKind.OUT_OF_MEMORY
    assert "17 pages" in outcome.message


async def test_a_component_that_is_no_command_is_refused_with_a_reason(executor, tmp_path):
    outcome = await executor.run(request_for(write_module(tmp_path, "(component)"), tmp_path))
    assert outcome.kind is OutcomeKind.INVALID_PROGRAM
    assert "wasi:cli/run" in outcome.message


async def test_a_component_that_wants_http_is_refused_by_name(executor, tmp_path):
    wanted = '(import "wasi:http/outgoing-handler@0.2.0" (instance (export "handle" (func))))'
    module = write_module(tmp_path, command("(i32.const 0)", imports=wanted))
    outcome = await executor.run(request_for(module, tmp_path))
    assert outcome.kind is OutcomeKind.INVALID_PROGRAM
    assert "wasi:http/outgoing-handler" in outcome.message


async def test_a_component_gets_no_socket(executor, tmp_path):
    outcome = await executor.run(request_for(write_module(tmp_path, CONNECT), tmp_path))
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.FINISHED, 1), outcome.message


async def test_a_component_has_one_way_to_start(executor, tmp_path):
    found = write_module(tmp_path, command("(i32.const 0)"))
    other = WasmProgram(found.module, found.sha256, "main")
    outcome = await executor.run(request_for(other, tmp_path))
    assert outcome.kind is OutcomeKind.INVALID_PROGRAM
    assert "leave Entrypoint out" in outcome.message


async def test_the_memory_that_a_component_used_is_told(executor, tmp_path):
    mib = 1 << 20
    limits = ExecutionLimits(memory_bytes=128 * mib, wall_seconds=20)
    used = []
    for pages in (1, 16 * 60):  # 60 MiB, each page touched
        body = f"""(local $n i32)
          (drop (memory.grow (i32.const {pages - 1})))
          (loop $l
            (i32.store8 (i32.mul (local.get $n) (i32.const 4096)) (i32.const 1))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $l (i32.lt_u (local.get $n) (i32.const {pages * 16}))))
          (i32.const 0)"""
        place = tmp_path / str(pages)
        place.mkdir()
        module = write_module(place, command(body))
        outcome = await executor.run(request_for(module, place, limits=limits))
        assert outcome.kind is OutcomeKind.FINISHED, outcome.message
        used.append(outcome.usage.memory_bytes)
    small, large = used
    assert 0 < small < 16 * mib
    assert 60 * mib - mib <= large - small <= 60 * mib + mib


async def test_the_memory_of_a_component_that_crashed_is_told_too(executor, tmp_path):
    body = "(i32.store (i32.const 60000) (i32.const 1)) unreachable"
    outcome = await executor.run(request_for(write_module(tmp_path, command(body)), tmp_path))
    assert outcome.kind is OutcomeKind.TRAPPED
    assert outcome.usage.memory_bytes > 0
