"""Our own routes about jobs: what approvers sign, their signatures, policy, logs."""

from __future__ import annotations

from typing import Any, Final

from aiohttp import web

from fil_plus.approvals import ApprovalDecision, RevocationReason
from lotus_client.address import Address, AddressError
from lotus_client.crypto import Signature, SignatureError
from lotus_client.types import Epoch
from sp_plugin.config import Scope
from sp_plugin.errors import BadInput
from sp_plugin.http.auth import needs
from sp_plugin.http.job_lookup import job_of
from sp_plugin.http.parts import PARTS
from sp_plugin.http.requests import json_body
from sp_plugin.jobs.following import STDERR, STDOUT, follow_execution
from sp_plugin.policy import PolicyDecision

__all__ = ["routes"]

_JOB: Final = "/api/v1/sp/jobs/{id}"
_MAX_LOG: Final = 1 << 20

routes = web.RouteTableDef()


@routes.get(_JOB + "/bundle")
@needs(Scope.READ)
async def bundle(request: web.Request) -> web.Response:
    """What approvers sign: the bundle, its digest, and the text for the wallet."""
    job = await job_of(request)
    signing = request.app[PARTS].desk.request(job)
    return web.json_response(
        {
            "job_id": job.id,
            "digest": signing.digest.hex(),
            "payload": signing.payload.decode("ascii"),
            "bundle": signing.bundle.to_json(),
        }
    )


@routes.get(_JOB + "/approvals")
@needs(Scope.READ)
async def standing(request: web.Request) -> web.Response:
    """The signatures at hand, which of them count, and what is missing at the chain's present epoch."""
    job = await job_of(request)
    parts = request.app[PARTS]
    signing = parts.desk.request(job)
    decision = await parts.desk.decide(signing.bundle, await parts.head())
    body = await _standing_json(request, decision)
    return web.json_response({"job_id": job.id, "bundle": signing.bundle.to_json()} | body)


@routes.post(_JOB + "/approvals")
@needs(Scope.APPROVE)
async def approve(request: web.Request) -> web.Response:
    """Take a signature in; it is verified against the job's bundle first."""
    job = await job_of(request)
    body = await json_body(request)
    parts = request.app[PARTS]
    role = body.get("role")
    added = await parts.desk.add(
        job, _address(body), _signature(body), None if role is None else str(role)
    )
    parts.consider(job.id)
    return web.json_response({"added": added, "job_id": job.id})


@routes.post(_JOB + "/revocations")
@needs(Scope.APPROVE)
async def revoke(request: web.Request) -> web.Response:
    """Take a signed withdrawal of approval in."""
    job = await job_of(request)
    body = await json_body(request)
    epoch, reason = body.get("at_epoch"), body.get("reason")
    if not isinstance(epoch, int) or isinstance(epoch, bool) or not 0 <= epoch < 1 << 62:
        raise BadInput("must be the epoch that was signed", field="at_epoch")
    if reason not in list(RevocationReason):
        raise BadInput(f"must be one of {', '.join(RevocationReason)}", field="reason")
    added = await request.app[PARTS].desk.revoke(
        job, _address(body), _signature(body), RevocationReason(reason), Epoch(epoch)
    )
    return web.json_response({"added": added, "job_id": job.id})


@routes.get(_JOB + "/policy")
@needs(Scope.READ)
async def policy(request: web.Request) -> web.Response:
    """Every rule of this provider for the job, kept or not."""
    job = await job_of(request)
    return web.json_response(_policy_json(await request.app[PARTS].admission.explain(job.id)))


@routes.post("/api/v1/sp/policy/test")
@needs(Scope.READ)
async def policy_test(request: web.Request) -> web.Response:
    """The same for a job that is not handed in."""
    job = (await json_body(request)).get("Job")
    if not isinstance(job, dict):
        raise BadInput("must be a job", field="Job")
    return web.json_response(_policy_json(await request.app[PARTS].admission.try_policy(job)))


@routes.get(_JOB + "/logs")
@needs(Scope.READ)
async def logs(request: web.Request) -> web.Response:
    """What the newest execution wrote until now, at most 1 MiB of each stream; undecodable bytes are replaced."""
    job = await job_of(request)
    parts = request.app[PARTS]
    executions = await parts.queue.executions_of(job.id)
    if not executions:
        return web.json_response({"execution_id": None, "stdout": "", "stderr": ""})
    shown = {STDOUT: "", STDERR: ""}
    async for chunk in follow_execution(parts.queue, parts.logs, executions[-1].id, follow=False):
        if len(shown[chunk.stream]) < _MAX_LOG:
            shown[chunk.stream] += chunk.text[: _MAX_LOG - len(shown[chunk.stream])]
    return web.json_response(
        {"execution_id": executions[-1].id, "stdout": shown[STDOUT], "stderr": shown[STDERR]}
    )


async def _standing_json(request: web.Request, decision: ApprovalDecision) -> dict[str, Any]:
    prefix = request.app[PARTS].prefix
    counted = {(item.approver, item.role) for item in decision.counted}
    why = {item.approver: item.detail for item in decision.ignored}
    approvals = await request.app[PARTS].desk.approvals_of(decision.digest)
    return {
        "digest": decision.digest.hex(),
        "approved": decision.approved,
        "at_epoch": decision.at_epoch,
        "approvals": [
            {
                "approver": item.approver.to_text(prefix),
                "role": item.role,
                "signature": item.signature.to_bytes().hex(),
                "counts": (item.approver, item.role) in counted,
                "detail": ""
                if (item.approver, item.role) in counted
                else why.get(item.approver, ""),
            }
            for item in approvals
        ],
        "refusals": [
            {"reason": str(item.reason), "detail": item.detail} for item in decision.refusals
        ],
    }


def _policy_json(decision: PolicyDecision) -> dict[str, Any]:
    return {
        "allowed": decision.allowed,
        "findings": [
            {"rule": item.rule, "kept": item.kept, "detail": item.detail}
            for item in decision.findings
        ],
    }


def _address(body: dict[str, Any]) -> Address:
    try:
        return Address.parse(str(body.get("approver", "")))
    except AddressError as error:
        raise BadInput(str(error), field="approver") from error


def _signature(body: dict[str, Any]) -> Signature:
    try:
        return Signature.from_bytes(bytes.fromhex(str(body.get("signature", ""))))
    except (SignatureError, ValueError) as error:
        raise BadInput(
            f"must be hex as `lotus wallet sign` prints it: {error}", field="signature"
        ) from error
