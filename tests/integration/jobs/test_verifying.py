"""Jobs that ask to be run again to check: equal runs count, unequal ones void the job."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from fil_plus.bundle import BundleError
from lotus_client.crypto import Secp256k1Key
from sp_plugin.executors.base import OutcomeKind
from sp_plugin.jobs.records import check_record
from sp_plugin.jobs.states import ExecutionState, JobState
from sp_plugin.store.jobs import ExecutionResult
from sp_plugin.store.submitters import shares_of
from tests.integration.jobs.parts import Sidecar, wasm_job

CLOCK = """(module
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (drop (call $clock (i32.const 0) (i64.const 1) (i32.const 16)))
    (i32.store (i32.const 0) (i32.const 16)) (i32.store (i32.const 4) (i32.const 8))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"""
KEY = Secp256k1Key(b"\1" * 32)


@pytest.fixture
async def sidecar(tmp_path: Path):
    made = Sidecar(tmp_path, record_key=KEY)
    await made.create_tables()
    yield made
    for executor in made.executors.values():
        await executor.close()
    await made.close()


async def ended(sidecar, values, **meta):
    job = await sidecar.submit(
        values | {"Meta": {f"filecoin.{key}": text for key, text in meta.items()}}
    )
    assert await sidecar.worker.run_once()
    (execution,) = await sidecar.queue.executions_of(job.id)
    return await sidecar.queue.job(job.id), execution


async def test_equal_runs_complete_and_the_record_shows_them_all(sidecar):
    job, execution = await ended(sidecar, wasm_job("(call $exit (i32.const 3))"), verify="2")
    assert (job.state, execution.exit_code) == (JobState.COMPLETED, 3)
    assert job.bundle["schema"] == "sp-plugin/bundle/2"
    record = execution.run_record
    assert record["verification"]["is_equal"]
    runs = record["verification"]["runs"]
    assert len(runs) == 3
    assert runs[0] == runs[1] == runs[2]
    assert runs[0]["output_root"] == record["output"]["root_cid"]
    assert runs[0]["fuel"] == record["usage"]["fuel"] > 0
    assert check_record(record) == KEY.address
    assert list((sidecar.data / "work").iterdir()) == []


async def test_a_program_that_prints_the_time_is_void_and_nothing_is_published(sidecar):
    values = wasm_job(module=CLOCK, Publisher={"Type": "filecoin"})
    job, execution = await ended(sidecar, values, verify="1")
    assert (job.state, execution.state) == (JobState.FAILED, ExecutionState.FAILED)
    assert execution.outcome == OutcomeKind.UNVERIFIED
    assert "differs from the first: output_root" in job.message
    assert not execution.run_record["verification"]["is_equal"]
    assert not (sidecar.data / "staging").exists()
    history = await sidecar.queue.history(job.id)
    assert any("differs from the first" in item.message for item in history)
    assert (sidecar.data / "results" / execution.id / "files/stdout").stat().st_size == 8


async def test_runs_to_check_count_against_the_quota(sidecar):
    busy = "(local $i i64) (loop $l (local.set $i (i64.add (local.get $i) (i64.const 1)))"
    busy += " (br_if $l (i64.lt_u (local.get $i) (i64.const 60000000))))"
    _, execution = await ended(sidecar, wasm_job(busy), verify="2")
    record = execution.run_record
    checks, first = record["verification"]["usage"], record["usage"]
    assert checks["cpu_seconds"] > first["cpu_seconds"] > 0
    async with sidecar.store.reading() as connection:
        (share,) = (await shares_of(connection, time.time_ns())).values()
    both = int(first["cpu_seconds"] * 1000) + int(checks["cpu_seconds"] * 1000)
    assert share.compute_ms == both


async def test_the_bytes_that_runs_to_check_write_count_too(sidecar):
    done = ExecutionResult(
        state=ExecutionState.COMPLETED,
        outcome="finished",
        message="",
        run_record={
            "usage": {"cpu_seconds": 1.5, "output_bytes": 10},
            "verification": {"usage": {"cpu_seconds": 0.25, "output_bytes": 30}},
        },
    )
    await sidecar.submit(wasm_job())
    await sidecar.queue.finish(await sidecar.queue.take("n"), done)
    async with sidecar.store.reading() as connection:
        (share,) = (await shares_of(connection, time.time_ns())).values()
    assert (share.compute_ms, share.output_bytes) == (1750, 40)


async def test_the_same_program_counts_when_nobody_asks(sidecar):
    job, execution = await ended(sidecar, wasm_job(module=CLOCK))
    assert job.state is JobState.COMPLETED
    assert job.bundle["schema"] == "sp-plugin/bundle/1"
    assert execution.run_record["verification"] is None
    assert execution.run_record["usage"]["fuel"] is None


async def test_fuel_of_the_bundle_bounds_the_run(sidecar):
    job, execution = await ended(sidecar, wasm_job("(loop $l (br $l))"), fuel="100000")
    assert execution.outcome == OutcomeKind.OUT_OF_TIME
    assert "fuel" in job.message


async def test_a_record_of_a_run_that_never_began_is_signed_too(sidecar):
    job = await sidecar.submit_unapproved(wasm_job(""))
    bundle = job.bundle | {"module_sha256": "0" * 64}
    await sidecar.queue.set_bundle(job.id, job.bundle_digest, bundle)
    await sidecar.queue.admit(job.id)
    await sidecar.worker.run_once()
    (execution,) = await sidecar.queue.executions_of(job.id)
    assert execution.outcome == OutcomeKind.INPUT_CHANGED
    assert check_record(execution.run_record) == KEY.address


def test_only_wasm_can_be_counted():
    from dataclasses import replace

    from tests.unit.sp_plugin.test_policy import BUNDLE

    docker = {"engine": "docker", "module_sha256": None, "image": "sha256:" + "0" * 64}
    with pytest.raises(BundleError, match="only wasm jobs"):
        replace(BUNDLE, **docker, image_kind="local", verify=1)
