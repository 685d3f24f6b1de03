from __future__ import annotations

import pytest

from sp_plugin.executors.base import ExecutionLimits, OutcomeKind
from sp_plugin.executors.docker.endings import Sample, judge, ran_seconds, start_failed

LIMITS = ExecutionLimits(memory_bytes=1000, wall_seconds=10, cpu_seconds=5)
START, END = "2026-11-25T10:00:00.5Z", "2026-11-25T10:00:04.123456789Z"


def state(code: int, **more: object) -> dict[str, object]:
    return {
        "ExitCode": code,
        "OOMKilled": False,
        "Error": "",
        "StartedAt": START,
        "FinishedAt": END,
    } | more


@pytest.mark.parametrize(
    ("seen", "sample", "was_away", "kind", "code"),
    [
        (state(0), Sample(), False, OutcomeKind.FINISHED, 0),
        (state(3), Sample(), False, OutcomeKind.FINISHED, 3),
        (state(137), Sample(cpu_seconds=0.1), False, OutcomeKind.FINISHED, 137),
        (state(137, OOMKilled=True), Sample(), False, OutcomeKind.OUT_OF_MEMORY, None),
        (state(1, OOMKilled=True), Sample(), True, OutcomeKind.OUT_OF_MEMORY, None),
        (state(137), Sample(oom_kills=1), False, OutcomeKind.OUT_OF_MEMORY, None),
        (state(0, OOMKilled=True), Sample(), False, OutcomeKind.FINISHED, 0),
        (state(137), Sample(cpu_seconds=4.5), False, OutcomeKind.OUT_OF_TIME, None),
        (state(152), Sample(cpu_seconds=5.1), False, OutcomeKind.OUT_OF_TIME, None),
        (state(137), Sample(cpu_seconds=0.1), True, OutcomeKind.RUNTIME_FAULT, None),
        (state(143), Sample(cpu_seconds=0.1), True, OutcomeKind.RUNTIME_FAULT, None),
        (state(255), Sample(), True, OutcomeKind.RUNTIME_FAULT, None),
        (state(255), Sample(), False, OutcomeKind.FINISHED, 255),
        (state(5), Sample(), True, OutcomeKind.FINISHED, 5),
        (state(128, Error="no disk"), Sample(), False, OutcomeKind.RUNTIME_FAULT, None),
    ],
)
def test_each_way_to_end_is_told_from_the_others(seen, sample, was_away, kind, code):
    ending = judge(seen, LIMITS, sample, was_away=was_away)
    assert (ending.kind, ending.exit_code) == (kind, code), ending.message


def test_a_process_killed_for_memory_in_a_run_that_finished_is_a_warning():
    ending = judge(state(0, OOMKilled=True), LIMITS, Sample(), was_away=False)
    assert "1000 bytes of memory" in ending.warnings[0]


def test_where_the_engine_does_not_tell_a_kill_in_a_full_memory_is_out_of_memory():
    full, empty = Sample(0.1, LIMITS.memory_bytes), Sample(0.1, 10)
    told = judge(state(137), LIMITS, full, was_away=False)
    assert (told.kind, len(told.warnings)) == (OutcomeKind.FINISHED, 1)
    untold = judge(state(137), LIMITS, full, was_away=False, tells_oom=False)
    assert untold.kind is OutcomeKind.OUT_OF_MEMORY
    perhaps = judge(state(137), LIMITS, empty, was_away=False, tells_oom=False)
    assert (perhaps.kind, perhaps.exit_code) == (OutcomeKind.FINISHED, 137)
    assert "does not say" in perhaps.warnings[0]


def test_what_ran_too_long_while_nobody_watched_is_out_of_time():
    late = state(0, FinishedAt="2026-11-25T10:00:31Z")
    assert judge(late, LIMITS, Sample(), was_away=True).kind is OutcomeKind.OUT_OF_TIME
    assert judge(late, LIMITS, Sample(), was_away=False).kind is OutcomeKind.FINISHED


@pytest.mark.parametrize(
    ("started", "ended", "seconds"),
    [
        (START, END, 3.623456),
        (START, "2026-11-25T12:00:01.5+02:00", 1.0),
        (START, "0001-01-01T00:00:00Z", None),
        ("0001-01-01T00:00:00Z", END, None),
        ("", END, None),
        ("yesterday", END, None),
        (None, END, None),
    ],
)
def test_how_long_a_container_ran_is_read_from_gos_times(started, ended, seconds):
    assert ran_seconds(state(0, StartedAt=started, FinishedAt=ended)) == seconds


def test_an_image_that_cannot_start_is_told_from_an_engine_that_cannot():
    missing = 'exec: "/bin/none": stat /bin/none: no such file or directory: unknown'
    assert start_failed(missing).kind is OutcomeKind.INVALID_PROGRAM
    words = "crun: executable file `x` not found in $PATH: No such file or directory: OCI runtime attempted"
    assert start_failed(words).kind is OutcomeKind.INVALID_PROGRAM
    assert start_failed("cgroup is busy").kind is OutcomeKind.RUNTIME_FAULT
