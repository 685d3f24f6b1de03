"""What lotus-miner and Curio say of their work, and what is made of an answer that is none."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotus_client.errors import LotusDecodeError, LotusUnavailable
from lotus_client.miner_client import MinerClient, WorkerJob, WorkerLoad
from sp_plugin.guard import miner_eye
from sp_plugin.guard.host_eye import HostEye
from sp_plugin.guard.miner_eye import MinerEye, Word, word_of_metrics
from sp_plugin.guard.processes import ProcessEye
from sp_plugin.guard.sights import Activity

WINDOW = "post/v0/windowproof"
# Shapes of Lotus' OpenRPC document (miner), with two workers.
JOBS = {
    "ef8d99a2-6865-4189-8ffa-9fef0f806eee": [
        {
            "ID": {
                "Sector": {"Miner": 1000, "Number": 100},
                "ID": "76081ba0-61bd-45a5-bc08-af05f1c26e5d",
            },
            "Sector": {"Miner": 1000, "Number": 100},
            "Task": "seal/v0/precommit/2",
            "RunWait": 0,
            "Start": "2020-11-12T09:22:07Z",
            "Hostname": "host",
        },
        {
            "ID": {},
            "Sector": {},
            "Task": "seal/v0/commit/2",
            "RunWait": 2,
            "Start": "",
            "Hostname": "",
        },
    ],
    "00000000-0000-0000-0000-000000000000": None,
}


def stats(**changes):
    worker = {
        "Info": {"Hostname": "host", "Resources": {}},
        "Tasks": [WINDOW],
        "Enabled": True,
        "MemUsedMin": 0,
        "MemUsedMax": 0,
        "GpuUsed": 0,
        "CpuUse": 0,
        "TaskCounts": None,
    }
    return {"ef8d99a2-6865-4189-8ffa-9fef0f806eee": worker | changes}


class Wire:
    """The transport of a miner that gives these answers."""

    def __init__(self, jobs, loads) -> None:
        self._answers = {"Filecoin.WorkerJobs": jobs, "Filecoin.WorkerStats": loads}

    async def call(self, method, params):
        answer = self._answers[method]
        if isinstance(answer, Exception):
            raise answer
        return answer


async def word(jobs, loads) -> Word:
    return await MinerEye(MinerClient(Wire(jobs, loads)), "host").look()


async def test_a_sealing_worker_here_is_at_work_and_one_elsewhere_is_not():
    found = await word(JOBS, {})
    assert (found.sealing, found.proving, found.heard) == (Activity.BUSY, None, True)
    assert "seal/v0/precommit/2" in found.text
    assert "commit/2" not in found.text.replace("precommit/2", "")  # it waits
    elsewhere = MinerEye(MinerClient(Wire(JOBS, {})), "another")
    assert (await elsewhere.look()).sealing is Activity.IDLE


@pytest.mark.parametrize(
    ("changes", "proving"),
    [
        ({}, Activity.IDLE),
        ({"TaskCounts": {f"{WINDOW}(8)": 1}}, Activity.BUSY),
        ({"TaskCounts": {f"{WINDOW}(8)": 0}}, Activity.IDLE),
        ({"TaskCounts": {"post/v0/winningproof(8)": 1}, "MemUsedMin": 9}, Activity.IDLE),
        ({"MemUsedMin": 34359738368, "GpuUsed": 1}, Activity.BUSY),
        ({"GpuUsed": 0.5}, Activity.BUSY),
        ({"Enabled": False}, None),
        ({"Tasks": ["seal/v0/commit/2"]}, None),
        ({"Tasks": None}, None),
        ({"Info": {"Hostname": "another"}}, None),
    ],
)
async def test_a_post_worker_of_this_host_tells_whether_it_proves(changes, proving):
    assert (await word({}, stats(**changes))).proving is proving


@pytest.mark.parametrize(
    ("jobs", "loads"),
    [
        (LotusUnavailable("connection refused"), {}),
        (LotusDecodeError("$", "missing permission to invoke 'WorkerJobs' (need 'admin')"), {}),
        ([1, 2], {}),
        ({"a": [{"Task": 7, "RunWait": 0}]}, {}),
        ({}, {"a": {"Enabled": True}}),
        ({}, {"a": 3}),
    ],
)
async def test_a_miner_that_does_not_tell_is_unknown_and_why_is_said(jobs, loads):
    found = await word(jobs, loads)
    assert (found.heard, found.proving, found.sealing) == (False, None, None)
    assert found.text.startswith("lotus-miner's WorkerJobs: ")
    assert len(found.text) <= 300


async def test_a_miner_that_hangs_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(miner_eye, "_SECONDS", 0.05)

    class Hangs:
        async def worker_jobs(self):
            await asyncio.Event().wait()

        worker_loads = worker_jobs

    assert not (await MinerEye(Hangs(), "host").look()).heard


def test_jobs_and_loads_are_values():
    assert WorkerJob("seal/v0/fetch", "", 1).is_running is False
    assert WorkerLoad("h", (WINDOW,), (), takes_resources=True).is_at(WINDOW)


PAGE = """\
# HELP curio_harmonytask_active_tasks Current number of active tasks.
# TYPE curio_harmonytask_active_tasks gauge
curio_harmonytask_active_tasks{task_name="SDR"} 2
curio_harmonytask_active_tasks{task_name="SendMessage"} 1
curio_harmonytask_active_tasks{task_name="WdPost"} %d
# TYPE curio_harmonytask_tasks_completed counter
curio_harmonytask_tasks_completed{task_name="WdPost"} 12
"""


@pytest.mark.parametrize(("count", "proving"), [(3, Activity.BUSY), (0, Activity.IDLE)])
def test_curios_page_tells_of_proving_and_sealing(count, proving):
    found = word_of_metrics(PAGE % count)
    assert (found.proving, found.sealing) == (proving, Activity.BUSY)
    assert "SDR" in found.text
    assert "SendMessage" not in found.text


def test_a_task_that_never_ran_since_curios_start_is_idle():
    page = 'curio_harmonytask_tasks_completed{task_name="SDR"} 1\n'
    found = word_of_metrics(page)
    assert (found.heard, found.proving, found.sealing) == (True, Activity.IDLE, Activity.IDLE)


@pytest.mark.parametrize("page", ["", "go_goroutines 7\n", "<html>", 'a{b="c" 3', "a b c\n"])
def test_a_page_that_is_not_curios_is_unknown(page):
    found = word_of_metrics(page)
    assert (found.heard, found.proving) == (False, None)


@given(st.text())
def test_no_page_makes_it_fail(page):
    word_of_metrics(page)
    word_of_metrics(PAGE % 1 + page)


class Says:
    def __init__(self, *answers: Word) -> None:
        self._answers = list(answers)

    async def look(self) -> Word:
        return self._answers[0]


async def test_the_providers_own_word_goes_before_what_processes_look_like(tmp_path):
    (tmp_path / "proc").mkdir()
    quiet = Says(Word("says so", Activity.IDLE, Activity.BUSY))
    deaf = Says(Word("no answer", heard=False))
    eye = HostEye(tmp_path, ProcessEye(tmp_path / "proc"), [quiet, deaf])
    found = await eye.look()
    assert (found.proving, found.sealing) == (Activity.IDLE, Activity.BUSY)
    assert found.seen == ("says so",)
    assert [text.partition(" ")[0] for text in found.unseen] == ["no", "no"]
    assert found.disk_free_bytes
    busy = Says(Word("proves", Activity.BUSY, None))
    assert (await HostEye(tmp_path, tellers=[quiet, busy]).look()).proving is Activity.BUSY


async def test_a_host_that_shows_nothing_is_unknown_and_says_what_would_help(tmp_path):
    found = await HostEye(tmp_path, ProcessEye(tmp_path)).look()
    assert (found.proving, found.sealing, found.seen) == (None, None, ())
    assert "guard.curio_metrics_url" in found.unseen[-1]
