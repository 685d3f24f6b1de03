"""Errors as they go over the wire, with the HTTP status that go-jsonrpc gives them."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["RpcError"]

# go-jsonrpc `errors.go`
_PARSE: Final = -32700
_INVALID_REQUEST: Final = -32600
_METHOD_NOT_FOUND: Final = -32601
_INVALID_PARAMS: Final = -32602
_PANIC: Final = 0

# Lotus `api/api_errors.go`
_EXECUTION_REVERTED: Final = 3
_ACTOR_NOT_FOUND: Final = 11
_NULL_ROUND: Final = 12
_BLOCK_RANGE: Final = -32005


class RpcError(Exception):
    """An error answer. Code 1 is any ordinary application error, known by its text only."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data

    @property
    def http_status(self) -> int:
        """400 for an invalid request, 500 for the other framing errors and panics, else 200."""
        if self.code == _INVALID_REQUEST:
            return 400
        if self.code in (_PARSE, _METHOD_NOT_FOUND, _INVALID_PARAMS, _PANIC):
            return 500
        return 200

    def to_json(self) -> dict[str, Any]:
        """The `error` member of a response."""
        body: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.data is not None:
            body["data"] = self.data
        return body

    @classmethod
    def parse(cls, message: str = "Parse error") -> RpcError:
        """A body or parameter that does not decode."""
        return cls(_PARSE, message)

    @classmethod
    def invalid_request(cls) -> RpcError:
        """An empty body or batch."""
        return cls(_INVALID_REQUEST, "Invalid request")

    @classmethod
    def not_found(cls, name: str) -> RpcError:
        """No such method."""
        return cls(_METHOD_NOT_FOUND, f"method '{name}' not found")

    @classmethod
    def needs_channel(cls, name: str) -> RpcError:
        """A channel method called over HTTP."""
        return cls(
            _METHOD_NOT_FOUND,
            f"method '{name}' not supported in this mode (no out channel support)",
        )

    @classmethod
    def param_count(cls, name: str, given: int, wanted: int) -> RpcError:
        """The array of parameters has the wrong length."""
        return cls(_INVALID_PARAMS, f"wrong param count (method '{name}'): {given} != {wanted}")

    @classmethod
    def missing_permission(cls, method: str, permission: str) -> RpcError:
        """The caller's token lacks `permission`."""
        return cls(1, f"missing permission to invoke '{method}' (need '{permission}')")

    @classmethod
    def panicked(cls, name: str, error: Exception) -> RpcError:
        """A bug in a handler: Lotus answers a panic with code 0."""
        return cls(
            _PANIC,
            f"fatal error calling '{name}': panic in rpc method '{name}': "
            f"{type(error).__name__}: {error}",
        )

    @classmethod
    def actor_not_found(cls) -> RpcError:
        """The address has no actor in the asked state."""
        return cls(_ACTOR_NOT_FOUND, "actor not found")

    @classmethod
    def reverted(cls, message: str, data: bytes) -> RpcError:
        """A call failed; `data` is what the contract reverted with."""
        return cls(_EXECUTION_REVERTED, message, data="0x" + data.hex())

    @classmethod
    def block_range(cls, most: int, given: int) -> RpcError:
        """A filter spans too many epochs."""
        return cls(_BLOCK_RANGE, f"block range exceeds maximum of {most} (got {given})")

    @classmethod
    def null_round(cls, epoch: int) -> RpcError:
        """The epoch has no tipset."""
        return cls(_NULL_ROUND, f"requested epoch was a null round ({epoch})", data=epoch)
