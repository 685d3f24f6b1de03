"""The JSON-RPC envelope that all transports share: requests to text, answers to results or errors."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final

from lotus_client.errors import (
    LotusActorNotFound,
    LotusBadParams,
    LotusDecodeError,
    LotusError,
    LotusExpensiveFork,
    LotusF3NotReady,
    LotusF3Off,
    LotusLookbackRefused,
    LotusNotSupported,
    LotusNullRound,
    LotusPermissionMissing,
    LotusRangeLimit,
    LotusReverted,
    LotusRpcError,
    LotusStatePruned,
)
from lotus_client.json_text import read_json
from lotus_client.secrets import redact

__all__ = ["decode_json", "error_of", "request_body", "request_object", "result_of"]

# go-jsonrpc `auth/auth.go`: the text of a refused permission
_MISSING_PERMISSION: Final = re.compile(
    r"missing permission to invoke '(?P<method>[^']{1,200})' \(need '(?P<permission>[^']{1,40})'\)"
)
# Codes of go-jsonrpc `errors.go`, Lotus `api/api_errors.go` and `lib/result`; each has one meaning everywhere.
_BY_CODE: Final[dict[int, type[LotusRpcError]]] = {
    -32700: LotusBadParams,
    -32602: LotusBadParams,
    -32601: LotusNotSupported,
    -32005: LotusRangeLimit,
    -32002: LotusExpensiveFork,
    3: LotusReverted,
    4: LotusF3Off,
    10: LotusF3NotReady,
    11: LotusActorNotFound,
    12: LotusNullRound,
}
# What comes as code 1 (Lotus), or as -32603 and others (Forest, proxies), is known by its text only:
# `node/impl/full/actor_event_dummy.go`, `chain/types/actor.go`, `gateway/node.go`, go-ipld-format `merkledag.go`.
_BY_TEXT: Final[tuple[tuple[re.Pattern[str], type[LotusRpcError]], ...]] = (
    (
        re.compile(r"module disabled|indexer is disabled|not supported", re.IGNORECASE),
        LotusNotSupported,
    ),
    (re.compile("actor not found", re.IGNORECASE), LotusActorNotFound),
    (re.compile("lookbacks of more than", re.IGNORECASE), LotusLookbackRefused),
    (re.compile("block not found|ipld: could not find", re.IGNORECASE), LotusStatePruned),
    (re.compile("was a null round", re.IGNORECASE), LotusNullRound),
)
_MAX_ERROR_TEXT: Final = 2000
# StateCompute's traces nest two levels per call, and the FVM allows 1024 calls in a row (ref-fvm `max_call_depth`).
_MAX_DEPTH: Final = 5000


def request_object(request_id: int, method: str, params: Sequence[Any]) -> dict[str, Any]:
    """One request as JSON."""
    return {"jsonrpc": "2.0", "id": request_id, "method": method, "params": list(params)}


def request_body(request_id: int, method: str, params: Sequence[Any]) -> str:
    """The text of one request."""
    return json.dumps(
        request_object(request_id, method, params), separators=(",", ":"), allow_nan=False
    )


def decode_json(method: str, raw: bytes | str) -> Any:
    """The JSON value of an answer.

    Raises:
        LotusDecodeError: not JSON, nested too deeply, or a number beyond reason.
    """
    try:
        return read_json(raw, max_depth=_MAX_DEPTH, parse_constant=_refuse_constant)
    except ValueError as error:
        raise LotusDecodeError(method, f"the answer is not JSON: {str(error)[:200]}") from error


def result_of(method: str, answer: dict[str, Any]) -> Any:
    """The `result` of an answer whose id was checked.

    Raises:
        LotusError: the answer is an error, or has neither.
    """
    if answer.get("error") is not None:
        raise error_of(method, answer["error"])
    if "result" not in answer:
        raise LotusDecodeError(method, "the answer has neither result nor error")
    return answer["result"]


def error_of(method: str, error: object) -> LotusError:
    """The exception for the `error` member of an answer."""
    if not isinstance(error, dict):
        return LotusDecodeError(f"{method}.error", "expected an object with code and message")
    code, message = error.get("code"), error.get("message")
    if not isinstance(code, int) or isinstance(code, bool) or not isinstance(message, str):
        return LotusDecodeError(f"{method}.error", "expected a whole number and a text")
    message = redact(message[:_MAX_ERROR_TEXT])
    missing = _MISSING_PERMISSION.search(message) if code == 1 else None
    if missing:
        return LotusPermissionMissing(missing["method"], missing["permission"])
    return _kind_of(code, message)(method, code, message, error.get("data"))


def _kind_of(code: int, message: str) -> type[LotusRpcError]:
    if code in _BY_CODE:
        return _BY_CODE[code]
    return next((kind for pattern, kind in _BY_TEXT if pattern.search(message)), LotusRpcError)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")
