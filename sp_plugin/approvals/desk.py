"""The desk where approvers come: what there is to sign, taking signatures in, and how far a job has got."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fil_plus.approvals import (
    Approval,
    ApprovalDecision,
    ApprovalFinding,
    ApprovalPolicy,
    ApprovalReason,
    Approver,
    Revocation,
    RevocationReason,
    approval_payload,
    decide_approval,
    revocation_payload,
    verify_approval,
)
from fil_plus.bundle import Bundle
from lotus_client.address import Address
from lotus_client.crypto import Signature, SignatureError, envelope, verify_signature
from lotus_client.types import ActorId, Epoch
from sp_plugin.approvals.identities import Identities, IdentityReader
from sp_plugin.approvals.recorded import recorded_bundle
from sp_plugin.config import ApprovalsConfig
from sp_plugin.errors import BadInput, Conflict
from sp_plugin.store.approvals import ApprovalRepository
from sp_plugin.store.jobs import JobRecord

__all__ = ["ApprovalDesk", "SigningRequest", "approval_policy", "bundle_of"]


@dataclass(frozen=True, slots=True)
class SigningRequest:
    """What an approver reads and signs: the bundle, its digest, and the text that goes to the wallet."""

    job_id: str
    bundle: Bundle
    payload: bytes

    @property
    def digest(self) -> bytes:
        """SHA-256 of the bundle's canonical JSON."""
        return self.bundle.digest()


def approval_policy(config: ApprovalsConfig) -> ApprovalPolicy | None:
    """The k-of-n rule of the config; None if nobody is listed, and then nothing can be approved."""
    if not config.approvers:
        return None
    return ApprovalPolicy(
        config.k,
        tuple(Approver(item.address, frozenset(item.roles)) for item in config.approvers),
        dict.fromkeys(config.required_roles, 1),
    )


class ApprovalDesk:
    """Approvals of this provider's jobs. `clock` gives Unix nanoseconds."""

    def __init__(
        self,
        *,
        book: ApprovalRepository,
        chain: IdentityReader,
        provider: ActorId,
        policy: ApprovalPolicy | None,
        clock: Callable[[], int],
    ) -> None:
        self._book = book
        self._identities = Identities(chain, provider)
        self._policy = policy
        self._clock = clock

    def request(self, job: JobRecord) -> SigningRequest:
        """What there is to sign for a job."""
        bundle = bundle_of(job)
        return SigningRequest(job.id, bundle, approval_payload(bundle))

    async def add(
        self, job: JobRecord, approver: Address, signature: Signature, role: str | None = None
    ) -> bool:
        """Whether the approval is new; it is verified first. `role` may be left out if the approver has one.

        Raises:
            BadInput: not listed, not that role, or not that approver's signature over this bundle.
        """
        bundle = bundle_of(job)
        approval = Approval(bundle.digest(), approver, signature, self._role_of(approver, role))
        try:
            verify_approval(bundle, approval)
        except SignatureError as error:
            raise BadInput(str(error), field="signature") from error
        return await self._book.add(approval, self._clock())

    async def revoke(
        self,
        job: JobRecord,
        approver: Address,
        signature: Signature,
        reason: RevocationReason,
        at_epoch: Epoch,
    ) -> bool:
        """Whether the revocation is new. It stops runs that have not started.

        Raises:
            BadInput: not listed, or not that approver's signature.
        """
        bundle = bundle_of(job)
        self._role_of(approver, None, any_role=True)
        payload = revocation_payload(bundle.digest(), reason, at_epoch, bundle.network_name)
        try:
            verify_signature(signature, approver, envelope(payload))
        except SignatureError as error:
            raise BadInput(str(error), field="signature") from error
        revocation = Revocation(bundle.digest(), approver, signature, reason, at_epoch)
        return await self._book.add_revocation(revocation, self._clock())

    async def approvals_of(self, digest: bytes) -> tuple[Approval, ...]:
        """What was signed for a digest."""
        return await self._book.of_digest(digest)

    async def decide(self, bundle: Bundle, at_epoch: Epoch) -> ApprovalDecision:
        """Whether a run of `bundle` may start at `at_epoch`, by the signatures at hand and the chain of now."""
        approvals, revocations = await self._book.signed(bundle.digest())
        return await self._decide(bundle, at_epoch, approvals, revocations)

    async def decide_unsigned(self, bundle: Bundle, at_epoch: Epoch) -> ApprovalDecision:
        """The same of a bundle that is new, so that nobody can have signed it."""
        return await self._decide(bundle, at_epoch, (), ())

    async def _decide(
        self,
        bundle: Bundle,
        at_epoch: Epoch,
        approvals: Sequence[Approval],
        revocations: Sequence[Revocation],
    ) -> ApprovalDecision:
        digest = bundle.digest()
        if self._policy is None:
            finding = ApprovalFinding(
                ApprovalReason.TOO_FEW_APPROVERS,
                "no approvers are listed in the configuration (approvals.approvers)",
            )
            return ApprovalDecision(digest, at_epoch, (), (), (finding,))
        approvers = {item.approver for item in approvals}
        conflicts = await self._identities.conflicts(bundle.payee, approvers, at_epoch)
        return decide_approval(
            bundle,
            approvals,
            self._policy,
            at_epoch,
            conflicts,
            revocations=revocations,
        )

    def _role_of(self, approver: Address, role: str | None, *, any_role: bool = False) -> str:
        roles = self._policy.roles_of(approver) if self._policy else None
        if roles is None:
            raise BadInput(f"{approver} is not in the list of approvers", field="approver")
        if any_role:
            return ""
        if role is None and len(roles) == 1:
            return next(iter(roles))
        if role is None:
            raise BadInput(f"say which of {', '.join(sorted(roles))}", field="role")
        if role not in roles:
            raise BadInput(f"{approver} does not hold {role!r}", field="role")
        return role


def bundle_of(job: JobRecord) -> Bundle:
    """The bundle recorded of a job.

    Raises:
        Conflict: it has none yet.
    """
    if job.bundle is None or job.bundle_digest is None:
        raise Conflict(f"job {job.id} is not resolved yet: {job.message}")
    return recorded_bundle(job.bundle, bytes.fromhex(job.bundle_digest))
