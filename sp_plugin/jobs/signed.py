"""A job handed in under its submitter's signature: what is signed, and whether a signature holds.

What is signed is text: the SHA-256 of the job's canonical JSON (RFC 8785) in hex, a line feed, and a line for people, in the
FRC-0102 envelope (what `lotus wallet sign` does). The JSON holds the job as it was read, without what has its default and
without the signature itself, the provider and the network. So no spelling of the same job matters, and no other job and no
other provider can be meant. `Meta` says who signed (`filecoin.submitter`, else the payee) and until which epoch the
signature may be used. The job's ID comes from the digest: the same signed job, sent again, is the same job.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import rfc8785

from lotus_client.address import Address, AddressError
from lotus_client.crypto import Signature, SignatureError
from lotus_client.signed_text import verify_text
from lotus_client.types import ActorId, Epoch
from sp_plugin.errors import BadInput
from sp_plugin.jobs.meta import (
    META_PAYEE,
    META_SIGNATURE,
    META_SIGNATURE_EXPIRES,
    META_SUBMITTER,
)
from sp_plugin.jobs.spec import JobSpec

__all__ = [
    "MOST_EPOCHS",
    "SIGNED_JOB_SCHEMA",
    "Claim",
    "Place",
    "SignedSubmission",
    "claim_in",
    "is_payees_own",
    "submission_digest",
    "submission_json",
    "submission_payload",
    "verify_submission",
    "why_not_in_time",
    "why_not_signer",
]

SIGNED_JOB_SCHEMA: Final = "sp-plugin/signed-job/1"
MOST_EPOCHS: Final = 86_400  # 30 days: no signature should be good for ever
_LONGEST_SIGNATURE: Final = 1 + 96  # bytes, of a BLS signature with its type


@dataclass(frozen=True, slots=True)
class Place:
    """Where a job is to run: a provider on a network."""

    network: str
    provider: ActorId

    @property
    def provider_text(self) -> str:
        """The provider's address as that network writes it."""
        return self.write(Address.of_id(self.provider))

    def write(self, address: Address) -> str:
        """An address as that network writes it."""
        return address.to_text("f" if self.network == "mainnet" else "t")


@dataclass(frozen=True, slots=True)
class Claim:
    """Who is said to have signed a job, with what signature, and up to which epoch it may be handed in."""

    signer: Address
    signature: Signature
    expires: Epoch


@dataclass(frozen=True, slots=True)
class SignedSubmission:
    """A job that its signer did sign. `digest` is SHA-256 of what was signed, `job_id` the one ID it can get.

    `name` is the signer's address as the network writes it: its name for quotas.
    """

    signer: Address
    name: str
    expires: Epoch
    digest: bytes

    @property
    def job_id(self) -> str:
        """The job's ID; 122 bits of the digest in the shape that clients know."""
        return f"j-{UUID(bytes=self.digest[:16], version=5)}"


def why_not_signer(address: Address) -> str | None:
    """Why jobs cannot be signed by an address; None for f1 and f3, which carry their key."""
    if address.protocol in (1, 3):
        return None
    if address.protocol == 4:
        return (
            f"{address} is an Ethereum address: its wallets sign in another envelope; "
            "sign with an f1 or f3 key and name it in filecoin.submitter"
        )
    return (
        f"{address} carries no key (only f1 and f3 addresses do); "
        "sign with an f1 or f3 key and name it in filecoin.submitter"
    )


def claim_in(meta: Mapping[str, Any]) -> Claim | None:
    """What a job's `Meta` says of its signature; None if it is not signed.

    Raises:
        BadInput: half of it is missing, or it cannot be read.
    """
    text = meta.get(META_SIGNATURE)
    if text is None:
        return None
    name = META_SUBMITTER if META_SUBMITTER in meta else META_PAYEE
    return Claim(_signer(meta, name), _signature(str(text)), _expiry(meta))


def _signer(meta: Mapping[str, Any], name: str) -> Address:
    text = meta.get(name)
    if text is None:
        raise BadInput(
            "says nobody: name the signer there, or as payee", field=f"Meta.{META_SUBMITTER}"
        )
    try:
        address = Address.parse(str(text))
    except AddressError as error:
        raise BadInput(str(error), field=f"Meta.{name}") from error
    if why := why_not_signer(address):
        raise BadInput(why, field=f"Meta.{name}")
    return address


def _signature(text: str) -> Signature:
    try:
        if len(text) > 2 * _LONGEST_SIGNATURE:
            raise SignatureError(f"{len(text)} characters are too many")
        return Signature.from_bytes(bytes.fromhex(text))
    except ValueError as error:
        raise BadInput(
            f"must be hex as `lotus wallet sign` prints it, type byte first: {error}",
            field=f"Meta.{META_SIGNATURE}",
        ) from error


def _expiry(meta: Mapping[str, Any]) -> Epoch:
    text = str(meta.get(META_SIGNATURE_EXPIRES, ""))
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise BadInput(
            "must be the last epoch in which the signature may be used",
            field=f"Meta.{META_SIGNATURE_EXPIRES}",
        )
    return Epoch(int(text))


def submission_json(spec: JobSpec, place: Place) -> dict[str, Any]:
    """What the digest is made of. Fields that have their default are left out, so that later ones change no digest."""
    job = spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    meta = {name: value for name, value in spec.meta.items() if name != META_SIGNATURE}
    return {
        "schema": SIGNED_JOB_SCHEMA,
        "network": place.network,
        "provider": place.provider_text,
        "job": job | {"Meta": meta},
    }


def submission_digest(spec: JobSpec, place: Place) -> bytes:
    """SHA-256 of the canonical JSON.

    Raises:
        BadInput: it holds a number or text that canonical JSON does not have.
    """
    try:
        return hashlib.sha256(rfc8785.dumps(submission_json(spec, place))).digest()
    except ValueError as error:
        raise BadInput(f"the job cannot be signed, it has no canonical form: {error}") from error


def submission_payload(digest: bytes, expires: Epoch, place: Place) -> bytes:
    """The ASCII text that the submitter signs."""
    return (
        f"{digest.hex()}\nSubmit a job to {place.provider_text} on {place.network}, until epoch {expires}"
    ).encode("ascii")


def verify_submission(spec: JobSpec, place: Place) -> SignedSubmission | None:
    """Who signed a job for this place; None if it is not signed. It may take some milliseconds.

    Raises:
        BadInput: the signature is not that of the signer over this very job.
    """
    claim = claim_in(spec.meta)
    if claim is None:
        return None
    digest = submission_digest(spec, place)
    try:
        verify_text(claim.signature, claim.signer, submission_payload(digest, claim.expires, place))
    except SignatureError as error:
        raise BadInput(
            f"{error}. Signed must be digest {digest.hex()}, for {place.provider_text} on {place.network}: "
            "`sp-plugin job sign` prints a signed job, and nothing in it may change afterwards",
            field=f"Meta.{META_SIGNATURE}",
        ) from error
    return SignedSubmission(claim.signer, place.write(claim.signer), claim.expires, digest)


def why_not_in_time(expires: Epoch, now: Epoch) -> str | None:
    """Why a signature may not be used at epoch `now`; None if it may."""
    if now > expires:
        return f"the signature could be used until epoch {expires}; it is {now}: sign the job again"
    if expires - now > MOST_EPOCHS:
        return (
            f"the signature is good until epoch {expires}, more than {MOST_EPOCHS} from now ({now})"
        )
    return None


def is_payees_own(signer: str | None, meta: Mapping[str, Any]) -> bool:
    """Whether the one to be paid signed the job: its consent to be paid there is proven."""
    payee = meta.get(META_PAYEE)
    if signer is None or payee is None:
        return False
    try:
        return Address.parse(str(payee)) == Address.parse(signer)
    except AddressError:
        return False
