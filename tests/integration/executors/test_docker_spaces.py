"""Each kind of space for outputs, on an engine that can do them all: what fits is collected, what does not is refused by the host."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace

import pytest

from sp_plugin.executors.base import (
    ExecutionLimits,
    ExecutorSettings,
    OutcomeKind,
    OutputVolume,
)
from sp_plugin.executors.docker import DockerExecutor
from sp_plugin.executors.docker.spaces import SpaceKind
from tests.containers import left_at_engine, script_request

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(os.getuid() != 0, reason="needs root for loop-mounted images"),
]
LIMITS = ExecutionLimits(
    memory_bytes=32 << 20, wall_seconds=30, output_bytes=3 << 20, output_files=50
)
KINDS = (SpaceKind.LOOP_IMAGE, SpaceKind.MEMORY_VOLUME, SpaceKind.WATCHED)


@pytest.fixture(params=KINDS, ids=str)
async def executor(request, tmp_path):
    executor = DockerExecutor(
        ExecutorSettings(cache_dir=tmp_path, runs_dir=tmp_path / "runs", owner=str(tmp_path))
    )
    abilities = await executor.abilities()
    assert set(KINDS) <= set(abilities.kinds), abilities.why_not
    others = {kind: "not tried here" for kind in SpaceKind if kind is not request.param}
    executor._abilities = replace(abilities, why_not=others)
    yield executor
    await executor.close()
    assert left_at_engine(str(tmp_path)) == []


async def run(executor, image, tmp_path, text, *outputs, limits=LIMITS):
    request = script_request(
        image,
        tmp_path,
        text,
        execution_id=f"e-{tmp_path.name}",
        outputs=tuple(OutputVolume(name, f"/{name}") for name in outputs),
        limits=limits,
    )
    return await executor.run(request), request.result_dir


async def test_files_and_directories_of_all_outputs_are_collected(executor, image, tmp_path):
    text = """busybox mkdir -p /one/a/b /two/empty; echo deep > /one/a/b/c; : > /two/nothing
    dd if=/dev/zero of=/two/big bs=1024 count=2000 2> /two/said; exit 3"""
    outcome, results = await run(executor, image, tmp_path, text, "one", "two")
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.FINISHED, 3), outcome.message
    assert (results / "one/a/b/c").read_text() == "deep\n"
    assert (results / "two/big").stat().st_size == 2_048_000
    assert sorted(path.name for path in (results / "two").iterdir()) == [
        "big",
        "empty",
        "nothing",
        "said",
    ]
    assert outcome.usage.output_files == 7


async def test_as_much_as_is_allowed_fits(executor, image, tmp_path):
    # and is looked at for a while before it ends
    text = "dd if=/dev/zero of=/out/all bs=65536 count=48 2>/dev/null; sleep 1.5"
    outcome, results = await run(executor, image, tmp_path, text, "out")
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.FINISHED, 0), outcome.message
    assert (results / "out/all").stat().st_size == LIMITS.output_bytes


async def test_more_than_is_allowed_is_out_of_disk(executor, image, tmp_path):
    text = "for i in 1 2 3 4 5 6; do dd if=/dev/zero of=/out/$i bs=65536 count=32 || exit 9; done"
    outcome, _ = await run(executor, image, tmp_path, text, "out")
    assert outcome.kind is OutcomeKind.OUT_OF_DISK, (outcome.message, outcome.stderr.head)


async def test_one_file_that_was_cut_is_no_result(executor, image, tmp_path):
    """Its program may go on as if all were written, and end with 0."""
    text = "dd if=/dev/zero of=/out/all bs=65536 count=100; exit 0"
    outcome, _ = await run(executor, image, tmp_path, text, "out")
    assert outcome.kind is OutcomeKind.OUT_OF_DISK, (outcome.message, outcome.stderr.head)
    assert f"{LIMITS.output_bytes} bytes" in outcome.message


async def test_links_out_of_the_outputs_are_refused(executor, image, tmp_path):
    text = "busybox ln -s /etc/passwd /out/passwd"
    outcome, results = await run(executor, image, tmp_path, text, "out")
    if executor._abilities.kinds[0] is SpaceKind.WATCHED:
        assert (results / "out/passwd").is_symlink()  # refused when results are kept
        return
    assert outcome.kind is OutcomeKind.OUTPUT_REFUSED
    assert "symbolic link" in outcome.message
    assert not (results / "out").exists()


async def test_a_cancelled_task_leaves_nothing(executor, image, tmp_path):
    task = asyncio.create_task(run(executor, image, tmp_path, "sleep 100", "out"))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
