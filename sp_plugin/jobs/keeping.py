"""What a run left, looked through and packed where it stays, with a record of the run beside it.

A few small files are packed at once: in a thread, each of some twenty calls of the system would wait for the interpreter that
other jobs keep busy, and they for it. Only the wait for the disk is always a thread's.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from lotus_client.types import Epoch
from sp_plugin.executors.base import ExecutionOutcome, ExecutionRequest, OutcomeKind
from sp_plugin.jobs.brought import note_brought
from sp_plugin.jobs.outputs import (
    OutputRefused,
    OutputTooLarge,
    PackedResults,
    check_outputs,
    pack_results,
    write_exit_code,
)
from sp_plugin.jobs.preparing import Prepared, RunSettings
from sp_plugin.jobs.publishing import Publishing, denied_in
from sp_plugin.jobs.records import run_record
from sp_plugin.jobs.removal import remove_few, remove_now, remove_tree
from sp_plugin.jobs.states import ExecutionState
from sp_plugin.jobs.unpublished import FinishedRun, finished_run, run_output
from sp_plugin.jobs.verifying import Verification
from sp_plugin.store.jobs import ExecutionResult, Lease

__all__ = ["ResultKeeper", "state_of"]

_LITTLE_BYTES: Final = 64 << 10
_LITTLE_FILES: Final = 8
_MILLI: Final = 1_000_000  # nanoseconds of a millisecond; RFC 8785 has no numbers as large as nanoseconds of today


class ResultKeeper:
    """Keeps results. `clock` gives Unix nanoseconds."""

    def __init__(
        self, settings: RunSettings, publishing: Publishing, clock: Callable[[], int]
    ) -> None:
        self._settings = settings
        self._publishing = publishing
        self._clock = clock

    async def keep(
        self,
        lease: Lease,
        prepared: Prepared,
        outcome: ExecutionOutcome,
        verification: Verification | None,
        *,
        started: int,
        epoch: Epoch,
    ) -> ExecutionResult | FinishedRun:
        """How a run ended, or one that is to be published yet; what it left is on the disk then."""
        work = partial(
            self._keep, lease, prepared, outcome, verification, started=started, epoch=epoch
        )
        if not _is_little(outcome):
            return await asyncio.to_thread(work)
        kept = work(is_little=True)
        await asyncio.to_thread(_sync, self._home(lease.execution_id) / "results.car")
        return kept

    def _home(self, execution_id: str) -> Path:
        return self._settings.publishing.results_dir / execution_id

    def _keep(
        self,
        lease: Lease,
        prepared: Prepared,
        outcome: ExecutionOutcome,
        verification: Verification | None,
        *,
        started: int,
        epoch: Epoch,
        is_little: bool = False,
    ) -> ExecutionResult | FinishedRun:
        kind, message = outcome.kind, outcome.message
        if verification is not None:
            kind, message = verification.kind, verification.message
        packed: PackedResults | None = None
        try:
            packed = self._pack(
                self._home(lease.execution_id),
                prepared.request,
                outcome.exit_code,
                sync=not is_little,
            )
            if prepared.spec.task.publisher.kind == "filecoin":
                note_brought(packed.car.parent, prepared.inputs)
        except OutputTooLarge as error:
            kind, message = _first_fault(kind, message, OutcomeKind.OUT_OF_DISK, str(error))
        except OutputRefused as error:
            kind, message = _first_fault(kind, message, OutcomeKind.OUTPUT_REFUSED, str(error))
        except OSError as error:
            kind, message = _first_fault(kind, message, OutcomeKind.PUBLISH_FAILED, str(error))
        if prepared.request.work_dir is not None:
            (remove_few if is_little else remove_now)(prepared.request.work_dir)
        if kind is OutcomeKind.FINISHED and outcome.exit_code:
            message = f"the program ended with exit code {outcome.exit_code}"
        ended = self._clock()
        record = run_record(lease, prepared.bundle, prepared.inputs, outcome, packed)
        record |= {"epoch": epoch, "outcome": kind.value, "published": {}}
        record |= {"started_at_ms": started // _MILLI, "ended_at_ms": ended // _MILLI}
        record["verification"] = None if verification is None else verification.to_json()
        if kind is OutcomeKind.FINISHED and packed is not None:
            run = finished_run(lease, packed, outcome, record, message=message, ended_at=ended)
            try:
                return self._publishing.keep(lease, prepared.spec, run) or run
            except OSError as error:
                kind, message = OutcomeKind.PUBLISH_FAILED, f"the results cannot be kept: {error}"
                record["outcome"] = kind.value
        record = self._publishing.signed(record)
        self._publishing.lay_beside(lease.execution_id, record)
        return ExecutionResult(
            state=state_of(kind),
            outcome=kind.value,
            message=message,
            exit_code=outcome.exit_code,
            run_output=run_output(outcome, message),
            published={"Type": "", "Params": {}},
            run_record=record,
        )

    def _pack(
        self, home: Path, request: ExecutionRequest, exit_code: int | None, *, sync: bool
    ) -> PackedResults:
        """Check and move the results to `home` and pack them; refused outputs are dropped, streams are kept."""
        remove_tree(home)
        home.mkdir(parents=True)
        directories = [request.result_dir / output.name for output in request.outputs]
        refusal: OutputRefused | None = None
        try:
            check_outputs([path for path in directories if path.exists()], request.limits)
        except OutputRefused as error:
            refusal = error
            for directory in directories:
                remove_tree(directory)
        write_exit_code(request.result_dir, exit_code)
        shutil.move(request.result_dir, home / "files")
        packed = pack_results(home / "files", home / "results.car", sync=sync)
        if denied := denied_in(packed.car, self._settings.denylist()):
            refusal = OutputRefused(str(denied))
            for output in request.outputs:
                remove_tree(home / "files" / output.name)
            for stream in ("stdout", "stderr"):
                (home / "files" / stream).write_bytes(b"")
            packed = pack_results(home / "files", home / "results.car", sync=sync)
        if refusal is not None:
            raise refusal
        return packed


def _is_little(outcome: ExecutionOutcome) -> bool:
    """Whether a run left a few small files only, as far as is known."""
    usage = outcome.usage
    if usage.output_bytes is None or usage.output_files is None:
        return False
    streams = (outcome.stdout.path, outcome.stderr.path)
    size = usage.output_bytes + sum(path.stat().st_size for path in streams if path.exists())
    return size <= _LITTLE_BYTES and usage.output_files <= _LITTLE_FILES


def _sync(file: Path) -> None:
    """Wait until a file is on the disk; one that could not be made is not waited for."""
    try:
        fd = os.open(file, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def state_of(kind: OutcomeKind) -> ExecutionState:
    """The state of an execution that ended so."""
    if kind is OutcomeKind.FINISHED:
        return ExecutionState.COMPLETED
    if kind is OutcomeKind.CANCELLED:
        return ExecutionState.CANCELLED
    return ExecutionState.FAILED


def _first_fault(
    kind: OutcomeKind, message: str, other: OutcomeKind, other_message: str
) -> tuple[OutcomeKind, str]:
    """What went wrong first counts; a later fault only adds to a run that had finished."""
    if kind is OutcomeKind.FINISHED:
        return other, other_message
    return kind, f"{message}; then {other_message}"
