"""The seam itself, and the JSON-RPC envelope both transports share."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final, Protocol, TypeAlias

from lotus_client.errors import (
    LotusDecodeError,
    LotusError,
    LotusNotSupported,
    LotusRpcError,
    LotusUnauthorized,
)
from lotus_client.json_text import read_json
from lotus_client.secrets import redact

__all__ = ["RpcTransport", "StreamOf", "decode_json", "error_of", "request_body"]

# An async generator, so that `contextlib.aclosing` ends the subscription at a known moment.
StreamOf: TypeAlias = AsyncGenerator[Any, None]

# go-jsonrpc `auth/auth.go`: the text of a refused permission
_MISSING_PERMISSION: Final = re.compile(
    r"missing permission to invoke '(?P<method>[^']{1,200})' \(need '(?P<permission>[^']{1,40})'\)"
)
# Lotus `node/impl/full/actor_event_dummy.go` and kin; Forest says "not supported"
_SWITCHED_OFF: Final = re.compile(
    r"module disabled|indexer is disabled|not supported", re.IGNORECASE
)
_METHOD_NOT_FOUND: Final = -32601
_MAX_ERROR_TEXT: Final = 2000
# StateCompute's traces nest two levels per call, and the FVM allows 1024 calls in a row (ref-fvm `max_call_depth`).
_MAX_DEPTH: Final = 5000


class RpcTransport(Protocol):
    """A way to a node. Every method raises only `LotusError`s."""

    async def call(self, method: str, params: Sequence[Any]) -> Any:
        """The `result` of one JSON-RPC request, as parsed JSON.

        Raises:
            LotusError: see `lotus_client.errors` for what each kind asks of the caller.
        """
        ...

    def subscribe(self, method: str, params: Sequence[Any]) -> StreamOf:
        """The values of a channel method, in order, until the node ends it (`LotusConnectError` on a drop).

        Close the generator (`contextlib.aclosing`) to cancel the subscription at the node.
        """
        ...

    async def close(self) -> None:
        """Release sockets; open subscriptions end with `LotusConnectError`. Closing twice is fine."""
        ...


def request_body(request_id: int, method: str, params: Sequence[Any]) -> str:
    """The text of one request."""
    return json.dumps(
        {"jsonrpc": "2.0", "id": request_id, "method": method, "params": list(params)},
        separators=(",", ":"),
        allow_nan=False,
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


def error_of(method: str, error: object) -> LotusError:
    """The exception for the `error` member of an answer."""
    if not isinstance(error, dict):
        return LotusDecodeError(f"{method}.error", "expected an object with code and message")
    code, message = error.get("code"), error.get("message")
    if not isinstance(code, int) or isinstance(code, bool) or not isinstance(message, str):
        return LotusDecodeError(f"{method}.error", "expected a whole number and a text")
    message = redact(message[:_MAX_ERROR_TEXT])
    data = error.get("data")
    missing = _MISSING_PERMISSION.search(message) if code == 1 else None
    if missing:
        return LotusUnauthorized(
            f"the token may not call {missing['method']}: it needs the permission "
            f"'{missing['permission']}' (make one: lotus auth api-info --perm {missing['permission']})"
        )
    if code == _METHOD_NOT_FOUND or (code == 1 and _SWITCHED_OFF.search(message)):
        return LotusNotSupported(method, code, message, data)
    return LotusRpcError(method, code, message, data)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")
