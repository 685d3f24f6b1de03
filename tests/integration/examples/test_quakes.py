"""The earthquake example: rebuilt to the byte, run by the real WASM executor, checked by a program of another kind."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from sp_plugin.executors.base import (
    ExecutionLimits,
    ExecutionOutcome,
    ExecutionRequest,
    ExecutorSettings,
    InputVolume,
    OutcomeKind,
    OutputVolume,
    WasmProgram,
)
from sp_plugin.executors.wasm import WasmExecutor
from tests.integration.examples.conftest import EXAMPLES, QUAKES_FEED, checked

MODULE = EXAMPLES / "quakes" / "quakes.wasm"
HALF_A_FEED = QUAKES_FEED.read_bytes()[: QUAKES_FEED.stat().st_size // 2]


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> WasmExecutor:
    return WasmExecutor(ExecutorSettings(cache_dir=tmp_path_factory.mktemp("cache")))


async def run(
    executor: WasmExecutor, source: Path, home: Path, *arguments: str
) -> ExecutionOutcome:
    """One run of the module over a file at /inputs/feed."""
    results = home / "results"
    results.mkdir()
    return await executor.run(
        ExecutionRequest(
            execution_id="e-quakes",
            job_id="j-quakes",
            program=WasmProgram(MODULE, hashlib.sha256(MODULE.read_bytes()).hexdigest()),
            arguments=arguments or ("/inputs/feed", "/outputs"),
            inputs=(InputVolume(source, "/inputs/feed"),),
            outputs=(OutputVolume("outputs", "/outputs"),),
            limits=ExecutionLimits(memory_bytes=256 << 20, wall_seconds=60),
            result_dir=results,
        )
    )


@pytest.mark.clang
def test_the_module_in_the_tree_is_what_its_makefile_builds(rebuilt):
    assert rebuilt("quakes", "quakes.wasm") == MODULE.read_bytes()


async def test_the_module_agrees_with_an_independent_program(executor, tmp_path):
    outcome = await run(executor, QUAKES_FEED, tmp_path)
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.FINISHED, 0)
    assert "1707 events" in outcome.stdout.head
    said = checked("quakes", QUAKES_FEED, tmp_path / "results" / "outputs")
    assert said == "agrees: 1707 events, b-value 0.3452"


async def test_the_check_notices_a_changed_result(executor, tmp_path):
    await run(executor, QUAKES_FEED, tmp_path)
    summary = tmp_path / "results" / "outputs" / "summary.json"
    summary.write_text(json.dumps(json.loads(summary.read_text()) | {"b_value": 0.3453}))
    with pytest.raises(AssertionError, match=r"b_value: the job says 0\.3453, recomputed 0\.3452"):
        checked("quakes", QUAKES_FEED, tmp_path / "results" / "outputs")


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        (HALF_A_FEED, 2, "at byte"),
        (b"this is no JSON", 2, "unexpected character at byte 0"),
        (b"", 2, "the JSON is cut short at byte 0"),
        (b'{"features": [{"properties": {"mag": 1e', 2, "bad number"),
        (b'{"a":' + b"[" * 100_000, 2, "nested too deeply"),
        (b'{"features": []}', 0, ""),
    ],
    ids=["half a feed", "no JSON", "nothing", "half a number", "deep", "no events"],
)
async def test_bad_input_ends_with_the_documented_exit_code(executor, tmp_path, text, code, said):
    source = tmp_path / "feed"
    source.write_bytes(text)
    outcome = await run(executor, source, tmp_path)
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.FINISHED, code)
    assert said in outcome.stderr.head


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("one",), 64), (("/nowhere", "/outputs"), 66), (("/inputs/feed", "/no"), 4)],
)
async def test_bad_arguments_end_with_the_documented_exit_code(executor, tmp_path, arguments, code):
    source = tmp_path / "feed"
    source.write_text('{"features": []}')
    outcome = await run(executor, source, tmp_path, *arguments)
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.FINISHED, code)
