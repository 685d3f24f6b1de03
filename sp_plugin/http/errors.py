"""Errors as Bacalhau's clients expect them: one JSON envelope, the status and code by the kind of error."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import uuid4

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from lotus_client.errors import LotusError, LotusUnavailable, LotusWrongNetwork
from sp_plugin.errors import (
    Away,
    Conflict,
    ExitCode,
    NodeUnreachable,
    NotAllowed,
    NotFound,
    RefusedByPolicy,
    SpPluginError,
    TooMany,
)
from sp_plugin.jobs.queue import InvalidTransition, SeveralJobs
from sp_plugin.payouts.batch import BatchRefused
from sp_plugin.store.jobs import JobNotFound

__all__ = ["error_middleware", "error_response"]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Kind:
    status: int
    code: str


# The first fitting class counts. Codes: Bacalhau v1.5+ `pkg/bacerrors`.
_KINDS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], _Kind], ...] = (
    ((NotFound, JobNotFound), _Kind(404, "NotFound")),
    (SeveralJobs, _Kind(409, "MultipleJobsFound")),
    (InvalidTransition, _Kind(409, "ConflictJobState")),
    ((Conflict, BatchRefused), _Kind(409, "Conflict")),
    (TooMany, _Kind(429, "ResourceExhausted")),
    (RefusedByPolicy, _Kind(403, "RefusedByPolicy")),
    (NotAllowed, _Kind(403, "Forbidden")),
    (
        (Away, NodeUnreachable, LotusUnavailable, LotusWrongNetwork),
        _Kind(503, "ServiceUnavailable"),
    ),
    ((SpPluginError, LotusError), _Kind(500, "InternalError")),
)


def error_response(
    status: int, code: str, message: str, *, request_id: str = "", hint: str = ""
) -> web.Response:
    """The envelope of Bacalhau v1.5 and later."""
    return web.json_response(
        {
            "Status": status,
            "Message": message,
            "RequestID": request_id,
            "Code": code,
            "Component": "sp-plugin",
            "Hint": hint,
            "Details": {},
        },
        status=status,
    )


@web.middleware
async def error_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give every request an id and every error the envelope; a fault of ours is logged, not shown."""
    request_id = uuid4().hex
    try:
        response = await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        code = {404: "NotFound", 405: "MethodNotAllowed", 413: "BadRequest"}.get(error.status, "")
        response = error_response(error.status, code, error.reason, request_id=request_id)
    except Exception as error:  # noqa: BLE001  the outermost handler of a request
        response = _of_error(error, request, request_id)
    if not response.prepared:
        response.headers["X-Request-Id"] = request_id
    return response


def _of_error(error: Exception, request: web.Request, request_id: str) -> web.Response:
    if isinstance(error, SpPluginError) and error.exit_code is ExitCode.BAD_INPUT:
        return error_response(400, "BadRequest", str(error), request_id=request_id)
    for classes, kind in _KINDS:
        if isinstance(error, classes):
            return error_response(kind.status, kind.code, str(error), request_id=request_id)
    log.error(
        "request_failed",
        method=request.method,
        path=request.path,
        request_id=request_id,
        exc_info=error,
    )
    return error_response(
        500, "InternalError", "an unexpected error; the log has it", request_id=request_id
    )
