"""Jobs, executions and history in the JSON shapes of Bacalhau's API v1.

Source: bacalhau v1.4–v1.9 `pkg/models`, `pkg/publicapi/apimodels`. Python's clients compare keys with their case; job
states are strings, execution states are integers, `stderr` alone is lower case, and lists and maps are never null.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from sp_plugin.jobs.states import ExecutionState
from sp_plugin.store.jobs import ExecutionRecord, HistoryItem, JobRecord

__all__ = ["execution_json", "history_json", "job_json", "old_execution_numbers"]

# Before v1.6 two states fewer came before Completed.
_OLD_NUMBERS: Final = {
    ExecutionState.RUNNING: 5,
    ExecutionState.PUBLISHING: 5,
    ExecutionState.COMPLETED: 7,
    ExecutionState.FAILED: 8,
    ExecutionState.CANCELLED: 9,
}


def old_execution_numbers(client_version: str) -> bool:
    """Whether a client of this `X-Bacalhau-Git-Version` knows the execution states by their older numbers."""
    major, _, rest = client_version.removeprefix("v").partition(".")
    minor = rest.partition(".")[0]
    if not (major.isdigit() and minor.isdigit()) or (major, minor) == ("0", "0"):
        return False  # unknown or a development build: the newest
    return (int(major), int(minor)) < (1, 6)


def job_json(job: JobRecord) -> dict[str, Any]:
    """A job as clients read it: its specification, with what the server adds."""
    spec = dict(job.spec)
    for key, empty in (("Meta", {}), ("Labels", {}), ("Constraints", []), ("Tasks", [])):
        spec[key] = spec.get(key) or empty
    return spec | {
        "ID": job.id,
        "Name": job.name,
        "Namespace": job.namespace,
        "State": {"StateType": str(job.state), "Message": job.message, "Details": {}},
        "Version": 1,
        "Revision": job.revision,
        "CreateTime": job.created_at,
        "ModifyTime": job.modified_at,
    }


def execution_json(execution: ExecutionRecord, *, old_numbers: bool = False) -> dict[str, Any]:
    """An execution as clients read it."""
    return {
        "ID": execution.id,
        "Namespace": "default",
        "EvalID": "",
        "Name": "",
        "NodeID": execution.node_id,
        "JobID": execution.job_id,
        "JobVersion": 1,
        "AllocatedResources": {"Tasks": {}},
        "DesiredState": {"StateType": int(execution.desired_state), "Message": ""},
        "ComputeState": {
            "StateType": _number(execution.state, old_numbers),
            "Message": execution.message,
        },
        "PublishedResult": dict(execution.published or {"Type": ""}),
        "RunOutput": None if execution.run_output is None else dict(execution.run_output),
        "PreviousExecution": "",
        "NextExecution": "",
        "FollowupEvalID": "",
        "PartitionIndex": 0,
        "Revision": execution.revision,
        "CreateTime": execution.created_at,
        "ModifyTime": execution.modified_at,
    }


def history_json(item: HistoryItem, *, old_numbers: bool = False) -> dict[str, Any]:
    """A history item with the state objects that clients before v1.5 dereference."""
    at = _rfc3339(item.at)
    common: dict[str, Any] = {
        "SeqNum": item.seq,
        "JobID": item.job_id,
        "JobVersion": 1,
        "ExecutionID": item.execution_id or "",
        "NodeID": "",
        "NewRevision": item.seq,
        "Comment": item.message,
        "Time": at,
        "Event": {
            "Topic": item.topic,
            "Message": item.message,
            "Timestamp": at,
            "Details": dict(item.details),
        },
    }
    if item.execution_id is None:
        states: Mapping[str, Any] = {
            "Previous": item.previous_state or "Undefined",
            "New": item.new_state or item.previous_state or "Undefined",
        }
        return common | {"Type": "JobLevel", "JobState": states}
    states = {
        "Previous": _number_of_text(item.previous_state, old_numbers),
        "New": _number_of_text(item.new_state or item.previous_state, old_numbers),
    }
    return common | {"Type": "ExecutionLevel", "ExecutionState": states}


def _number(state: ExecutionState, old_numbers: bool) -> int:
    return _OLD_NUMBERS.get(state, int(state)) if old_numbers else int(state)


def _number_of_text(text: str | None, old_numbers: bool) -> int:
    return _number(ExecutionState(int(text)), old_numbers) if text and text.isdigit() else 0


def _rfc3339(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    moment = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{moment}.{rest:09d}Z"
