"""What a method of the node's API is: its name, permission, parameters and handler."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from devstack.auth import Permission
from devstack.rpc.errors import RpcError

__all__ = [
    "NAMESPACE",
    "Caller",
    "Method",
    "MethodTable",
    "Param",
    "RawParams",
    "method_name",
]

NodeT = TypeVar("NodeT")

NAMESPACE: Final = "Filecoin."


def method_name(called: str) -> str:
    """A method's name without the namespace; an `eth_…` name stays as it is."""
    return called.removeprefix(NAMESPACE)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: the permissions of the request's token."""

    permissions: frozenset[str]

    def may(self, permission: Permission) -> bool:
        """Whether a method that needs `permission` may be called."""
        return str(permission) in self.permissions


@dataclass(frozen=True, slots=True)
class Param:
    """One positional parameter: the Go type it has in Lotus, and how its JSON becomes a value.

    `decode` raises ValueError on JSON of the wrong form.
    """

    go_type: str
    decode: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class RawParams:
    """Parameters that take variable forms (Lotus' "raw params"); decoded as one list."""

    decode: Callable[[list[Any]], tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Method(Generic[NodeT]):
    """One row of the table. The handler takes the node, then the decoded parameters.

    It may be a coroutine function. With `channel` it returns a `Subscription` and works over WebSocket only; so does one
    with `callbacks`, whose values come as Ethereum's notifications instead.
    """

    name: str
    permission: Permission
    params: tuple[Param, ...] | RawParams
    handler: Callable[..., Any | Awaitable[Any]]
    channel: bool = False
    callbacks: bool = False
    aliases: tuple[str, ...] = field(default=())

    def decode_params(self, called: str, params: Any) -> tuple[Any, ...]:
        """The handler's arguments.

        Raises:
            RpcError: not an array, wrong count, or a parameter that does not decode.
        """
        if params is None:
            params = []
        if not isinstance(params, list):
            raise RpcError.parse("unmarshaling param array: json: cannot unmarshal into []param")
        if isinstance(self.params, RawParams):
            return self._decode_raw(self.params, params)
        if len(params) != len(self.params):
            raise RpcError.param_count(called, len(params), len(self.params))
        values = []
        for param, value in zip(self.params, params, strict=True):
            try:
                values.append(param.decode(value))
            except ValueError as error:
                raise RpcError.parse(
                    f"unmarshaling params for '{called}' (param: *{param.go_type}): {error}"
                ) from error
        return tuple(values)

    @staticmethod
    def _decode_raw(raw: RawParams, params: list[Any]) -> tuple[Any, ...]:
        try:
            return raw.decode(params)
        except ValueError as error:
            raise RpcError(1, f"decoding params: {error}") from error


class MethodTable(Generic[NodeT]):
    """The methods that one path serves, by full name (`Filecoin.ChainHead`) and alias (`eth_chainId`)."""

    def __init__(self, methods: Iterable[Method[NodeT]]) -> None:
        self._by_name: dict[str, Method[NodeT]] = {}
        for method in methods:
            for name in (NAMESPACE + method.name, *method.aliases):
                if name in self._by_name:
                    raise ValueError(f"method {name} is in the table twice")
                self._by_name[name] = method

    def find(self, name: str) -> Method[NodeT]:
        """The method called `name`.

        Raises:
            RpcError: there is none.
        """
        try:
            return self._by_name[name]
        except KeyError:
            raise RpcError.not_found(name) from None

    @property
    def by_name(self) -> Mapping[str, Method[NodeT]]:
        """All methods by each name they answer to."""
        return self._by_name
