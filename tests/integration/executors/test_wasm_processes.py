"""The processes behind WASM runs: one that waits and forks, none that stays behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from sp_plugin.executors.base import ExecutionLimits, ExecutorSettings, OutcomeKind
from sp_plugin.executors.wasm import WasmExecutor
from sp_plugin.jobs.retries import retry_rule
from tests.integration.executors.wasm_programs import (
    FOREVER,
    SLEEP,
    program,
    request_for,
    write_module,
)

PROC = Path("/proc")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc (Linux)")


async def test_the_process_that_forks_has_one_thread_and_little_else(executor, tmp_path):
    module = write_module(tmp_path, program("(call $exit (i32.const 3))"))
    for number in range(5):
        (tmp_path / str(number)).mkdir()
        assert (await executor.run(request_for(module, tmp_path / str(number)))).exit_code == 3
    proc = PROC / str(executor._zygote.pid)
    assert len(list((proc / "task").iterdir())) == 1
    environment = (proc / "environ").read_bytes()
    assert environment.split(b"\0")[:-1] == [b"PATH=/usr/bin:/bin", b"LANG=C.UTF-8"]
    opened = [str(fd.readlink()) for fd in (proc / "fd").iterdir()]
    assert not [name for name in opened if name.startswith("socket:")]
    maps = (proc / "maps").read_text()
    assert "_sqlite3" not in maps
    assert "_asyncio" not in maps
    assert "_socket" not in maps


async def test_runs_share_one_process_that_forks_and_each_has_its_own(executor, tmp_path):
    module = write_module(tmp_path, program(SLEEP))
    runs = [start(executor, module, tmp_path / str(number)) for number in range(3)]
    guests = await guests_of(executor, 3)
    for _ in range(200):  # a child takes its own session right after the fork
        if {stat_of(pid)[3] for pid in guests} == {str(pid) for pid in guests}:
            break
        await asyncio.sleep(0.01)
    assert {stat_of(pid)[3] for pid in guests} == {str(pid) for pid in guests}
    for run, _ in runs:
        run.cancel()
    await asyncio.gather(*(run for run, _ in runs), return_exceptions=True)
    assert children_of(executor._zygote.pid) == []


async def test_a_guest_inherits_no_open_file_and_may_not_use_the_network(executor, tmp_path):
    (run, _) = start(executor, write_module(tmp_path, program(SLEEP)), tmp_path / "run")
    (guest,) = await guests_of(executor, 1)
    for _ in range(200):  # it walls itself in right after the fork
        status = (PROC / f"{guest}/status").read_text()
        if "Seccomp:\t2" in status:
            break
        await asyncio.sleep(0.01)
    assert "Seccomp:\t2" in status
    assert "NoNewPrivs:\t1" in status
    assert os.getpriority(os.PRIO_PROCESS, guest) == 10  # a miner on this host goes first
    opened = {fd.name: str(fd.readlink()) for fd in (PROC / f"{guest}/fd").iterdir()}
    assert opened["0"] == opened["1"] == "/dev/null"
    pipes = {name: file for name, file in opened.items() if file.startswith("pipe:")}
    assert pipes.keys() == {"2", "3"}  # what the runtime says, and its report
    shared = {str(fd.readlink()) for fd in (PROC / f"{executor._zygote.pid}/fd").iterdir()
              if fd.name in ("0", "1")}  # fmt: skip
    assert shared.isdisjoint(pipes.values())
    limits = (PROC / f"{guest}/limits").read_text()
    assert "Max core file size        0" in limits
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)


async def test_cancelling_ends_a_sleeping_guest_at_once(executor, tmp_path):
    run, cancel = start(executor, write_module(tmp_path, program(SLEEP)), tmp_path / "run")
    await guests_of(executor, 1)
    cancel.set()
    outcome = await asyncio.wait_for(run, 2)
    assert outcome.kind is OutcomeKind.CANCELLED
    assert children_of(executor._zygote.pid) == []


async def test_cancelling_ends_a_compiler_at_once(executor, tmp_path):
    many = "".join(f"(func (result i32) (i32.const {i}))" for i in range(150_000))
    text = program("").removesuffix(")") + many + ")"
    run, cancel = start(executor, write_module(tmp_path, text), tmp_path / "run")
    for _ in range(400):
        if compilers := children_of(os.getpid(), "compile"):
            break
        await asyncio.sleep(0.01)
    assert compilers
    cancel.set()
    outcome = await asyncio.wait_for(run, 2)
    assert outcome.kind is OutcomeKind.CANCELLED
    assert children_of(os.getpid(), "compile") == []
    assert list((tmp_path / "cache/wasm").glob("*.tmp")) == []


async def test_a_run_whose_parent_process_is_killed_is_a_fault_to_be_tried_again(
    executor, tmp_path
):
    run, _ = start(executor, write_module(tmp_path, program(SLEEP)), tmp_path / "first")
    (guest,) = await guests_of(executor, 1)
    first = executor._zygote.pid
    os.kill(first, signal.SIGKILL)
    outcome = await asyncio.wait_for(run, 5)
    assert outcome.kind is OutcomeKind.RUNTIME_FAULT
    assert retry_rule(outcome.kind).attempts > 1
    assert "the run was lost" in outcome.message
    assert await is_gone(guest)
    (tmp_path / "again").mkdir()
    good = write_module(tmp_path / "again", program("(call $exit (i32.const 3))"))
    assert (await executor.run(request_for(good, tmp_path / "again"))).exit_code == 3
    assert executor._zygote.pid != first


async def test_closing_the_executor_leaves_no_process(executor, tmp_path):
    run, _ = start(executor, write_module(tmp_path, program(FOREVER)), tmp_path / "run")
    (guest,) = await guests_of(executor, 1)
    zygote = executor._zygote.pid
    await executor.close()
    assert (await asyncio.wait_for(run, 5)).kind is OutcomeKind.RUNTIME_FAULT
    assert await is_gone(guest)
    assert await is_gone(zygote)


async def test_what_a_killed_sidecar_left_half_made_is_removed_at_the_next_start(
    executor, tmp_path
):
    manifests, half = tmp_path / "cache/wasm/manifests", tmp_path / "cache/wasm/ab.cwasm.tmp"
    manifests.mkdir(parents=True)
    (manifests / "12-1").write_text("3\tx\n")
    half.write_bytes(b"half")
    await executor.remove_leftovers()
    assert not manifests.exists()
    assert not half.exists()


async def test_guests_die_with_a_killed_sidecar(tmp_path):
    module = write_module(tmp_path, program(SLEEP))
    (tmp_path / "results").mkdir()
    script = f"""
import asyncio, sys
from pathlib import Path
from sp_plugin.executors.base import *
from sp_plugin.executors.wasm import WasmExecutor
request = ExecutionRequest(execution_id="e", job_id="j", result_dir=Path({str(tmp_path / "results")!r}),
    program=WasmProgram(Path({str(module.module)!r}), {module.sha256!r}))
asyncio.run(WasmExecutor(ExecutorSettings(cache_dir=Path({str(tmp_path / "cache")!r}))).run(request))
"""
    sidecar = await asyncio.create_subprocess_exec(sys.executable, "-c", script)
    guests: list[int] = []
    zygotes: list[int] = []
    for _ in range(400):
        await asyncio.sleep(0.02)
        zygotes = children_of(sidecar.pid, "zygote")
        guests = children_of(zygotes[0]) if zygotes else []
        if guests and (tmp_path / "results/stdout").exists():
            break
    assert len(guests) == 1
    sidecar.kill()
    await sidecar.wait()
    assert await is_gone(zygotes[0])
    assert await is_gone(guests[0])


async def test_a_module_is_compiled_once_though_many_ask_at_the_same_time(executor, tmp_path):
    module = write_module(tmp_path, program("(call $exit (i32.const 3))"))
    for number in range(8):
        (tmp_path / str(number)).mkdir()
    runs = [executor.run(request_for(module, tmp_path / str(number))) for number in range(8)]
    assert {outcome.exit_code for outcome in await asyncio.gather(*runs)} == {3}
    (record,) = (tmp_path / "cache/wasm").glob("*.json")
    assert json.loads(record.read_text())["form"] == "module"
    module.module.unlink()  # so that only the cache can answer, also for another sidecar
    (tmp_path / "other").mkdir()
    other = WasmExecutor(ExecutorSettings(cache_dir=tmp_path / "cache"))
    assert (await other.run(request_for(module, tmp_path / "other"))).exit_code == 3
    await other.close()


@pytest.mark.parametrize("harm", ["flip", "cut", "remove", "other code"])
async def test_compiled_code_that_is_not_what_was_recorded_is_compiled_anew(
    executor, tmp_path, harm
):
    module = write_module(tmp_path, program("(call $exit (i32.const 3))"))
    await executor.run(request_for(module, tmp_path))
    (cached,) = (tmp_path / "cache/wasm").glob("*.cwasm")
    good = cached.read_bytes()
    (tmp_path / "other").mkdir()
    if harm == "other code":
        other = write_module(tmp_path / "other", program("(call $exit (i32.const 4))"))
        await executor.run(request_for(other, tmp_path / "other"))
        (theirs,) = set((tmp_path / "cache/wasm").glob("*.cwasm")) - {cached}
        cached.write_bytes(theirs.read_bytes())
    elif harm == "remove":
        cached.unlink()
    else:
        cached.write_bytes(good[:-1] + (b"" if harm == "cut" else bytes([good[-1] ^ 1])))
    (tmp_path / "second").mkdir()
    outcome = await executor.run(request_for(module, tmp_path / "second"))
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.FINISHED, 3)
    assert cached.read_bytes() == good


async def test_a_cache_that_others_can_write_is_not_used(executor, tmp_path):
    (tmp_path / "cache/wasm").mkdir(parents=True)
    (tmp_path / "cache/wasm").chmod(0o777)
    outcome = await executor.run(request_for(write_module(tmp_path, program("")), tmp_path))
    assert outcome.kind is OutcomeKind.RUNTIME_FAULT
    assert "chmod 700" in outcome.message


async def test_compiled_programs_beyond_the_size_of_the_cache_make_room(tmp_path):
    executor = WasmExecutor(ExecutorSettings(cache_dir=tmp_path / "cache", cache_bytes=1))
    for number in range(3):
        (tmp_path / str(number)).mkdir()
        module = write_module(tmp_path / str(number), program(f"(call $exit (i32.const {number}))"))
        outcome = await executor.run(request_for(module, tmp_path / str(number)))
        assert outcome.exit_code == number
    assert len(list((tmp_path / "cache/wasm").glob("*.cwasm"))) == 1
    assert len(list((tmp_path / "cache/wasm").glob("*.json"))) == 1
    await executor.close()


def stat_of(pid):
    """The fields of /proc/<pid>/stat from the state on."""
    return (PROC / f"{pid}/stat").read_text().rpartition(")")[2].split()


def start(executor, module, home):
    """A run that has begun, and what cancels it."""
    home.mkdir()
    cancel = asyncio.Event()
    limits = ExecutionLimits(memory_bytes=1 << 20, wall_seconds=30)
    return asyncio.create_task(
        executor.run(request_for(module, home, limits=limits), cancel)
    ), cancel


async def guests_of(executor, count):
    """The processes of that many guests, once they are there."""
    for _ in range(500):
        await asyncio.sleep(0.01)
        if executor._zygote is not None:
            found = children_of(executor._zygote.pid)
            if len(found) == count:
                return found
    raise AssertionError(f"there are not {count} guests")


def children_of(parent, word=""):
    """Running children (not zombies) of a process whose command has that word."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            command = (entry / "cmdline").read_bytes()
        except (OSError, NotADirectoryError):
            continue
        if int(fields[1]) == parent and fields[0] != "Z" and word.encode() in command:
            found.append(int(entry.name))
    return found


async def is_gone(pid):
    """Whether a process is gone within five seconds."""
    for _ in range(250):
        try:
            if stat_of(pid)[0] == "Z":
                return True
        except OSError:
            return True
        await asyncio.sleep(0.02)
    return False
