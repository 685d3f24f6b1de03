"""The way of a job from its description to the queue: read, resolved into a bundle, approved, allowed by policy, queued.

The same questions are asked again right before a run starts (`why_not_start`): an approval must be valid then.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol
from uuid import uuid4

import structlog

from fil_plus.approvals import ApprovalDecision
from fil_plus.bundle import Bundle, BundleError
from lotus_client.errors import LotusError
from lotus_client.types import ClaimId, Epoch
from sp_plugin.approvals.desk import ApprovalDesk, bundle_of
from sp_plugin.config import DatasetConfig
from sp_plugin.errors import Away, BadInput, Conflict, RefusedByPolicy, TooMany
from sp_plugin.inputs.base import InputAway, InputMissing, PieceRef
from sp_plugin.jobs.meta import META_SIGNATURE_EXPIRES
from sp_plugin.jobs.queue import JobQueue
from sp_plugin.jobs.reading import Kinds, ReadJob, read_job_values
from sp_plugin.jobs.signed import SignedSubmission, why_not_in_time
from sp_plugin.jobs.spec import JobSpec
from sp_plugin.jobs.states import JobState
from sp_plugin.known_pieces import datasets_naming
from sp_plugin.pieces import Pieces
from sp_plugin.policy import (
    InputFacts,
    PolicyDecision,
    PolicyRules,
    decide_policy,
)
from sp_plugin.store.jobs import JobNotFound, JobRecord

__all__ = ["Admission", "Bundler"]

_COUNT_SECONDS: Final = 1.0

log = structlog.get_logger()


class Bundler(Protocol):
    """Says what a job will do, by content."""

    async def resolve(self, spec: JobSpec, nonce: str) -> Bundle:
        """The bundle of a job; the same job and nonce give the same bundle while the provider's terms stay.

        Raises:
            InputMissing: an input is not here.
            InputAway: who tells of an input or the program does not answer now.
            BadInput: the job asks for something that no bundle can say.
        """
        ...


class Admission:
    """Takes jobs in and lets them through to the queue. `head` gives the chain's present epoch."""

    def __init__(
        self,
        *,
        queue: JobQueue,
        desk: ApprovalDesk,
        bundler: Bundler,
        pieces: Pieces,
        datasets: Sequence[DatasetConfig],
        rules: PolicyRules,
        kinds: Kinds,
        max_waiting: int,
        head: Callable[[], Awaitable[Epoch]],
    ) -> None:
        self._queue = queue
        self._desk = desk
        self._bundler = bundler
        self._pieces = pieces
        self._datasets = datasets
        self._rules = rules
        self._kinds = kinds
        self._max_waiting = max_waiting
        self._most_waiting, self._counted_at = 0, -math.inf
        self._head = head

    async def submit(
        self, description: Mapping[str, Any], submitter: str
    ) -> tuple[JobRecord, tuple[str, ...]]:
        """The new job, waiting for approvals, and warnings about what was ignored or assumed.

        Raises:
            BadInput, JobSpecError: every fault of the description.
            RefusedByPolicy: no approval could make this provider run it.
            Away: the container engine, or a server of an input, does not answer now.
            TooMany: the queue, or this submitter's part of it, is full.
        """
        return await self.take(self.read(description), submitter)

    async def take(
        self, read: ReadJob, submitter: str, signed: SignedSubmission | None = None
    ) -> tuple[JobRecord, tuple[str, ...]]:
        """The same of a job that was read. One that is signed and here already is given back as it is.

        Raises:
            BadInput: the signature may not be used any more, or not yet.
            Away, RefusedByPolicy, TooMany: as `submit`.
        """
        if signed is not None and (known := await self.known(signed)) is not None:
            return known, read.warnings
        await self._check_room(submitter)
        # The nonce is the job's ID: two jobs never have one digest, and approval of one is none of the other.
        job_id = f"j-{uuid4()}" if signed is None else signed.job_id
        decision, bundle = await self._judge(read, job_id)
        if not decision.allowed:
            first = decision.refusals[0]
            raise RefusedByPolicy(first.rule, [finding.detail for finding in decision.refusals])
        digest = bundle.digest().hex()
        record = await self._queue.submit(
            read.spec.to_wire(),
            submitter=submitter,
            job_id=job_id,
            bundle=(digest, bundle.to_json()),
            message=await self._what_it_waits_for(bundle),
            signer=None if signed is None else signed.name,
        )
        log.info("job_taken_in", job_id=record.id, digest=digest, submitter=submitter)
        return record, read.warnings

    async def known(self, signed: SignedSubmission) -> JobRecord | None:
        """The job that came in before under the same signature; None if it is new.

        Raises:
            BadInput: it is new, and the signature may not be used any more, or not yet.
        """
        try:
            return await self._queue.job(signed.job_id)
        except JobNotFound:
            if why := why_not_in_time(signed.expires, await self._head()):
                raise BadInput(why, field=f"Meta.{META_SIGNATURE_EXPIRES}") from None
            return None

    async def epoch(self) -> Epoch:
        """The chain's epoch, a few seconds old at most."""
        return await self._head()

    async def _what_it_waits_for(self, bundle: Bundle) -> str:
        """For the submitter: the approvals missing, or nothing."""
        try:
            return _missing(await self._desk.decide_unsigned(bundle, await self._head())) or ""
        except LotusError:
            return "waits for approvals"  # which ones, the node will tell

    async def _check_room(self, submitter: str) -> None:
        """Raises `TooMany` if the queue is full, or this submitter's part of it."""
        if not await self._has_room():
            raise TooMany(
                f"jobs.max_queued: {self._max_waiting} jobs wait already; try again later"
            )
        most = self._queue.rules.quota_of(submitter).max_queued
        if most is not None and await self._queue.waiting_count(submitter) >= most:
            raise TooMany(
                f"jobs.quotas max_queued: {most} jobs of {submitter} wait already; "
                "try again when some have run, or stop some"
            )

    async def _has_room(self) -> bool:
        """Counted anew after a second, or when so many came since the last count that there may be no room."""
        now = time.monotonic()
        if now - self._counted_at > _COUNT_SECONDS or self._most_waiting >= self._max_waiting:
            self._most_waiting, self._counted_at = await self._queue.waiting_count(), now
        self._most_waiting += 1  # this one
        return self._most_waiting <= self._max_waiting

    async def estimate(self, description: Mapping[str, Any]) -> Bundle:
        """What a job would be, were it handed in: its limits and inputs are in the bundle.

        Raises:
            BadInput, JobSpecError: every fault of the description.
        """
        return await self._resolve(read_job_values(description, self._kinds).spec, "estimate")

    async def consider(self, job_id: str) -> None:
        """Look at one waiting job now, e.g. after a signature for it came."""
        job = await self._queue.job(job_id)
        if job.state is JobState.PENDING:
            await self._consider(job)

    def read(self, description: Mapping[str, Any]) -> ReadJob:
        """The job described.

        Raises:
            JobSpecError: every fault of the description.
        """
        return read_job_values(description, self._kinds)

    async def try_policy(self, description: Mapping[str, Any]) -> PolicyDecision:
        """What policy says of a job that is not handed in."""
        return (await self._judge(read_job_values(description, self._kinds), "test"))[0]

    async def explain(self, job_id: str) -> PolicyDecision:
        """What policy says of a job."""
        job = await self._queue.job(job_id)
        return await self._policy_of(
            bundle_of(job), (job.spec.get("Meta") or {}).get("filecoin.dataset")
        )

    async def step(self) -> bool:
        """Look at every waiting job once: queue what is approved and allowed, say of the others what they wait for."""
        for job in await self._queue.waiting():
            await self._consider(job)
        return False

    async def _consider(self, job: JobRecord) -> None:
        if job.bundle_digest is None:
            await self._bundle_anew(job)
        elif (reason := await self.why_not_start(job)) is None:
            await self._queue.admit(job.id)
            log.info("job_admitted", job_id=job.id)
        elif reason != job.message:
            await self._queue.set_message(job.id, reason)

    async def why_not_start(self, job: JobRecord) -> str | None:
        """Why a job may not start now, None if it may: first its approvals, then this provider's policy."""
        try:
            bundle = bundle_of(job)
        except (BadInput, Conflict) as error:
            return str(error)
        policy = await self._policy_of(bundle, (job.spec.get("Meta") or {}).get("filecoin.dataset"))
        if not policy.allowed:
            details = "; ".join(f"{item.rule}: {item.detail}" for item in policy.refusals)
            return f"refused by policy: {details}"
        return _missing(await self._desk.decide(bundle, await self._head()))

    async def _bundle_anew(self, job: JobRecord) -> None:
        """A crash between taking a job in and recording its bundle leaves it without: resolve it again."""
        read = read_job_values(json.loads(json.dumps(job.spec)), self._kinds)
        try:
            bundle = await self._resolve(read.spec, job.id)
        except BadInput as error:
            await self._queue.refuse(job.id, str(error))
            return
        except Away as error:  # looked at again at the next step; the other jobs go on
            if str(error) != job.message:
                await self._queue.set_message(job.id, str(error))
            return
        await self._queue.set_bundle(job.id, bundle.digest().hex(), bundle.to_json())

    async def _judge(self, read: ReadJob, nonce: str) -> tuple[PolicyDecision, Bundle]:
        bundle = await self._resolve(read.spec, nonce)
        return await self._policy_of(bundle, read.spec.dataset), bundle

    async def _resolve(self, spec: JobSpec, nonce: str) -> Bundle:
        try:
            return await self._bundler.resolve(spec, nonce)
        except (InputMissing, BundleError) as error:
            raise BadInput(str(error)) from error
        except InputAway as error:
            raise Away(f"{error}; hand the job in again later") from error

    async def _policy_of(self, bundle: Bundle, dataset: str | None) -> PolicyDecision:
        return decide_policy(bundle, await self._facts(bundle), self._rules, dataset)

    async def _facts(self, bundle: Bundle) -> list[InputFacts]:
        facts = []
        for item in bundle.inputs:
            ref: PieceRef | None = None
            if item.source == "filecoin":
                claim = None if item.claim_id is None else ClaimId(item.claim_id)
                ref = await self._pieces.find_piece(item.cid, claim)
            elif item.source == "ipfs":
                ref = await self._pieces.find_root(item.cid)
            known = await self._pieces.get(ref.key) if ref else None
            named = datasets_naming(known, self._datasets) if known else ()
            facts.append(InputFacts(item.source, item.cid, ref, named))
        return facts


def _missing(decision: ApprovalDecision) -> str | None:
    """Which approvals a job waits for; None if it has them."""
    if decision.approved:
        return None
    return "waits for approvals: " + "; ".join(item.detail for item in decision.refusals)
