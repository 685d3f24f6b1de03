"""How a job comes in: by a token, or by its submitter's signature in it (`sp_plugin.jobs.signed`).

Without a token nothing is read unless the operator named signers, and of what is read nothing is computed unless it names one of
them. A signature that comes along with a token is verified all the same: it says that the payee agrees.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from sp_plugin.config import Scope
from sp_plugin.errors import BadInput, NotAllowed
from sp_plugin.http.auth import CALLER, needs, refusal_of
from sp_plugin.http.door import Door
from sp_plugin.http.errors import error_response
from sp_plugin.http.parts import PARTS, Parts
from sp_plugin.http.requests import job_in, json_body
from sp_plugin.jobs.reading import ReadJob
from sp_plugin.jobs.signed import (
    MOST_EPOCHS,
    SIGNED_JOB_SCHEMA,
    Place,
    SignedSubmission,
    claim_in,
    verify_submission,
)

__all__ = ["DOOR", "SIGNING_PATH", "Door", "HandedIn", "handed_in", "routes"]

SIGNING_PATH: Final = "/api/v1/sp/signing"
_BODY_SECONDS: Final = 30.0  # a stranger's body must have come by then
_ANONYMOUS: Final = "anonymous"

DOOR: Final = web.AppKey("door", Door)
routes = web.RouteTableDef()


@dataclass(frozen=True, slots=True)
class HandedIn:
    """A job that may be taken in, whose it is for quotas, and whose verified signature it carries."""

    read: ReadJob
    submitter: str
    signed: SignedSubmission | None


@routes.get(SIGNING_PATH)
@needs(None)
async def signing(request: web.Request) -> web.Response:
    """What a submitter must know to sign a job; open to everybody where jobs may come in so.

    `epoch` is the chain's present one; a signature must be used before its own last epoch, at most `most_epochs` ahead.
    """
    parts = request.app[PARTS]
    if not parts.http.signers and (refusal := await refusal_of(request, Scope.READ)) is not None:
        return refusal
    place = _place(parts)
    return web.json_response(
        {
            "schema": SIGNED_JOB_SCHEMA,
            "network": place.network,
            "provider": place.provider_text,
            "epoch": await parts.admission.epoch(),
            "most_epochs": MOST_EPOCHS,
        }
    )


async def handed_in(request: web.Request) -> HandedIn | web.Response:
    """The job of a request, or the 401 answer.

    Raises:
        NotAllowed: the token lacks the scope, or the signer is not in `http.signers`.
        BadInput, JobSpecError: no job, or not what was signed.
        TooMany: too many try without a token.
    """
    parts = request.app[PARTS]
    lacking: NotAllowed | None = None
    try:
        refusal = await refusal_of(request, Scope.SUBMIT)
    except NotAllowed as error:  # a known token, e.g. one that may read
        refusal, lacking = None, error
    if refusal is None and lacking is None:
        return await _by_token(request)
    has_unknown_token = lacking is None and "Authorization" in request.headers
    if has_unknown_token or not parts.http.signers:
        if lacking is not None:
            raise lacking
        assert refusal is not None
        return refusal
    try:
        with request.app[DOOR].open(request.remote):
            return await _by_signature(request, lacking)
    except _NotSigned:
        return error_response(
            401,
            "Unauthorized",
            "a token is needed, or the signature of one of this provider's http.signers",
            hint="send Authorization: Bearer <token>, or a job that `sp-plugin job sign` has signed",
        )


class _NotSigned(Exception):
    """Neither a token nor a signature."""


async def _by_token(request: web.Request) -> HandedIn:
    parts, name = request.app[PARTS], request[CALLER]
    read = parts.admission.read(job_in(await json_body(request)))
    signed = await _verified(read, parts)
    if signed is not None and name == _ANONYMOUS and signed.signer in parts.http.signers:
        name = signed.name
    return HandedIn(read, name, signed)


async def _by_signature(request: web.Request, lacking: NotAllowed | None) -> HandedIn:
    parts = request.app[PARTS]
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            job = job_in(await json_body(request))
    except TimeoutError as error:
        raise BadInput(f"the body did not come within {_BODY_SECONDS:g} s") from error
    claim = claim_in(_meta_of(job))
    if claim is None:
        raise lacking or _NotSigned
    if claim.signer not in parts.http.signers:
        raise NotAllowed(
            f"{claim.signer.to_text(parts.prefix)} is not in this provider's http.signers"
        )
    read = parts.admission.read(job)
    signed = await _verified(read, parts)
    if signed is None or signed.signer not in parts.http.signers:  # Meta stood there twice
        raise NotAllowed("the job names another signer, or none, in a second Meta")
    if await parts.admission.known(signed) is not None:  # whoever reads jobs can send one again
        request.app[DOOR].note_idle(request.remote)
    return HandedIn(read, signed.name, signed)


async def _verified(read: ReadJob, parts: Parts) -> SignedSubmission | None:
    """In a thread: a job may have megabytes, and a BLS signature takes milliseconds."""
    if claim_in(read.spec.meta) is None:
        return None
    return await asyncio.to_thread(verify_submission, read.spec, _place(parts))


def _place(parts: Parts) -> Place:
    return Place(parts.network, parts.provider)


def _meta_of(job: Mapping[str, Any]) -> Mapping[str, Any]:
    found = next((value for key, value in job.items() if key.casefold() == "meta"), None)
    return found if isinstance(found, dict) else {}
