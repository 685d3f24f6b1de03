"""Publishing that fails has its own outcome, and trying it again never runs the program a second time."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deals.denylist import parse_denylist
from lotus_client.crypto import Secp256k1Key
from sp_plugin.jobs.params import Params
from sp_plugin.jobs.queue import QueueRules
from sp_plugin.jobs.records import check_record
from sp_plugin.jobs.retries import retry_rule
from sp_plugin.jobs.states import ExecutionState, JobState
from sp_plugin.publishers.base import PUBLISHERS, Published, PublishError, register_publisher
from sp_plugin.store.submitters import shares_of
from tests.integration.jobs.parts import Sidecar, wasm_job

KEY = Secp256k1Key(b"\1" * 32)
# Prints 16 random bytes: two runs never print the same.
RANDOM = """(module
(import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
(memory (export "memory") 1)
(func (export "_start")
  (drop (call $random (i32.const 1024) (i32.const 16)))
  (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 16))
  (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"""


class NoParams(Params):
    """None."""


class Courier:
    """A publisher that fails with each of `failures` first, and keeps what it was given."""

    params = NoParams

    def __init__(self) -> None:
        self.failures: list[Exception] = []
        self.given = []
        self.records: list[bytes] = []  # as they were sent along
        self.asked = asyncio.Event()
        self.hangs = False

    async def publish(self, params, results, context):
        self.given.append(results)
        self.records.append(results.record.read_bytes())
        self.asked.set()
        if self.hangs:
            await asyncio.sleep(600)
        if self.failures:
            raise self.failures.pop(0)
        return Published("courier", {"Root": str(results.root)}, {"by": "courier"})


@pytest.fixture
def courier() -> Iterator[Courier]:
    made: list[Courier] = []
    register_publisher("courier")(lambda: made.append(Courier()) or made[0])
    yield made[0]
    del PUBLISHERS["courier"]


@pytest.fixture
async def sidecar(tmp_path: Path, courier: Courier):
    sidecar = Sidecar(tmp_path, record_key=KEY)
    await sidecar.create_tables()
    sidecar.runner.clean()
    yield sidecar
    await sidecar.close()


def job():
    return wasm_job(module=RANDOM, Publisher={"Type": "courier"})


async def test_a_failure_that_passes_is_tried_again_in_the_same_attempt(sidecar, courier):
    courier.failures = [PublishError("away"), OSError("away, too")]
    submitted = await sidecar.submit(job())
    assert await sidecar.worker.run_once()
    (execution,) = await sidecar.queue.executions_of(submitted.id)
    assert (execution.state, execution.outcome) == (ExecutionState.COMPLETED, "finished")
    assert execution.published == {
        "Type": "courier",
        "Params": {"Root": execution.run_record["output"]["root_cid"]},
    }
    assert len(courier.given) == 3
    assert list((sidecar.data / "unpublished").iterdir()) == []


async def test_an_attempt_that_only_publishes_does_not_run_the_program_again(sidecar, courier):
    courier.failures = [PublishError("down")] * 3
    submitted = await sidecar.submit(job())
    assert await sidecar.worker.run_once()
    (first,) = await sidecar.queue.executions_of(submitted.id)
    assert (first.state, first.outcome) == (ExecutionState.FAILED, "publish_failed")
    assert "not published: down" in first.message
    waiting = await sidecar.queue.job(submitted.id)
    assert waiting.state is JobState.QUEUED

    used_before = await usage(sidecar)
    assert used_before > 0
    assert await sidecar.worker.run_once()
    done = await sidecar.queue.job(submitted.id)
    _, second = await sidecar.queue.executions_of(submitted.id)
    assert (done.state, second.outcome) == (JobState.COMPLETED, "finished")
    record = second.run_record
    assert record["output"]["root_cid"] == first.run_record["output"]["root_cid"]
    assert (record["execution_id"], record["ran_as"]) == (second.id, first.id)
    assert record["published"] == {"by": "courier"}
    check_record(record, KEY.address)
    results = sidecar.data / "results"
    assert [path.name for path in results.iterdir()] == [second.id]
    assert (results / second.id / "files" / "stdout").is_file()
    # placeholders in keys must not change between tries
    assert {(given.ran_as, given.ended_at) for given in courier.given} == {
        (first.id, courier.given[0].ended_at)
    }
    assert await usage(sidecar) == used_before  # counted once


async def usage(sidecar: Sidecar) -> int:
    async with sidecar.store.reading() as connection:
        shares = await shares_of(connection, sidecar.queue._clock())
    return sum(share.compute_ms for share in shares.values())


async def test_a_failure_that_stays_is_not_tried_again_in_vain(sidecar, courier):
    attempts = retry_rule("publish_failed").attempts
    courier.failures = [PublishError("no such bucket", again=False)] * attempts
    submitted = await sidecar.submit(job())
    for _ in range(attempts):
        assert await sidecar.worker.run_once()
    assert not await sidecar.worker.run_once()
    done = await sidecar.queue.job(submitted.id)
    assert (done.state, done.message) == (
        JobState.FAILED,
        "results are kept, but not published: no such bucket",
    )
    assert len(courier.given) == attempts  # once in each
    executions = await sidecar.queue.executions_of(submitted.id)
    assert len({item.run_record["output"]["root_cid"] for item in executions}) == 1
    home = sidecar.data / "results" / executions[-1].id
    assert (home / "files" / "stdout").stat().st_size == 16


async def test_a_job_that_is_stopped_is_not_published_any_more(sidecar, courier):
    courier.failures = [PublishError("down")] * 100
    sidecar.runner._publishing._pauses = (60.0,)
    submitted = await sidecar.submit(job())
    run = asyncio.create_task(sidecar.worker.run_once())
    await asyncio.wait_for(courier.asked.wait(), 20)
    await sidecar.queue.stop(submitted.id, "enough")
    await asyncio.wait_for(run, 10)
    assert (await sidecar.queue.job(submitted.id)).state is JobState.STOPPED
    assert len(courier.given) == 1


async def test_a_job_that_is_stopped_does_not_wait_for_a_slow_server(sidecar, courier):
    courier.hangs = True
    submitted = await sidecar.submit(job())
    run = asyncio.create_task(sidecar.worker.run_once())
    await asyncio.wait_for(courier.asked.wait(), 20)
    await sidecar.queue.stop(submitted.id, "enough")
    await asyncio.wait_for(run, 10)
    assert (await sidecar.queue.job(submitted.id)).state is JobState.STOPPED
    (execution,) = await sidecar.queue.executions_of(submitted.id)
    assert execution.message.endswith("not published: the job was stopped meanwhile")


async def test_what_is_on_a_denylist_by_now_is_not_published_later(sidecar, courier):
    courier.failures = [PublishError("down")] * 3
    submitted = await sidecar.submit(job())
    assert await sidecar.worker.run_once()
    root = courier.given[0].root
    parse_denylist([f"/ipfs/{root}"], "bad.deny", sidecar.denylist)
    assert await sidecar.worker.run_once()
    done = await sidecar.queue.job(submitted.id)
    assert done.state is JobState.FAILED
    assert done.message == f"{root} is on the denylist bad.deny:1: refused"
    assert len(courier.given) == 3
    assert list((sidecar.data / "unpublished").iterdir()) == []


@pytest.mark.parametrize("damage", ["no results", "half a CAR", "no file", "nonsense", "another"])
async def test_results_that_are_gone_or_damaged_mean_a_new_run(sidecar, courier, damage):
    courier.failures = [PublishError("down")] * 3
    submitted = await sidecar.submit(job())
    assert await sidecar.worker.run_once()
    (first,) = await sidecar.queue.executions_of(submitted.id)
    home, note = sidecar.data / "results" / first.id, next((sidecar.data / "unpublished").iterdir())
    match damage:
        case "no results":
            home.rename(home.with_name("elsewhere"))
        case "half a CAR":
            (home / "results.car").write_bytes((home / "results.car").read_bytes()[:-10])
        case "no file":
            note.unlink()
        case "nonsense":
            note.write_text('{"schema": 7')
        case "another":
            note.write_text(json.dumps({**json.loads(note.read_text()), "bundle_digest": "00"}))
    assert await sidecar.worker.run_once()
    _, second = await sidecar.queue.executions_of(submitted.id)
    assert second.outcome == "finished"
    assert "ran_as" not in second.run_record
    assert second.run_record["output"]["root_cid"] != first.run_record["output"]["root_cid"]


async def test_notes_about_results_that_are_gone_are_removed_at_the_start(sidecar, courier):
    courier.failures = [PublishError("down")] * 3
    await sidecar.submit(job())
    assert await sidecar.worker.run_once()
    (note,) = (sidecar.data / "unpublished").iterdir()
    sidecar.runner.clean()
    assert note.exists()
    for home in (sidecar.data / "results").iterdir():
        home.rename(sidecar.data / home.name)
    sidecar.runner.clean()
    assert not note.exists()


async def test_killed_between_publishing_and_its_report_it_is_published_again_and_equal(
    sidecar, courier
):
    submitted = await sidecar.submit(job())
    first = await sidecar.queue.take("n-1")
    assert first is not None

    async def nothing(_state: ExecutionState, _message: str) -> None:
        return None

    result = await sidecar.runner.run(first, asyncio.Event(), nothing)
    assert result.outcome == "finished"  # and nobody hears of it
    sent = courier.given[0].record.read_bytes()
    sidecar.runner.clean()
    assert await sidecar.queue.release_node("n-1") == [submitted.id]
    assert await sidecar.worker.run_once()
    assert (await sidecar.queue.job(submitted.id)).state is JobState.COMPLETED
    again = courier.given[1]
    assert (again.ran_as, again.root) == (first.execution_id, courier.given[0].root)
    home = sidecar.data / "results" / again.execution_id
    assert courier.records == [sent, sent]
    # now that it is over, the record says where the results went
    assert json.loads((home / "run-record.json").read_text())["published"] == {"by": "courier"}
    assert list((sidecar.data / "unpublished").iterdir()) == []


KILLED = """
import asyncio, sys
from pathlib import Path
from sp_plugin.jobs.params import Params
from sp_plugin.publishers.base import register_publisher
class NoParams(Params): pass
@register_publisher("courier")
class Hangs:
    params = NoParams
    async def publish(self, params, results, context):
        (Path(sys.argv[1]) / "publishing").touch()
        await asyncio.sleep(600)
async def main():
    from tests.integration.jobs.parts import Sidecar
    sidecar = Sidecar(Path(sys.argv[1]))
    sidecar.runner.clean()
    await sidecar.worker.run(asyncio.Event())
asyncio.run(main())
"""


async def test_a_sidecar_killed_while_it_publishes_goes_on_there(tmp_path: Path, courier: Courier):
    sidecar = Sidecar(tmp_path, rules=QueueRules(lease_seconds=300), record_key=KEY)
    await sidecar.create_tables()
    submitted = await sidecar.submit(job())
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, str(tmp_path), cwd=Path.cwd(), env=os.environ
    )
    try:
        for _ in range(600):
            if (tmp_path / "publishing").exists():
                break
            await asyncio.sleep(0.05)
    finally:
        process.kill()
        await process.wait()
    (killed,) = (tmp_path / "results").iterdir()
    stdout = (killed / "files" / "stdout").read_bytes()
    sidecar.runner.clean()
    assert await sidecar.queue.release_node("n-1") == [submitted.id]
    assert await sidecar.worker.run_once()
    done = await sidecar.queue.job(submitted.id)
    assert done.state is JobState.COMPLETED
    _, second = await sidecar.queue.executions_of(submitted.id)
    assert second.run_record["ran_as"] == killed.name
    assert second.run_record["usage_counted"] is False  # nobody had counted it yet
    assert (tmp_path / "results" / second.id / "files" / "stdout").read_bytes() == stdout
    await sidecar.close()
