"""Who has approved a bundle, and whether that is enough for a run to start. Pure: no node is asked.

The signed payload is text: the digest in hex, a line feed, and one line a person can read on a signing device. What is
signed is that text in the FRC-0102 envelope (`lotus_client.crypto.envelope`), which is what `lotus wallet sign` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from fil_plus.bundle import (
    BUNDLE_SCHEMA,
    Bundle,
    BundleError,
    BundleInput,
    BundleOutput,
    Engine,
    ImageKind,
    ResourceLimits,
)
from fil_plus.terms import Basis, ShareTerms
from lotus_client.address import Address
from lotus_client.crypto import Signature, SignatureError, envelope, verify_signature
from lotus_client.types import Epoch

__all__ = [
    "BUNDLE_SCHEMA",
    "Approval",
    "ApprovalDecision",
    "ApprovalFinding",
    "ApprovalPolicy",
    "ApprovalReason",
    "Approver",
    "Basis",
    "Bundle",
    "BundleError",
    "BundleInput",
    "BundleOutput",
    "Conflicts",
    "Engine",
    "ImageKind",
    "ResourceLimits",
    "Revocation",
    "RevocationReason",
    "ShareTerms",
    "approval_payload",
    "approval_signing_bytes",
    "decide_approval",
    "revocation_payload",
    "verify_approval",
]


@dataclass(frozen=True, slots=True)
class Approval:
    """One signature over a bundle digest, given in one role."""

    digest: bytes
    approver: Address
    signature: Signature
    role: str


class RevocationReason(StrEnum):
    """Why approval is withdrawn. Any of them stops new runs; only `fraud` and `legal` may ever hold unpaid money."""

    FRAUD = "fraud"
    LEGAL = "legal"
    QUALITY = "quality"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Revocation:
    """A signed withdrawal of approval for a digest by one approver, in force from `at_epoch`."""

    digest: bytes
    approver: Address
    signature: Signature
    reason: RevocationReason
    at_epoch: Epoch


@dataclass(frozen=True, slots=True)
class Approver:
    """An address that may approve, with the roles it may do it in."""

    address: Address
    roles: frozenset[str]


@dataclass(frozen=True, slots=True)
class ApprovalPolicy:
    """`k` distinct approvers of the list, and at least `role_minimums[role]` of them in each role.

    Raises:
        ValueError: k below 1, an address listed twice, or a minimum that the list can never meet.
    """

    k: int
    approvers: tuple[Approver, ...]
    role_minimums: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.k < 1 or self.k > len(self.approvers):
            raise ValueError(f"k must be 1 to {len(self.approvers)} (the approvers), got {self.k}")
        if len({approver.address for approver in self.approvers}) != len(self.approvers):
            raise ValueError("an approver is listed twice")
        for role, minimum in self.role_minimums.items():
            holders = sum(role in approver.roles for approver in self.approvers)
            if minimum > holders:
                raise ValueError(f"role {role!r} needs {minimum} approvers but {holders} have it")

    def roles_of(self, address: Address) -> frozenset[str] | None:
        """The roles of a listed approver, `None` if it is not listed."""
        for approver in self.approvers:
            if approver.address == address:
                return approver.roles
        return None


@dataclass(frozen=True, slots=True)
class Conflicts:
    """Who is who, with every known address of each actor: id, key and robust form.

    `provider` holds the addresses of owner and beneficiary; `identities` maps an approver to all its addresses. An
    approver that is missing there is known by the one address alone.
    """

    payee: frozenset[Address]
    provider: frozenset[Address]
    identities: Mapping[Address, frozenset[Address]] = field(default_factory=dict)

    def forms_of(self, approver: Address) -> frozenset[Address]:
        """All known addresses of an approver, including the given one."""
        return self.identities.get(approver, frozenset()) | {approver}


class ApprovalReason(StrEnum):
    """Named results of one check; the first five void a single approval, the rest refuse the run."""

    OTHER_DIGEST = "other_digest"
    NOT_LISTED = "not_listed"
    ROLE_NOT_HELD = "role_not_held"
    BAD_SIGNATURE = "bad_signature"
    APPROVER_IS_PAYEE = "approver_is_payee"
    APPROVER_IS_PROVIDER = "approver_is_provider"
    SAME_APPROVER = "same_approver"
    PAYEE_IS_PROVIDER = "payee_is_provider"
    NOT_YET_VALID = "not_yet_valid"
    EXPIRED = "expired"
    REVOKED = "revoked"
    TOO_FEW_APPROVERS = "too_few_approvers"
    ROLE_MISSING = "role_missing"


@dataclass(frozen=True, slots=True)
class ApprovalFinding:
    """One reason in a decision; `approver` where it is about one."""

    reason: ApprovalReason
    detail: str
    approver: Address | None = None


@dataclass(frozen=True, slots=True)
class ApprovalDecision:
    """Whether the run may start: `refusals` is empty exactly when it may.

    `counted` are the approvals that count; `ignored` says why each other one does not.
    """

    digest: bytes
    at_epoch: Epoch
    counted: tuple[Approval, ...]
    ignored: tuple[ApprovalFinding, ...]
    refusals: tuple[ApprovalFinding, ...]

    @property
    def approved(self) -> bool:
        """Whether the run may start."""
        return not self.refusals


def approval_payload(bundle: Bundle) -> bytes:
    """The ASCII text that an approver signs: the hex digest, and a line that says what for."""
    payee = "nobody" if bundle.payee is None else bundle.to_json()["payee"]
    return (
        f"{bundle.digest().hex()}\n"
        f"Approve {bundle.engine} job at {bundle.to_json()['provider']} on {bundle.network_name}, "
        f"pays {payee}, starts in epochs {bundle.valid_from} to {bundle.valid_until}"
    ).encode("ascii")


def approval_signing_bytes(bundle: Bundle) -> bytes:
    """The enveloped payload: what a key signs, and what `WalletSign` over RPC must be given."""
    return envelope(approval_payload(bundle))


def revocation_payload(
    digest: bytes, reason: RevocationReason, at_epoch: Epoch, network_name: str
) -> bytes:
    """The ASCII text that an approver signs to withdraw approval."""
    return (
        f"{digest.hex()}\nRevoke approval on {network_name} from epoch {at_epoch}, reason {reason}"
    ).encode("ascii")


def verify_approval(bundle: Bundle, approval: Approval) -> None:
    """Return if `approval` is a good signature over this very bundle.

    Raises:
        SignatureError: another digest, or not signed by the approver it names.
    """
    if approval.digest != bundle.digest():
        raise SignatureError(
            f"the approval is for digest {approval.digest.hex()}, not {bundle.digest().hex()}"
        )
    verify_signature(approval.signature, approval.approver, approval_signing_bytes(bundle))


def decide_approval(
    bundle: Bundle,
    approvals: Iterable[Approval],
    policy: ApprovalPolicy,
    at_epoch: Epoch,
    conflicts: Conflicts,
    *,
    revocations: Iterable[Revocation] = (),
) -> ApprovalDecision:
    """Whether a run of `bundle` may start at `at_epoch`.

    An approval counts if it is for this digest, well signed by a listed approver in a role it holds, and its approver is
    neither the payee nor the provider's owner or beneficiary, nor one already counted (by any of its addresses). Approvals
    must reach k and every role minimum; the payee must not be the owner or beneficiary; one valid revocation by a listed
    approver, in force at `at_epoch`, refuses.
    """
    counted: list[Approval] = []
    ignored: list[ApprovalFinding] = []
    seen: set[Address] = set()
    for approval in approvals:
        finding = _why_not_counted(bundle, approval, policy, conflicts, seen)
        if finding is None:
            counted.append(approval)
            seen |= conflicts.forms_of(approval.approver)
        else:
            ignored.append(finding)
    refusals = [
        *_window_refusals(bundle, at_epoch),
        *_conflict_refusals(bundle, conflicts),
        *_revocation_refusals(bundle, policy, at_epoch, revocations),
        *_quorum_refusals(policy, counted),
    ]
    return ApprovalDecision(
        bundle.digest(), at_epoch, tuple(counted), tuple(ignored), tuple(refusals)
    )


def _why_not_counted(
    bundle: Bundle,
    approval: Approval,
    policy: ApprovalPolicy,
    conflicts: Conflicts,
    seen: set[Address],
) -> ApprovalFinding | None:
    approver = approval.approver
    roles = policy.roles_of(approver)
    forms = conflicts.forms_of(approver)

    def finding(reason: ApprovalReason, detail: str) -> ApprovalFinding:
        return ApprovalFinding(reason, detail, approver)

    if approval.digest != bundle.digest():
        return finding(ApprovalReason.OTHER_DIGEST, f"is for digest {approval.digest.hex()}")
    if roles is None:
        return finding(ApprovalReason.NOT_LISTED, f"{approver} is not in the list of approvers")
    if approval.role not in roles:
        return finding(
            ApprovalReason.ROLE_NOT_HELD, f"{approver} does not hold the role {approval.role!r}"
        )
    if forms & (conflicts.payee | _payee_of(bundle)):
        return finding(ApprovalReason.APPROVER_IS_PAYEE, f"{approver} is paid by this job")
    if forms & conflicts.provider:
        return finding(
            ApprovalReason.APPROVER_IS_PROVIDER,
            f"{approver} is the provider's owner or beneficiary",
        )
    if forms & seen:
        return finding(ApprovalReason.SAME_APPROVER, f"{approver} has been counted already")
    try:
        verify_approval(bundle, approval)
    except SignatureError as error:
        return finding(ApprovalReason.BAD_SIGNATURE, str(error))
    return None


def _payee_of(bundle: Bundle) -> frozenset[Address]:
    return frozenset() if bundle.payee is None else frozenset({bundle.payee})


def _window_refusals(bundle: Bundle, at_epoch: Epoch) -> list[ApprovalFinding]:
    if at_epoch < bundle.valid_from:
        detail = f"the approval begins at epoch {bundle.valid_from}, now is {at_epoch}"
        return [ApprovalFinding(ApprovalReason.NOT_YET_VALID, detail)]
    if at_epoch > bundle.valid_until:
        detail = f"the approval ended after epoch {bundle.valid_until}, now is {at_epoch}"
        return [ApprovalFinding(ApprovalReason.EXPIRED, detail)]
    return []


def _conflict_refusals(bundle: Bundle, conflicts: Conflicts) -> list[ApprovalFinding]:
    if (conflicts.payee | _payee_of(bundle)) & conflicts.provider:
        detail = "the payee is the provider's owner or beneficiary"
        return [ApprovalFinding(ApprovalReason.PAYEE_IS_PROVIDER, detail)]
    return []


def _revocation_refusals(
    bundle: Bundle, policy: ApprovalPolicy, at_epoch: Epoch, revocations: Iterable[Revocation]
) -> list[ApprovalFinding]:
    found = []
    for revocation in revocations:
        if revocation.digest != bundle.digest() or revocation.at_epoch > at_epoch:
            continue
        if policy.roles_of(revocation.approver) is None:
            continue
        payload = revocation_payload(
            revocation.digest, revocation.reason, revocation.at_epoch, bundle.network_name
        )
        try:
            verify_signature(revocation.signature, revocation.approver, envelope(payload))
        except SignatureError:
            continue  # anyone could write an unsigned one
        detail = f"revoked from epoch {revocation.at_epoch}, reason {revocation.reason}"
        found.append(ApprovalFinding(ApprovalReason.REVOKED, detail, revocation.approver))
    return found


def _quorum_refusals(policy: ApprovalPolicy, counted: list[Approval]) -> list[ApprovalFinding]:
    refusals = []
    if len(counted) < policy.k:
        detail = f"{len(counted)} of {policy.k} needed approvals count"
        refusals.append(ApprovalFinding(ApprovalReason.TOO_FEW_APPROVERS, detail))
    for role, minimum in sorted(policy.role_minimums.items()):
        have = sum(approval.role == role for approval in counted)
        if have < minimum:
            detail = f"{have} of {minimum} needed approvals in role {role!r} count"
            refusals.append(ApprovalFinding(ApprovalReason.ROLE_MISSING, detail))
    return refusals
