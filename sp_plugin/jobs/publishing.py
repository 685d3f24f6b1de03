"""Publishing what a finished run left, with patience: a failure here costs no second run.

Results that go elsewhere take a signed record of the run along, made before (it cannot say where they went); the record that is
kept says that, too.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import structlog

from deals.car import CarReader
from deals.denylist import Denied, Denylist
from lotus_client.cid import Cid
from lotus_client.crypto import Secp256k1Key
from sp_plugin.executors.base import OutcomeKind
from sp_plugin.jobs.bundle import DEFAULT_PUBLISHER
from sp_plugin.jobs.reading import Kinds, params_of
from sp_plugin.jobs.records import sign_record
from sp_plugin.jobs.signals import Interrupted, unless
from sp_plugin.jobs.spec import JobSpec, SpecConfig
from sp_plugin.jobs.states import ExecutionState
from sp_plugin.jobs.unpublished import FinishedRun, UnpublishedRuns
from sp_plugin.publishers.base import (
    PUBLISHERS,
    RECORD_NAME,
    PublishContext,
    Published,
    Publisher,
    PublishError,
    Results,
    Stays,
)
from sp_plugin.store.jobs import ExecutionResult, Lease

__all__ = ["PAUSES", "Publishing", "denied_in", "write_record"]

PAUSES: Final = (1.0, 4.0, 15.0, 60.0)  # seconds between tries of one attempt

log = structlog.get_logger()


class Publishing:
    """Publishes finished runs; `pauses` are the seconds between tries."""

    def __init__(
        self,
        kinds: Kinds,
        context: PublishContext,
        *,
        denylist: Callable[[], Denylist] = Denylist,
        key: Secp256k1Key | None = None,
        pauses: tuple[float, ...] = PAUSES,
    ) -> None:
        self._kinds = kinds
        self._context = context
        self._denylist = denylist
        self._key = key
        self._pauses = pauses
        results = context.results_dir
        self.unpublished = UnpublishedRuns(results.with_name("unpublished"), results)

    def signed(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """The record with the sidecar's signature, if it has a key."""
        return dict(record) if self._key is None else sign_record(record, self._key)

    def keep(self, lease: Lease, spec: JobSpec, run: FinishedRun) -> ExecutionResult | None:
        """Note a run that ended just now: from here on it need not run again. Blocking.

        How it ended if its results stay here; None if they are to be published, for which their record is there then.

        Raises:
            OSError: the disk does not take it.
        """
        self.unpublished.save(run)
        if isinstance(_publisher_of(_config_of(spec).kind), Stays):
            return self._stay(lease, spec, run)
        write_record(self._home(run.execution_id), self.signed(run.record))
        return None

    def _stay(self, lease: Lease, spec: JobSpec, run: FinishedRun) -> ExecutionResult:
        """Nothing leaves with another record, so the last one may lie there at once."""
        config = _config_of(spec)
        publisher = _publisher_of(config.kind)
        assert isinstance(publisher, Stays)
        params = params_of(self._kinds, "publisher", config)
        result = self._published(
            lease, run, publisher.place(params, self._results(run), self._context)
        )
        write_record(self._home(run.execution_id), result.run_record)
        return result

    async def publish(
        self, lease: Lease, spec: JobSpec, run: FinishedRun, cancel: asyncio.Event
    ) -> ExecutionResult:
        """How a run ended that was kept: `finished`, `publish_failed`, or `output_refused` if it is on a denylist by now.

        Call `recorded` when the store knows it.
        """
        denylist = self._denylist()
        car = self._home(run.execution_id) / "results.car"
        if len(denylist) and (denied := await asyncio.to_thread(denied_in, car, denylist)):
            self.unpublished.forget(run.job_id)
            return self._failed(lease, run, OutcomeKind.OUTPUT_REFUSED, str(denied))
        try:
            if isinstance(_publisher_of(_config_of(spec).kind), Stays):
                return await asyncio.to_thread(self._stay, lease, spec, run)
            published = await self._patiently(spec, self._results(run), cancel)
        except (PublishError, OSError, Interrupted) as error:
            why = str(error) or "the job was stopped meanwhile"
            message = f"results are kept, but not published: {why}"
            result = self._failed(lease, run, OutcomeKind.PUBLISH_FAILED, message)
            await asyncio.to_thread(self.unpublished.save, replace(run, usage_counted=True))
            return result
        return self._published(lease, run, published)

    async def recorded(self, lease: Lease, result: ExecutionResult) -> None:
        """The store knows how the execution ended: a published run is over, and its record beside the results may say where they went.

        Until then it could be published again, with the same record.
        """
        if result.state is not ExecutionState.COMPLETED:
            return
        try:
            if not isinstance(_publisher_of(_kind_in(lease.job.spec)), Stays):
                home = self._home(lease.execution_id)
                await asyncio.to_thread(write_record, home, result.run_record)
        except OSError as error:  # the store has it
            log.warning("record_not_written", execution_id=lease.execution_id, error=str(error))
        self.unpublished.forget(lease.job.id)

    def lay_beside(self, execution_id: str, record: Mapping[str, Any]) -> None:
        """Put the record of a run that is not published beside what was kept of it. A disk that takes no more is logged."""
        home = self._home(execution_id)
        try:
            if (home / "files").is_dir():
                write_record(home, record)
        except OSError as error:  # the store has the record all the same
            log.warning("record_not_written", execution_id=execution_id, error=str(error))

    def _home(self, execution_id: str) -> Path:
        return self._context.results_dir / execution_id

    def _results(self, run: FinishedRun) -> Results:
        home = self._home(run.execution_id)
        return Results(
            job_id=run.job_id,
            execution_id=run.execution_id,
            ran_as=run.ran_as,
            directory=home / "files",
            car=home / "results.car",
            record=home / RECORD_NAME,
            root=Cid.parse(run.root),
            payload_bytes=run.payload_bytes,
            ended_at=run.ended_at,
        )

    async def _patiently(self, spec: JobSpec, results: Results, cancel: asyncio.Event) -> Published:
        config = _config_of(spec)
        publisher = _publisher_of(config.kind)
        assert not isinstance(publisher, Stays)
        params = params_of(self._kinds, "publisher", config)
        for pause in self._pauses:
            try:
                return await unless(cancel, publisher.publish(params, results, self._context))
            except (PublishError, OSError) as error:
                if isinstance(error, PublishError) and not error.again:
                    raise
                log.warning(
                    "publish_failed", job_id=results.job_id, error=str(error), again_in=pause
                )
            await unless(cancel, asyncio.sleep(pause))
        return await unless(cancel, publisher.publish(params, results, self._context))

    def _published(self, lease: Lease, run: FinishedRun, where: Published) -> ExecutionResult:
        return ExecutionResult(
            state=ExecutionState.COMPLETED,
            outcome=OutcomeKind.FINISHED.value,
            message=run.message,
            exit_code=run.exit_code,
            run_output=run.run_output,
            published={"Type": where.kind, "Params": dict(where.params)},
            run_record=self._record(lease, run, OutcomeKind.FINISHED, where.details),
        )

    def _record(
        self, lease: Lease, run: FinishedRun, kind: OutcomeKind, published: Mapping[str, Any]
    ) -> dict[str, Any]:
        own: dict[str, Any] = {"outcome": kind.value, "published": dict(published)}
        if run.ran_as != lease.execution_id:
            own |= {"execution_id": lease.execution_id, "attempt": lease.attempt}
            own |= {"ran_as": run.ran_as, "usage_counted": run.usage_counted}
        return self.signed({**run.record, **own})

    def _failed(
        self, lease: Lease, run: FinishedRun, kind: OutcomeKind, message: str
    ) -> ExecutionResult:
        return ExecutionResult(
            state=ExecutionState.FAILED,
            outcome=kind.value,
            message=message,
            exit_code=run.exit_code,
            run_output={**run.run_output, "ErrorMsg": message},
            published={"Type": "", "Params": {}},
            run_record=self._record(lease, run, kind, {}),
        )


def _config_of(spec: JobSpec) -> SpecConfig:
    config = spec.task.publisher
    return SpecConfig.model_validate({"Type": DEFAULT_PUBLISHER}) if config.is_blank else config


def _kind_in(wire: Mapping[str, Any]) -> str:
    """The kind of publisher in a job's wire form, without reading all of it."""
    config = wire["Tasks"][0].get("Publisher") or {}
    return str(config.get("Type") or DEFAULT_PUBLISHER).strip().casefold()


def _publisher_of(kind: str) -> Publisher | Stays:
    return next(p for name, p in PUBLISHERS.items() if name.casefold() == kind)


def write_record(home: Path, record: Mapping[str, Any]) -> None:
    """Put the record beside the results, whole or not at all.

    Raises:
        OSError: the disk does not take it.
    """
    path = home / RECORD_NAME
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n")
    temporary.rename(path)


def denied_in(car: Path, denylist: Denylist) -> Denied | None:
    """Why a CAR may not be published; None if nothing in it is on the denylist."""
    if not len(denylist):
        return None
    try:
        with car.open("rb") as file:
            for place in CarReader(file).places():
                denylist.check(place.cid)
    except Denied as error:
        return error
    return None
