"""Engines that are set up otherwise: users remapped, another runtime. Each test has an engine of its own."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from sp_plugin.executors.base import (
    DockerOptions,
    ExecutorSettings,
    OutcomeKind,
)
from sp_plugin.executors.docker import DockerExecutor
from sp_plugin.executors.docker.report import report
from tests.containers import script_request
from tests.docker_engines import OwnEngine
from tests.integration.executors.test_docker_restarts import image_at

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(os.getuid() != 0, reason="needs root to start a Docker engine"),
]


@pytest.fixture
def home():
    place = Path(tempfile.mkdtemp(prefix="sp-"))
    place.chmod(0o755)
    yield place
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def engine_with(home):
    made = []

    def make(*options: str, **more) -> OwnEngine:
        made.append(OwnEngine(home / "engine", *options, **more))
        made[-1].start()
        return made[-1]

    yield make
    for engine in made:
        engine.close()


async def test_the_configured_runtime_is_what_starts_containers(engine_with, home):
    """gVisor's runsc has runc's command line; here a script notes it and runs runc."""
    script = home / "runsc"
    script.write_text(f'#!/bin/sh\necho "$@" >> {home}/said\nexec runc "$@"\n')
    script.chmod(0o755)
    engine = engine_with(f"--add-runtime=runsc={script}")
    settings = ExecutorSettings(
        cache_dir=home,
        runs_dir=home / "runs",
        docker_url=engine.url,
        docker=DockerOptions(runtime="runsc"),
    )
    executor = DockerExecutor(settings)
    outcome = await executor.run(script_request(image_at(engine), home, "echo hello > /out/x"))
    findings = {found.name: found for found in await report(executor, "runsc", None)}
    await executor.close()
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.FINISHED, 0), outcome.message
    commands = [line for line in (home / "said").read_text().splitlines() if " create " in line]
    (create,) = [line for line in commands if "--bundle" in line]
    bundle = create.split("--bundle ")[1].split(" ")[0]
    assert bundle.startswith(str(home / "engine"))
    assert "runtime runsc" in findings["docker engine"].detail


async def test_a_runtime_that_is_not_there_runs_nothing_and_doctor_says_so(engine_with, home):
    engine = engine_with()
    settings = ExecutorSettings(
        cache_dir=home,
        runs_dir=home / "runs",
        docker_url=engine.url,
        docker=DockerOptions(runtime="runsc"),
    )
    executor = DockerExecutor(settings)
    outcome = await executor.run(script_request(image_at(engine), home, "true"))
    findings = {found.name: found for found in await report(executor, "runsc", None)}
    await executor.close()
    assert outcome.kind is OutcomeKind.RUNTIME_FAULT
    assert "no runtime 'runsc'" in outcome.message
    assert not findings["docker engine"].ok


async def test_an_engine_that_remaps_users_is_seen_and_its_outputs_are_ours(engine_with, home):
    for name in ("subuid", "subgid"):
        (home / name).write_text("nobody:200000:65536\nnogroup:200000:65536\n")
    engine = engine_with("--userns-remap=nobody:nogroup", subordinate=home)
    executor = DockerExecutor(
        ExecutorSettings(cache_dir=home, runs_dir=home / "runs", docker_url=engine.url)
    )
    abilities = await executor.abilities()
    assert abilities.facts.id_offset == 200000, abilities.facts
    text = "id -u; echo hello > /out/x; cat /proc/self/uid_map"
    outcome = await executor.run(script_request(image_at(engine), home, text))
    findings = {found.name: found for found in await report(executor, None, None)}
    await executor.close()
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.FINISHED, 0), outcome.message
    assert outcome.stdout.head.split() == ["65534", "0", "200000", "65536"]
    assert (home / "runs/e-1/results/out/x").read_text() == "hello\n"
    assert "the user 200000 of this host" in findings["docker users"].detail


async def test_doctors_findings_are_those_of_the_documentation(image, home):
    executor = DockerExecutor(ExecutorSettings(cache_dir=home, runs_dir=home / "runs"))
    findings = await report(executor, None, 50_000_000)
    await executor.close()
    page = (Path(__file__).parents[3] / "docs/operating.md").read_text()
    shown = page.split("```text\ndocker engine")[1].split("```")[0]
    documented = [line.split(": ")[0] for line in f"docker engine{shown}".splitlines() if line]
    assert [found.name for found in findings] == documented


async def test_an_engine_that_does_not_answer_is_a_finding_that_says_what_to_do(home):
    settings = ExecutorSettings(cache_dir=home, docker_url=f"unix://{home}/none.sock")
    executor = DockerExecutor(settings)
    (found,) = await report(executor, None, None)
    await executor.close()
    assert not found.ok
    assert "jobs.docker.socket" in found.detail
