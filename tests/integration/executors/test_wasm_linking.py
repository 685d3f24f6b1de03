"""Modules that import each other: looked up among the inputs by their targets, as Bacalhau does."""

from __future__ import annotations

import pytest
import wasmtime

from sp_plugin.executors.base import InputVolume, OutcomeKind
from tests.integration.executors.wasm_programs import program, request_for, write_module

TWICE = '(module (func (export "twice") (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2))))'


def user(name: str, body: str = "(call $exit (call $twice (i32.const 21)))") -> str:
    """A program that ends with twice 21 by a function of the module `name`."""
    imported = f'(import "{name}" "twice" (func $twice (param i32) (result i32)))'
    return program(body).replace("(module", f"(module {imported}", 1)


def library(tmp_path, text, name="lib.wasm"):
    path = tmp_path / name
    path.write_bytes(wasmtime.wat2wasm(text))
    return path


@pytest.mark.parametrize("name", ["math", "/math", "lib/math.wasm"])
async def test_an_import_is_found_by_the_target_of_an_input(executor, tmp_path, name):
    module = write_module(tmp_path, user(name))
    inputs = (InputVolume(library(tmp_path, TWICE), "/" + name.lstrip("/")),)
    outcome = await executor.run(request_for(module, tmp_path, inputs=inputs))
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.FINISHED, 42), outcome.message


async def test_an_import_is_found_inside_a_directory(executor, tmp_path):
    (tmp_path / "libs/math").mkdir(parents=True)
    library(tmp_path, TWICE, "libs/math/only.wasm")
    module = write_module(tmp_path, user("libs/math"))
    inputs = (InputVolume(tmp_path / "libs", "/libs"),)
    outcome = await executor.run(request_for(module, tmp_path, inputs=inputs))
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.FINISHED, 42), outcome.message


async def test_linked_modules_import_others_in_turn(executor, tmp_path):
    outer = """(module (import "inner" "twice" (func $t (param i32) (result i32)))
      (func (export "twice") (param i32) (result i32) (call $t (call $t (local.get 0)))))"""
    inputs = (
        InputVolume(library(tmp_path, outer, "o"), "/outer"),
        InputVolume(library(tmp_path, TWICE, "i"), "/inner"),
    )
    module = write_module(tmp_path, user("outer"))
    outcome = await executor.run(request_for(module, tmp_path, inputs=inputs))
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.FINISHED, 84), outcome.message


async def test_a_linked_reactor_is_initialised_before_it_is_used(executor, tmp_path):
    reactor = """(module (global $g (mut i32) (i32.const 0))
      (func (export "_initialize") (global.set $g (i32.const 5)))
      (func (export "twice") (param i32) (result i32) (i32.add (local.get 0) (global.get $g))))"""
    inputs = (InputVolume(library(tmp_path, reactor), "/math"),)
    module = write_module(tmp_path, user("math"))
    outcome = await executor.run(request_for(module, tmp_path, inputs=inputs))
    assert outcome.exit_code == 26


async def test_a_linked_module_may_end_the_program(executor, tmp_path):
    text = """(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
      (func (export "twice") (param i32) (result i32) (call $exit (i32.const 200)) (i32.const 0)))"""
    inputs = (InputVolume(library(tmp_path, text), "/math"),)
    outcome = await executor.run(
        request_for(write_module(tmp_path, user("math")), tmp_path, inputs=inputs)
    )
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.FINISHED, 200)


async def test_modules_that_import_each_other_in_a_circle_are_refused(executor, tmp_path):
    def leaning(on: str) -> str:
        return f"""(module (import "{on}" "twice" (func $t (param i32) (result i32)))
          (export "twice" (func $t)))"""

    inputs = (
        InputVolume(library(tmp_path, leaning("b"), "a"), "/a"),
        InputVolume(library(tmp_path, leaning("a"), "b"), "/b"),
    )
    outcome = await executor.run(
        request_for(write_module(tmp_path, user("a")), tmp_path, inputs=inputs)
    )
    assert outcome.kind is OutcomeKind.INVALID_PROGRAM
    assert "the program → a → b → a" in outcome.message


async def test_an_import_that_is_nowhere_is_told_with_what_to_do(executor, tmp_path):
    outcome = await executor.run(request_for(write_module(tmp_path, user("math")), tmp_path))
    assert outcome.kind is OutcomeKind.INVALID_PROGRAM
    assert "imports 'twice' from 'math'" in outcome.message
    assert "Target of an InputSource" in outcome.message


@pytest.mark.parametrize("name", ["../secret", "/data/../../secret", "data/link"])
async def test_an_import_cannot_reach_outside_the_inputs(executor, tmp_path, name):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/link").symlink_to(library(tmp_path, TWICE, "secret"))
    inputs = (InputVolume(tmp_path / "data", "/data"),)
    outcome = await executor.run(
        request_for(write_module(tmp_path, user(name)), tmp_path, inputs=inputs)
    )
    assert outcome.kind is OutcomeKind.INVALID_PROGRAM


async def test_a_linked_file_that_is_no_module_is_refused(executor, tmp_path):
    (tmp_path / "text").write_text("plain text")
    inputs = (InputVolume(tmp_path / "text", "/math"),)
    outcome = await executor.run(
        request_for(write_module(tmp_path, user("math")), tmp_path, inputs=inputs)
    )
    assert outcome.kind is OutcomeKind.INVALID_PROGRAM


async def test_a_linked_module_without_the_wanted_function_is_named(executor, tmp_path):
    inputs = (InputVolume(library(tmp_path, "(module)"), "/math"),)
    outcome = await executor.run(
        request_for(write_module(tmp_path, user("math")), tmp_path, inputs=inputs)
    )
    assert outcome.kind is OutcomeKind.INVALID_PROGRAM
    assert "twice" in outcome.message
