"""Bad input through real processes: a clear message, the documented exit code, and a sidecar that keeps running."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.e2e.bad_story import PROGRAMS, BadStory, tell
from tests.e2e.command import run_command

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

CONFIG = """\
data_dir: data
node:
  endpoint: /ip4/127.0.0.1/tcp/1/http
  network: localnet
provider:
  actor: t01001
"""


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> BadStory:
    """One sidecar given everything bad."""
    return asyncio.run(tell(tmp_path_factory.mktemp("bad") / "out"))


@pytest.mark.parametrize(
    ("bad", "line", "words"),
    [
        ("node:\n  network: twice\n", 7, "node"),
        ("paymnets: {}\n", 7, "paymnets"),
        ("http:\n  port: many\n", 8, "port"),
    ],
    ids=["duplicate key", "unknown key", "wrong type"],
)
def test_a_bad_config_is_told_with_its_line_and_exit_code_2(
    tmp_path: Path, bad: str, line: int, words: str
):
    path = tmp_path / "sp-plugin.yaml"
    path.write_text(CONFIG + bad)
    done = asyncio.run(run_command("run", "--config", str(path)))
    assert done.exit_code == 2
    assert f"{path}:{line}" in done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("node", "exit_code", "words"),
    [
        ("down", 4, "cannot reach the node"),
        ("of another network", 4, "localnet"),
        ("with an admin token", 2, "admin"),
        ("with a token that may not read", 2, "read"),
        ("with a token of another node", 2, "token"),
    ],
)
def test_a_node_that_cannot_be_used_is_said_so_at_the_start(
    story: BadStory, node: str, exit_code: int, words: str
):
    done = story.starts[node]
    assert (done.exit_code, "Traceback" in done.stderr) == (exit_code, False), done.stderr
    assert words in done.stderr
    assert len(done.stderr.splitlines()) <= 3


def test_doctor_says_that_a_token_for_reading_cannot_pay(story: BadStory):
    assert story.doctor is not None
    assert story.doctor.exit_code == 1
    (line,) = [line for line in story.doctor.stdout.splitlines() if "FAIL" in line]
    assert "permission to push" in line
    assert "write" in line


@pytest.mark.parametrize(
    ("name", "state", "words"),
    [
        ("loops", "Failed", "2 s"),
        ("eats memory", "Failed", "memory was full"),
        ("floods stdout", "Completed", ""),
        ("exits 130", "Completed", "exit code 130"),
        ("is well", "Completed", ""),
        ("over damage", "Failed", "expected CommP"),
    ],
)
def test_each_program_ends_as_documented(story: BadStory, name: str, state: str, words: str):
    said = story.jobs[name]["Job"]["State"]
    assert said["StateType"] == state
    assert words in said["Message"]
    (_,) = story.jobs[name]["Executions"]["Items"]


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_sidecar_is_ready_after_each_program(story: BadStory, name: str):
    assert story.ready_after[name]


def test_the_exit_code_130_is_the_programs_own(story: BadStory):
    (execution,) = story.jobs["exits 130"]["Executions"]["Items"]
    assert execution["RunOutput"]["ExitCode"] == 130


def test_a_flood_of_output_is_cut_and_says_so(story: BadStory):
    (execution,) = story.jobs["floods stdout"]["Executions"]["Items"]
    assert execution["RunOutput"]["StdoutTruncated"]
    log = story.logs["floods stdout"]["stdout"]
    assert len(log) < (1 << 16) + 200
    assert "cut here" in log


def test_the_job_after_the_bad_ones_works(story: BadStory):
    assert story.logs["is well"]["stdout"] == "hello\n"


def test_a_piece_with_a_flipped_byte_is_refused_with_both_commitments(story: BadStory):
    piece, verify = story.damaged_piece, story.damaged_verify
    assert piece["state"] == "mismatch"
    assert piece["piece_cid"] in piece["detail"]
    assert piece["detail"].count("baga6ea4seaq") == 2
    assert verify is not None
    assert verify.exit_code == 1
    assert "mismatch" in verify.stdout


def test_a_token_without_the_scope_gets_403_and_exit_code_3(story: BadStory):
    assert (story.reader_status, story.stranger_status) == (403, 401)
    assert story.reader is not None
    assert story.reader.exit_code == 3
    assert "operate is needed" in story.reader.stderr


@pytest.mark.parametrize("command", ["job submit", "policy test"])
def test_a_job_over_a_piece_in_no_dataset_is_refused_with_exit_code_3(
    story: BadStory, command: str
):
    done = story.outside[command]
    assert done.exit_code == 3
    assert "in no dataset" in done.stdout + done.stderr


def test_a_run_whose_result_is_no_deal_is_paid_nothing(story: BadStory):
    assert story.wins > 0
    assert story.earnings["periods"]
    assert all(period["owed"] == {} for period in story.earnings["periods"])
    totals = story.statement["totals"]
    assert {totals[key] for key in ("net_accrued", "released", "due", "paid")} == {"0"}
    assert (story.plan["digest"], story.plan["lacking"]) == (None, "0")


def test_the_sidecar_ran_through_all_of_it_without_a_traceback(story: BadStory):
    assert story.is_running
    assert "Traceback" not in story.log
