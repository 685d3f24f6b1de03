"""The CO2 example: rebuilt to the byte, run in a container from an empty image, checked by a program of another kind."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from devstack.demo.docker_image import build_image, why_no_engine
from sp_plugin.executors.base import (
    DockerProgram,
    ExecutionLimits,
    ExecutionOutcome,
    ExecutionRequest,
    ExecutorSettings,
    InputVolume,
    OutcomeKind,
    OutputVolume,
)
from sp_plugin.executors.docker import DockerExecutor
from tests.integration.examples.conftest import CO2_SERIES, EXAMPLES, checked

HEAD = "Date,CO2,adjusted CO2\n"


@pytest.fixture(scope="module")
def image() -> str:
    if reason := why_no_engine():
        pytest.skip(f"needs a Docker engine on x86-64: {reason}")
    return build_image(EXAMPLES / "co2")


@pytest.fixture
async def executor(tmp_path: Path):
    executor = DockerExecutor(ExecutorSettings(cache_dir=tmp_path / "cache", owner=str(tmp_path)))
    yield executor
    await executor.close()


async def run(executor: DockerExecutor, image: str, source: Path, home: Path) -> ExecutionOutcome:
    """One run of the image over a file at /inputs/series."""
    results = home / "results"
    results.mkdir()
    return await executor.run(
        ExecutionRequest(
            execution_id=f"e-{home.name}",
            job_id="j-co2",
            program=DockerProgram(image),
            arguments=("/inputs/series", "/outputs/annual.csv"),
            inputs=(InputVolume(source, "/inputs/series"),),
            outputs=(OutputVolume("outputs", "/outputs"),),
            limits=ExecutionLimits(memory_bytes=64 << 20, wall_seconds=60),
            result_dir=results,
        )
    )


@pytest.mark.clang
def test_the_program_in_the_tree_is_what_its_makefile_builds(rebuilt):
    assert rebuilt("co2", "co2-x86_64") == (EXAMPLES / "co2" / "co2-x86_64").read_bytes()


@pytest.mark.docker
async def test_the_image_agrees_with_an_independent_program(image, executor, tmp_path):
    outcome = await run(executor, image, CO2_SERIES, tmp_path)
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.FINISHED, 0), outcome.message
    assert outcome.stdout.head == "complete years 1959 to 2019: +95.52 ppm CO2\n"
    annual = tmp_path / "results" / "outputs" / "annual.csv"
    assert checked("co2", CO2_SERIES, annual) == "agrees: 63 years"


@pytest.mark.docker
@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("", 2, "the input holds no measurement"),
        (HEAD, 2, "the input holds no measurement"),
        (HEAD + "1999-01-01,,\n", 2, "the input holds no measurement"),
        (HEAD + "#" * (1 << 20), 3, "the input is larger than 1 MiB"),
        (HEAD + "1999-01-01,368.12,\n", 0, ""),
    ],
    ids=["nothing", "only a head", "no value", "too large", "one month"],
)
async def test_bad_input_ends_with_the_documented_exit_code(
    image, executor, tmp_path, text, code, said
):
    source = tmp_path / "series"
    await asyncio.to_thread(source.write_text, text)
    source.chmod(0o644)
    outcome = await run(executor, image, source, tmp_path)
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.FINISHED, code), outcome.message
    assert said in outcome.stderr.head
