"""How a run in a container ended, told from its state, its counters and what was seen. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from sp_plugin.executors.base import ExecutionLimits, OutcomeKind

__all__ = [
    "CannotStart",
    "Ending",
    "Sample",
    "is_cpu_spent",
    "is_ended_by_engine",
    "judge",
    "ran_seconds",
    "start_failed",
    "started_at",
]

_KILLED: Final = 128 + 9
_CPU_LIMIT_CODES: Final = (128 + 24, _KILLED)  # SIGXCPU, then SIGKILL a second later
# An engine that stops sends SIGTERM, then SIGKILL; one that finds a container dead, after the host was started again,
# writes 255.
_ENDED_BY_ENGINE: Final = (_KILLED, 128 + 15, 255)
_NEARLY_CPU_SECONDS: Final = 1.0  # counters are sampled
_NEARLY_FULL: Final = 0.95  # of the memory limit, when last seen


class CannotStart(Exception):
    """A run that did not begin; `kind` tells why."""

    def __init__(self, kind: OutcomeKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(slots=True)
class Sample:
    """The container's counters when last seen; `None` where nobody says."""

    cpu_seconds: float | None = None
    memory_bytes: int | None = None
    oom_kills: int | None = None


@dataclass(slots=True)
class Ending:
    """How a run ended, before its outputs are looked at."""

    kind: OutcomeKind
    message: str = ""
    exit_code: int | None = None
    warnings: list[str] = field(default_factory=list)


def judge(
    state: Mapping[str, Any],
    limits: ExecutionLimits,
    sample: Sample,
    *,
    was_away: bool,
    tells_oom: bool = True,
) -> Ending:
    """The ending of a container that nobody of us killed; `was_away`: the engine did not answer for a while before it.

    `OOMKilled` is set when any process of the container was killed for memory, so a program that went on to end with 0
    has finished. Docker on cgroup v2 and Podman do not always set it: then the cgroup's own counter decides. With `tells_oom` off the
    engine never does, and the counter may be gone with the container: then a kill in a full memory counts.
    """
    code = int(state["ExitCode"])
    if state.get("OOMKilled") or sample.oom_kills:
        note = f"a process was killed for taking more than {limits.memory_bytes} bytes of memory"
        if code != 0:
            return Ending(OutcomeKind.OUT_OF_MEMORY, note)
        return Ending(OutcomeKind.FINISHED, "", 0, [note])
    if code in _CPU_LIMIT_CODES and _is_cpu_nearly_spent(limits, sample):
        message = f"used more than {limits.cpu_seconds:g} s of CPU time"
        return Ending(OutcomeKind.OUT_OF_TIME, message)
    seconds = ran_seconds(state)
    if was_away and seconds is not None and seconds > limits.wall_seconds + 1:
        return Ending(
            OutcomeKind.OUT_OF_TIME,
            f"ran longer than {limits.wall_seconds:g} s: {seconds:.0f} s, while nobody watched it",
        )
    if was_away and code in _ENDED_BY_ENGINE:
        message = (
            f"it was ended (code {code}) while the Docker engine was away, and nobody can say why"
        )
        return Ending(OutcomeKind.RUNTIME_FAULT, message)
    if state.get("Error"):
        return Ending(OutcomeKind.RUNTIME_FAULT, f"the container failed: {state['Error']}")
    ending = Ending(OutcomeKind.FINISHED, "", code)
    if code == _KILLED and _was_nearly_full(limits, sample):
        why = "it was killed, and its memory was nearly used up when last seen"
        if not tells_oom:
            return Ending(OutcomeKind.OUT_OF_MEMORY, why)
        ending.warnings.append(why)
    elif code == _KILLED and not tells_oom:
        ending.warnings.append("it was killed, and this engine does not say whether for memory")
    return ending


def is_ended_by_engine(state: Mapping[str, Any]) -> bool:
    """Whether it ended as an engine ends its containers when it stops or starts."""
    return int(state["ExitCode"]) in _ENDED_BY_ENGINE and not state.get("OOMKilled")


def is_cpu_spent(limits: ExecutionLimits, sample: Sample) -> bool:
    """Whether it used more CPU time than it may; unknown is no."""
    return (
        limits.cpu_seconds is not None
        and sample.cpu_seconds is not None
        and sample.cpu_seconds > limits.cpu_seconds
    )


def _is_cpu_nearly_spent(limits: ExecutionLimits, sample: Sample) -> bool:
    """The last sight may be a pause earlier than the kernel's own limit."""
    return limits.cpu_seconds is not None and (
        sample.cpu_seconds is None or sample.cpu_seconds + _NEARLY_CPU_SECONDS >= limits.cpu_seconds
    )


def _was_nearly_full(limits: ExecutionLimits, sample: Sample) -> bool:
    used = sample.memory_bytes
    return used is not None and used >= _NEARLY_FULL * limits.memory_bytes


def ran_seconds(state: Mapping[str, Any]) -> float | None:
    """Seconds from its start to its end by the engine's clock; None if it did not start or goes on."""
    started, ended = _time(state.get("StartedAt")), _time(state.get("FinishedAt"))
    return None if started is None or ended is None else (ended - started).total_seconds()


def started_at(state: Mapping[str, Any]) -> datetime | None:
    """When it started by the engine's clock; None if it did not."""
    return _time(state.get("StartedAt"))


def _time(text: Any) -> datetime | None:
    """Go's RFC 3339 with nanoseconds; its zero time is none at all."""
    if not isinstance(text, str) or text.startswith("0001-") or not text:
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return None


def start_failed(words: str) -> Ending:
    """The ending of a container that the engine would not start, for its reason."""
    missing = ("executable file not found", "no such file or directory", "permission denied")
    if any(word in words.casefold() for word in missing):  # crun writes capitals
        return Ending(OutcomeKind.INVALID_PROGRAM, f"the image cannot be started: {words}")
    return Ending(OutcomeKind.RUNTIME_FAULT, f"the container cannot be started: {words}")
