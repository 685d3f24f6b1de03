"""Runs that are over and whose results are kept, but not published yet: what a later attempt needs to publish and not run again.

A file by job in a directory of its own, written before the first try to publish and removed once it worked. A sidecar that is
killed in between, or a server that was away, costs no second run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, Self

import structlog

from lotus_client.cid import Cid, CidError
from sp_plugin.executors.base import ExecutionOutcome
from sp_plugin.jobs.outputs import PackedResults
from sp_plugin.store.jobs import Lease

__all__ = ["FinishedRun", "UnpublishedRuns", "finished_run", "run_output"]

_SCHEMA: Final = "sp-plugin/unpublished/1"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """How a run ended. Its results are in `<results>/<execution_id>`; `ran_as` is the execution that ran it."""

    job_id: str
    execution_id: str
    ran_as: str
    bundle_digest: str | None
    root: str
    payload_bytes: int
    record: Mapping[str, Any]  # without `published` and signature
    exit_code: int | None
    run_output: Mapping[str, Any]
    message: str
    ended_at: int  # Unix nanoseconds
    usage_counted: bool = False  # an earlier report has counted it against the submitter's share
    moved_from: str | None = None  # where the results were before, if they may be there still

    @classmethod
    def from_json(cls, values: Any) -> Self:
        """The run in the values of its file.

        Raises:
            ValueError, TypeError, KeyError: it is not one.
        """
        if values.pop("schema") != _SCHEMA:
            raise ValueError("another schema")
        run = cls(**values)
        Cid.parse(run.root)
        return run


_FIELDS: Final = tuple(field.name for field in fields(FinishedRun))


def finished_run(
    lease: Lease,
    packed: PackedResults,
    outcome: ExecutionOutcome,
    record: Mapping[str, Any],
    *,
    message: str,
    ended_at: int,
) -> FinishedRun:
    """A run that ended just now, under its own execution."""
    return FinishedRun(
        job_id=lease.job.id,
        execution_id=lease.execution_id,
        ran_as=lease.execution_id,
        bundle_digest=lease.job.bundle_digest,
        root=str(packed.root),
        payload_bytes=packed.payload_bytes,
        record=record,
        exit_code=outcome.exit_code,
        run_output=run_output(outcome, ""),
        message=message,
        ended_at=ended_at,
    )


def run_output(outcome: ExecutionOutcome, error: str) -> dict[str, Any]:
    """Bacalhau's RunOutput; `error` is empty for a finished run."""
    return {
        "Stdout": outcome.stdout.head,
        "StdoutTruncated": outcome.stdout.is_longer_than_head,
        "stderr": outcome.stderr.head,
        "StderrTruncated": outcome.stderr.is_longer_than_head,
        "ExitCode": -1 if outcome.exit_code is None else outcome.exit_code,
        "ErrorMsg": error,
    }


class UnpublishedRuns:
    """The files in `directory`, about results in `results_dir`."""

    def __init__(self, directory: Path, results_dir: Path) -> None:
        self._directory = directory
        self._results = results_dir

    def save(self, run: FinishedRun) -> None:
        """Keep it: it outlives this process from now on. A power cut may lose it, and then the job is run again.

        Raises:
            OSError: it cannot be written.
        """
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._path(run.job_id)
        temporary = path.with_name(path.name + ".tmp")
        temporary.write_text(
            json.dumps({"schema": _SCHEMA} | {name: getattr(run, name) for name in _FIELDS})
        )
        temporary.rename(path)

    def forget(self, job_id: str) -> None:
        """It is published, or will never be."""
        self._path(job_id).unlink(missing_ok=True)

    def take(self, lease: Lease) -> FinishedRun | None:
        """What an earlier attempt at the leased job left, its results moved to this execution; None if there is nothing.

        Raises:
            OSError: it is there and cannot be moved.
        """
        run = self._load(lease.job.id)
        if run is None:
            return None
        places = [name for name in (run.execution_id, run.moved_from) if name is not None]
        home = next((self._results / name for name in places if self._is_whole(name, run)), None)
        if home is None or run.bundle_digest != lease.job.bundle_digest:
            log.warning("unpublished_results_gone", job_id=run.job_id, execution_id=run.ran_as)
            self.forget(run.job_id)
            return None
        moved = replace(run, execution_id=lease.execution_id, moved_from=home.name)
        self.save(moved)  # first, so that both names are known whenever this is interrupted
        if home.name != lease.execution_id:
            home.rename(self._results / lease.execution_id)
        return moved

    def tidy(self) -> None:
        """Forget runs whose results are gone, and what was half written. Call it at the start."""
        for path in self._directory.glob("*.tmp"):
            path.unlink(missing_ok=True)
        for path in self._directory.glob("*.json"):
            run = self._load(path.stem)
            names = () if run is None else (run.execution_id, run.moved_from)
            if not any(name and (self._results / name).is_dir() for name in names):
                path.unlink(missing_ok=True)

    def _load(self, job_id: str) -> FinishedRun | None:
        try:
            return FinishedRun.from_json(json.loads(self._path(job_id).read_text()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError, CidError, AttributeError) as error:
            log.warning("unpublished_run_unreadable", job_id=job_id, error=str(error))
            return None

    def _is_whole(self, name: str, run: FinishedRun) -> bool:
        """Whether the results packed there are those of the run."""
        home = self._results / name
        try:
            size = (home / "results.car").stat().st_size
        except OSError:
            return False
        return (home / "files").is_dir() and size == (run.record.get("output") or {}).get(
            "car_bytes"
        )

    def _path(self, job_id: str) -> Path:
        return self._directory / f"{job_id}.json"
