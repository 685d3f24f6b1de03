"""What can go wrong between us and a node, divided by what the caller should do.

LotusError
├── LotusUnavailable        retry: the node could not be reached or did not answer in time
│   ├── LotusConnectError       refused, reset, DNS, 5xx
│   │   ├── LotusBusy               429 or 503: `.retry_after_seconds` if the node said when
│   │   └── LotusNoEndpoint         HTTP 404 and kin: no node at this URL and path; do not hurry to retry
│   └── LotusTimeout            our own deadline passed
├── LotusUnauthorized       fix the token: HTTP 401
│   └── LotusPermissionMissing  the token is good but lacks `.permission` for `.method`
├── LotusWrongNetwork       fix the config: the node is on another network than asked for
├── LotusHeadLost           start anew: the node's chain and ours have no tipset in common within reach
├── LotusRpcError           the node answered with an error; `.code`, `.message`, `.data`
│   ├── LotusNotSupported       ask another node: the method is absent or switched off on this one
│   │   └── LotusF3Off              F3 does not run on this node (4)
│   ├── LotusBadParams          a bug here or another API version: parameters refused (-32602, -32700)
│   ├── LotusActorNotFound      the chain has no such actor in that state (11, or only the text)
│   ├── LotusNullRound          nobody won that epoch; ask for the next or the one before (12); `.epoch`
│   ├── LotusRangeLimit         ask for less at once (-32005)
│   ├── LotusReverted           a contract reverted (3); `.return_data`
│   ├── LotusF3NotReady         ask again later (10)
│   └── LotusStateUnavailable   ask an archive node, or about a newer tipset
│       ├── LotusExpensiveFork      state at an upgrade epoch that the node will not compute (-32002)
│       ├── LotusLookbackRefused    further back than this gateway looks
│       └── LotusStatePruned        the node has dropped those blocks
└── LotusDecodeError        the node answered something that is not Lotus' shape; `.path`
"""

from __future__ import annotations

__all__ = [
    "LotusActorNotFound",
    "LotusBadParams",
    "LotusBusy",
    "LotusConnectError",
    "LotusDecodeError",
    "LotusError",
    "LotusExpensiveFork",
    "LotusF3NotReady",
    "LotusF3Off",
    "LotusHeadLost",
    "LotusLookbackRefused",
    "LotusNoEndpoint",
    "LotusNotSupported",
    "LotusNullRound",
    "LotusPermissionMissing",
    "LotusRangeLimit",
    "LotusReverted",
    "LotusRpcError",
    "LotusStatePruned",
    "LotusStateUnavailable",
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


class LotusBusy(LotusConnectError):
    """The node or a proxy asks us to slow down; `retry_after_seconds` is None if it did not say for how long."""

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class LotusNoEndpoint(LotusConnectError):
    """Something answers at this address, but no node does at this path."""


class LotusTimeout(LotusUnavailable):
    """No answer within our deadline."""


class LotusUnauthorized(LotusError):
    """The token is bad or lacks a permission; names the method and the permission needed if known."""


class LotusPermissionMissing(LotusUnauthorized):
    """The token lacks `permission`, which `method` needs."""

    def __init__(self, method: str, permission: str) -> None:
        super().__init__(
            f"the token may not call {method}: it needs the permission '{permission}' "
            f"(make one: lotus auth api-info --perm {permission})"
        )
        self.method = method
        self.permission = permission


class LotusWrongNetwork(LotusError):
    """The node serves another network or genesis than the config names."""


class LotusHeadLost(LotusError):
    """No path leads from the last known tipset to the node's head; whatever was derived must be read anew."""


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


class LotusF3Off(LotusNotSupported):
    """This node does not run F3."""


class LotusBadParams(LotusRpcError):
    """The node refuses the number or the form of the parameters: another API version, or a bug on our side."""


class LotusActorNotFound(LotusRpcError):
    """There is no such actor in the state that was asked about."""


class LotusNullRound(LotusRpcError):
    """Nobody won the epoch that was asked about."""

    @property
    def epoch(self) -> int | None:
        """The epoch as the node names it, if it does."""
        return self.data if isinstance(self.data, int) and not isinstance(self.data, bool) else None


class LotusRangeLimit(LotusRpcError):
    """More was asked for than the node gives out at once."""


class LotusReverted(LotusRpcError):
    """The call of a contract reverted."""

    @property
    def return_data(self) -> bytes:
        """What the contract returned with its revert; empty if the node does not say."""
        text = self.data if isinstance(self.data, str) else ""
        try:
            return bytes.fromhex(text.removeprefix("0x"))
        except ValueError:
            return b""


class LotusF3NotReady(LotusRpcError):
    """F3 is starting."""


class LotusStateUnavailable(LotusRpcError):
    """This node cannot or will not answer about that part of the chain; another may."""


class LotusExpensiveFork(LotusStateUnavailable):
    """The state lies at an upgrade whose migration the node will not repeat."""


class LotusLookbackRefused(LotusStateUnavailable):
    """A gateway looks back only so far (a day, by default)."""


class LotusStatePruned(LotusStateUnavailable):
    """The blocks are not in the node's store: pruned, or never there since it began from a snapshot."""


class LotusDecodeError(LotusError):
    """An answer that is not of Lotus' shape; `path` is where in it."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
