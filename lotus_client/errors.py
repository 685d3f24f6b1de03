"""What can go wrong between us and a node, divided by what the caller should do.

LotusError
├── LotusUnavailable        retry: the node could not be reached or did not answer in time
│   ├── LotusConnectError       refused, reset, DNS, 5xx, 429
│   └── LotusTimeout            our own deadline passed
├── LotusUnauthorized       fix the token: HTTP 401, or a permission is missing
├── LotusWrongNetwork       fix the config: the node is on another network than asked for
├── LotusRpcError           the node answered with an error; `.code`, `.message`, `.data`
│   └── LotusNotSupported       the method is absent or switched off on this node
└── LotusDecodeError        the node answered something that is not Lotus' shape; `.path`
"""

from __future__ import annotations

__all__ = [
    "LotusConnectError",
    "LotusDecodeError",
    "LotusError",
    "LotusNotSupported",
    "LotusRpcError",
    "LotusTimeout",
    "LotusUnauthorized",
    "LotusUnavailable",
    "LotusWrongNetwork",
]


class LotusError(Exception):
    """Base of all errors of this package that concern a node."""


class LotusUnavailable(LotusError):
    """The node could not be reached or did not answer; the same call may work later."""


class LotusConnectError(LotusUnavailable):
    """The connection was refused, reset or answered with a server error."""


class LotusTimeout(LotusUnavailable):
    """No answer within our deadline."""


class LotusUnauthorized(LotusError):
    """The token is bad or lacks a permission; names the method and the permission needed if known."""


class LotusWrongNetwork(LotusError):
    """The node serves another network or genesis than the config names."""


class LotusRpcError(LotusError):
    """The node answered with a JSON-RPC error."""

    def __init__(self, method: str, code: int, message: str, data: object = None) -> None:
        super().__init__(f"{method}: {message} (code {code})")
        self.method = method
        self.code = code
        self.message = message
        self.data = data


class LotusNotSupported(LotusRpcError):
    """The method does not exist on this node, or its config has it switched off."""


class LotusDecodeError(LotusError):
    """An answer that is not of Lotus' shape; `path` is where in it."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
