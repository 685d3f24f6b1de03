"""One JSON-RPC request to one response, the same over HTTP and WebSocket."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import structlog

from devstack.rpc.errors import RpcError
from devstack.rpc.methods import Caller, Method, MethodTable
from devstack.rpc.seam import Seam
from devstack.rpc.subscription import Subscription

__all__ = ["Dispatcher", "Request", "error_response", "parse_request", "result_response"]

NodeT = TypeVar("NodeT")

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """A request object; `id` is None for a notification, which gets no answer unless it is malformed."""

    id: int | float | str | None
    method: str
    params: Any


def parse_request(body: Any) -> Request:
    """The request of decoded JSON.

    Raises:
        RpcError: not a request object (a parse error, as Go's decoder would have it).
    """
    if not isinstance(body, dict):
        raise RpcError.parse()
    request_id, method = body.get("id"), body.get("method", "")
    if not isinstance(method, str):
        raise RpcError.parse()
    if isinstance(request_id, bool) or not isinstance(request_id, int | float | str | None):
        raise RpcError.parse("failed to parse ID: invalid id type")
    return Request(request_id, method, body.get("params"))


def result_response(request_id: object, result: Any) -> dict[str, Any]:
    """The response object of a result; `None` is `null`."""
    return {"id": request_id, "jsonrpc": "2.0", "result": result}


def error_response(request_id: object, error: RpcError) -> dict[str, Any]:
    """The response object of an error."""
    return {"id": request_id, "jsonrpc": "2.0", "error": error.to_json()}


class Dispatcher(Generic[NodeT]):
    """Calls the methods of one table on one node. `expected` exceptions become ordinary errors of code 1."""

    def __init__(
        self,
        table: MethodTable[NodeT],
        node: NodeT,
        expected: tuple[type[Exception], ...] = (),
        seam: Seam | None = None,
    ) -> None:
        self._table = table
        self._node = node
        self._expected = expected
        self.seam = seam if seam is not None else Seam()

    async def call(self, request: Request, caller: Caller, *, channels: bool) -> Any:
        """The method's result; a `Subscription` for a channel method where `channels` are possible.

        The order of checks is Lotus': name, mode, parameters, permission.

        Raises:
            RpcError: whatever went wrong, in its wire form.
        """
        method = self._table.find(request.method)
        if method.channel and not channels:
            raise RpcError.needs_channel(request.method)
        arguments = method.decode_params(request.method, request.params)
        if method.callbacks and not channels:
            raise RpcError(1, "connection doesn't support callbacks")
        if not caller.may(method.permission):
            raise RpcError.missing_permission(method.name, method.permission)
        return await self._run(method, request, arguments)

    async def _run(
        self, method: Method[NodeT], request: Request, arguments: tuple[Any, ...]
    ) -> Any | Subscription:
        try:
            arguments = self.seam.before(method.name, self._node, arguments)
            result = method.handler(self._node, *arguments)
            if inspect.isawaitable(result):
                result = await result
            return self.seam.after(method.name, result)
        except RpcError:
            raise
        except self._expected as error:
            raise RpcError(1, str(error)) from error
        except Exception as error:  # a handler's bug must not end the node
            _log.exception("rpc_method_failed", method=request.method)
            raise RpcError.panicked(request.method, error) from error
