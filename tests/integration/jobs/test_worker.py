from __future__ import annotations

import asyncio
import json
import os
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from deals.car import CarReader
from deals.commp import commp
from deals.denylist import parse_denylist
from lotus_client.cid import RAW, Cid
from lotus_client.types import ClaimId, PaddedPieceSize
from sp_plugin.errors import BadInput
from sp_plugin.inputs.base import HeldVolume, PieceRef
from sp_plugin.jobs.preparing import Preparer
from sp_plugin.jobs.queue import QueueRules
from sp_plugin.jobs.states import ExecutionState, JobState
from sp_plugin.publishers.local import kept_archive
from tests.integration.executors.test_wasm import PRINT, SLEEP
from tests.integration.executors.wasm_programs import compile_c, has_wasi_clang
from tests.integration.jobs.parts import Sidecar, data_url, wasm_job

PIECE = Cid.parse("baga6ea4seaqao7s73y24kcutaosvacpdjgfe5pw76ooefnyqw4ynr3d2y6x2mpq")
BLOCK = Cid.of_sha2_256(RAW, b"alpha")


class OnePiece:
    """A library with one piece that holds one directory; `damaged` pieces are reported as such."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ref = PieceRef("claim:7", PIECE, PaddedPieceSize(1 << 20), ClaimId(7))

    async def find_piece(self, piece_cid, claim_id):
        return self.ref

    async def find_root(self, root):
        return None

    async def materialise(self, piece, root, path, into):
        return HeldVolume(self.directory, BLOCK, 5, (BLOCK,))


@pytest.fixture
async def sidecar(tmp_path):
    data = tmp_path / "piece"
    data.mkdir()
    (data / "a.txt").write_text("alpha")
    (tmp_path / "sidecar").mkdir()
    sidecar = Sidecar(tmp_path / "sidecar", library=OnePiece(data))
    await sidecar.create_tables()
    sidecar.runner.clean()
    yield sidecar
    await sidecar.close()


async def ended(sidecar, values):
    """The job and its last execution, after it ran."""
    job = await sidecar.submit(values)
    assert await sidecar.worker.run_once()
    job = await sidecar.queue.job(job.id)
    return job, (await sidecar.queue.executions_of(job.id))[-1]


COPY_C = r"""
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv) {
    FILE *in = fopen("/inputs/a.txt", "r"), *out = fopen("/outputs/copy.txt", "w");
    int c;
    while (in && out && (c = fgetc(in)) != EOF) fputc(c, out);
    printf("%s %s %d", argv[1], getenv("GREETING"), getenv("BACALHAU_JOB_ID") != NULL);
    if (out) fclose(out);
    return 3;
}
"""


@pytest.mark.clang
@pytest.mark.skipif(not has_wasi_clang(), reason="needs clang with wasi-libc")
async def test_a_result_on_a_denylist_is_neither_kept_nor_published(sidecar, tmp_path):
    parse_denylist([f"/ipfs/{BLOCK}"], "badbits.deny", sidecar.denylist)
    module = data_url(compile_c(tmp_path, COPY_C).module.read_bytes())
    piece = {
        "Source": {"Type": "filecoin", "Params": {"PieceCID": str(PIECE)}},
        "Target": "/inputs",
    }
    job = wasm_job(inputs=[piece], ResultPaths=[{"Name": "results", "Path": "/outputs"}])
    task = job["Tasks"][0]
    task["InputSources"][0]["Source"]["Params"]["URL"] = module
    task["Engine"]["Params"]["Parameters"] = ["first"]
    task["Env"] = {"GREETING": "hello"}
    job, execution = await ended(sidecar, job)
    assert (job.state, execution.outcome) == (JobState.FAILED, "output_refused")
    assert job.message == f"{BLOCK} is on the denylist badbits.deny:1: refused"
    home = sidecar.data / "results" / execution.id
    assert sorted(path.name for path in (home / "files").iterdir()) == [
        "exitCode",
        "stderr",
        "stdout",
    ]
    with (home / "results.car").open("rb") as file:
        assert BLOCK not in {place.cid for place, _ in CarReader(file)}
    assert not any((sidecar.data / "staging").glob("*"))


@pytest.mark.clang
@pytest.mark.skipif(not has_wasi_clang(), reason="needs clang with wasi-libc")
async def test_a_job_over_a_held_piece_ends_with_results_a_car_and_a_record(sidecar, tmp_path):
    code = compile_c(tmp_path, COPY_C).module.read_bytes()
    job = wasm_job(
        inputs=[
            {
                "Source": {"Type": "filecoin", "Params": {"PieceCID": str(PIECE)}},
                "Target": "/inputs",
            }
        ],
        ResultPaths=[{"Name": "results", "Path": "/outputs"}],
        Env={"GREETING": "hello"},
    )
    task = job["Tasks"][0]
    task["InputSources"][0]["Source"]["Params"]["URL"] = data_url(code)
    task["Engine"]["Params"]["Parameters"] = ["first"]
    job, execution = await ended(sidecar, job)
    assert (job.state, job.message) == (
        JobState.COMPLETED,
        "the program ended with exit code 3",
    )
    assert execution.state is ExecutionState.COMPLETED
    assert execution.run_output["Stdout"] == "first hello 1"
    assert execution.run_output["ExitCode"] == execution.exit_code == 3
    home = sidecar.data / "results" / execution.id
    assert (home / "files/results/copy.txt").read_text() == "alpha"
    assert (home / "files/exitCode").read_text() == "3"
    record = execution.run_record
    assert record == json.loads((home / "run-record.json").read_text())
    assert record["bundle_digest"] == job.bundle_digest
    assert record["epoch"] == 7  # what `head` says when the run ends
    assert record["inputs"][1]["cid"] == str(PIECE)
    assert record["inputs"][1]["piece_key"] == "claim:7"
    assert record["inputs"][1]["blocks_read"] == 1
    with (home / "results.car").open("rb") as car:
        assert [str(root) for root in CarReader(car).roots] == [record["output"]["root_cid"]]
    assert record["output"]["payload_bytes"] == len("alpha" + "first hello 1" + "3")
    assert execution.published["Params"]["URL"].endswith(f"/{execution.id}.tar.gz")
    assert not (home / "results.tar.gz").exists()  # nobody wanted it yet
    with tarfile.open(kept_archive(home)) as tar:
        names = sorted(tar.getnames())
        shipped = json.load(tar.extractfile("run-record.json"))
    assert names == [
        "exitCode",
        "results",
        "results/copy.txt",
        "run-record.json",
        "stderr",
        "stdout",
    ]
    assert shipped == record
    assert list((sidecar.data / "work").iterdir()) == []


async def test_a_filecoin_publisher_stages_a_piece_with_its_commp(sidecar):
    job, execution = await ended(sidecar, wasm_job(Publisher={"Type": "filecoin"}))
    assert job.state is JobState.COMPLETED
    manifest = execution.run_record["published"]
    staged = sidecar.data / "staging" / manifest["car"]
    assert json.loads(staged.with_suffix(".json").read_text()) == manifest
    with staged.open("rb") as car:
        piece = commp(car).raised_to(1 << 20)
    assert manifest["piece_cid"] == str(piece.piece_cid)
    assert manifest["padded_size"] == 1 << 20
    assert manifest["payload_size"] == staged.stat().st_size
    assert (sidecar.data / "results" / execution.id / "files" / "stdout").exists()
    assert manifest["root_cid"] == execution.run_record["output"]["root_cid"]


async def test_an_ipfs_publisher_leaves_the_car_under_its_root(sidecar):
    _, execution = await ended(sidecar, wasm_job(Publisher={"Type": "ipfs"}))
    root = execution.published["Params"]["CID"]
    assert (sidecar.data / "cars" / f"{root}.car").exists()


FAILING = {
    "trapped": ("unreachable", "unreachable"),
    "out_of_time": ("(loop $l (br $l))", "ran longer than 1 s"),
    "out_of_memory": (
        "(loop $l (br_if $l (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable",
        "memory was full",
    ),
}


@pytest.mark.parametrize("outcome", FAILING)
async def test_a_failing_job_says_why_keeps_its_streams_and_harms_nothing(sidecar, outcome):
    body, said = FAILING[outcome]
    printing = PRINT.format(size=3000, again="")
    job, execution = await ended(
        sidecar, wasm_job(printing + body, Timeouts={"ExecutionTimeout": 1})
    )
    assert (job.state, execution.state) == (JobState.FAILED, ExecutionState.FAILED)
    assert execution.outcome == outcome
    assert said in job.message
    assert said in execution.run_output["ErrorMsg"]
    assert execution.run_output["StdoutTruncated"] is True
    assert (sidecar.data / "results" / execution.id / "files/stdout").stat().st_size == 3000
    after, _ = await ended(sidecar, wasm_job())
    assert after.state is JobState.COMPLETED


async def test_only_what_was_approved_is_run(sidecar):
    job = await sidecar.submit(
        wasm_job(
            inputs=[{"Source": {"Type": "filecoin", "Params": {"ClaimID": 7}}, "Target": "/inputs"}]
        )
    )
    other = Cid.parse("baga6ea4seaqgibr3tbf6wrfnoohvw2rdhnvcvfj2kkhbzlkrx2sxyy7hvx4m2ga")
    library = sidecar.runner._settings.context.library
    library.ref = PieceRef("claim:7", other, PaddedPieceSize(1 << 20), ClaimId(7))
    await sidecar.worker.run_once()
    job = await sidecar.queue.job(job.id)
    assert job.state is JobState.FAILED
    assert "changed since the approval: /inputs" in job.message


async def test_a_job_cannot_ask_for_more_than_the_provider_gives(sidecar):
    with pytest.raises(BadInput) as caught:
        await sidecar.submit(
            wasm_job(Resources={"Memory": "1GiB"}, Timeouts={"ExecutionTimeout": 999})
        )
    assert "Resources.Memory" in str(caught.value)
    assert "Timeouts.ExecutionTimeout" in str(caught.value)


async def test_the_bundle_names_what_will_run_and_changes_with_it(sidecar):
    first = await sidecar.submit_unapproved(wasm_job("", Env={"B": "1", "A": "2"}), "j-1")
    again = await sidecar.submit_unapproved(wasm_job("", Env={"B": "1", "A": "2"}), "j-1")
    other = await sidecar.submit_unapproved(wasm_job("nop", Env={"B": "1", "A": "2"}), "j-2")
    assert first.bundle_digest == again.bundle_digest
    assert first.bundle["env"] == {"A": "2", "B": "1"}
    assert first.bundle["module_sha256"] != other.bundle["module_sha256"]
    assert first.bundle["limits"]["memory_bytes"] == 16 << 20


DEEP_C = r"""
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
int main(void) {
    static char path[1 << 16] = "/outputs";
    int made = 0;
    while (strlen(path) + 3 < sizeof path) {
        strcat(path, "/d");
        if (mkdir(path, 0700)) break;
        made++;
    }
    symlink("a", "/outputs/link");
    printf("%d", made > 100);
}
"""


@pytest.mark.clang
@pytest.mark.skipif(not has_wasi_clang(), reason="needs clang with wasi-libc")
async def test_outputs_nested_without_end_are_refused_and_removed(sidecar, tmp_path):
    job = wasm_job(ResultPaths=[{"Name": "results", "Path": "/outputs"}])
    source = job["Tasks"][0]["InputSources"][0]["Source"]
    source["Params"]["URL"] = data_url(compile_c(tmp_path, DEEP_C).module.read_bytes())
    job, execution = await ended(sidecar, job)
    assert job.state is JobState.FAILED
    assert execution.outcome in {"out_of_disk", "output_refused"}
    home = sidecar.data / "results" / execution.id / "files"
    assert sorted(path.name for path in home.iterdir()) == ["exitCode", "stderr", "stdout"]
    assert list((sidecar.data / "work").iterdir()) == []


async def test_a_running_job_can_be_stopped(sidecar):
    job = await sidecar.submit(wasm_job(SLEEP))
    run = asyncio.create_task(sidecar.worker.run_once())
    await asyncio.sleep(0.6)
    await sidecar.queue.stop(job.id, "enough")
    await asyncio.wait_for(run, 10)
    job = await sidecar.queue.job(job.id)
    assert (job.state, job.message) == (JobState.STOPPED, "stopped: enough")


async def test_shutting_down_queues_the_running_job_again(sidecar):
    job = await sidecar.submit(wasm_job(SLEEP))
    stop = asyncio.Event()
    run = asyncio.create_task(sidecar.worker.run(stop))
    await asyncio.sleep(0.6)
    stop.set()
    await asyncio.wait_for(run, 10)
    job = await sidecar.queue.job(job.id)
    assert (job.state, job.attempts) == (JobState.QUEUED, 0)


KILLED = """
import asyncio, sys
from pathlib import Path
from tests.integration.jobs.parts import Sidecar
async def main():
    sidecar = Sidecar(Path(sys.argv[1]))
    sidecar.runner.clean()
    await sidecar.queue.release_node("n-1")
    await sidecar.worker.run(asyncio.Event())
asyncio.run(main())
"""


async def test_a_job_of_a_killed_sidecar_is_run_again_and_ends_once(tmp_path):
    sidecar = Sidecar(tmp_path, rules=QueueRules(lease_seconds=300))
    await sidecar.create_tables()
    sleep_half = SLEEP.replace("30000000000", "800000000")
    job = await sidecar.submit(wasm_job(sleep_half))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, str(tmp_path), cwd=Path.cwd(), env=os.environ
    )
    try:
        for _ in range(300):
            await asyncio.sleep(0.05)
            found = await sidecar.queue.executions_of(job.id)
            if found and found[0].state is ExecutionState.RUNNING:
                break
        assert found[0].state is ExecutionState.RUNNING
    finally:
        process.kill()
        await process.wait()
    assert (await sidecar.queue.job(job.id)).state is JobState.RUNNING
    sidecar.runner.clean()
    assert await sidecar.queue.release_node("n-1") == [job.id]
    assert await sidecar.worker.run_once()
    job = await sidecar.queue.job(job.id)
    assert (job.state, job.attempts) == (JobState.COMPLETED, 2)
    first, second = await sidecar.queue.executions_of(job.id)
    assert (first.state, second.state) == (ExecutionState.FAILED, ExecutionState.COMPLETED)
    assert [p.name for p in (tmp_path / "results").iterdir()] == [second.id]
    assert list((tmp_path / "work").iterdir()) == []
    await sidecar.close()


def test_each_engine_keeps_as_much_of_the_streams_as_it_was_given(tmp_path):
    sidecar = Sidecar(tmp_path)
    settings = replace(sidecar.runner._settings, stream_bytes={"docker": 100})
    preparer = Preparer(sidecar.kinds, sidecar.programs, settings)
    limits = {"memory_bytes": 1, "timeout_seconds": 1, "cpu_millis": 1, "disk_bytes": 1}
    assert preparer.limits({"engine": "docker", "limits": limits}).stream_bytes == 100
    assert preparer.limits({"engine": "wasm", "limits": limits}).stream_bytes == 1 << 20
