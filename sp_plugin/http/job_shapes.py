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

__all__ = ["execution_json", "history_json", "job_json"]

# Before v1.6 two states fewer came before Completed.
_OLD_NUMBERS: Final = {
    ExecutionState.RUNNING: 5,
    ExecutionState.PUBLISHING: 5,
    ExecutionState.COMPLETED: 7,
    ExecutionState.FAILED: 8,
    ExecutionState.CANCELLED: 9,
}


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
        "Signer": job.signer or "",
    }


def execution_json(
    execution: ExecutionRecord, job: JobRecord, *, old_numbers: bool = False
) -> dict[str, Any]:
    """An execution of the job as clients read it."""
    return {
        "ID": execution.id,
        "Namespace": job.namespace,
        "EvalID": "",
        "Name": "",
        "NodeID": execution.node_id,
        "JobID": execution.job_id,
        "JobVersion": 1,
        "AllocatedResources": {"Tasks": _allocated(job)},
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


def _allocated(job: JobRecord) -> dict[str, Any]:
    """CPUs as a number, memory and disk in bytes, by task; what the approved bundle grants."""
    limits = (job.bundle or {}).get("limits")
    tasks = job.spec.get("Tasks")
    if not limits or not tasks:
        return {}
    return {
        tasks[0]["Name"]: {
            "CPU": limits["cpu_millis"] / 1000,
            "Memory": limits["memory_bytes"],
            "Disk": limits["disk_bytes"],
        }
    }


def history_json(item: HistoryItem, *, old_numbers: bool = False) -> dict[str, Any]:
    """A history item with the state objects that clients before v1.5 dereference."""
    at = _rfc3339(item.at)
    common: dict[str, Any] = {
        "SeqNum": item.seq,
        "JobID": item.job_id,
        "JobVersion": 1,
        "ExecutionID": item.execution_id or "",
        "NodeID": item.details.get("NodeID", ""),
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
