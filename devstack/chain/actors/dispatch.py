"""From a method number and bytes to a method of an actor, by the rules that all actors share (actors.md §0.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from devstack.chain.machine import Abort, Exit, Runtime
from lotus_client import cbor
from lotus_client.actors import wire
from lotus_client.address import Address
from lotus_client.bitfield import BitField

__all__ = [
    "FIRST_EXPORTED",
    "Action",
    "address",
    "bitfield",
    "call_method",
    "plain",
    "taking",
    "token",
    "unhandled",
    "unsigned",
]

P = TypeVar("P")
Action = Callable[[Runtime, bytes], bytes]

FIRST_EXPORTED: Final = 1 << 24  # FRC-42: smaller numbers are for the actors among themselves


def unhandled(method: int) -> Abort:
    """The outcome of calling a method that an actor does not have."""
    return Abort(Exit.UNHANDLED, f"no method {method}")


def plain(action: Callable[[Runtime], bytes]) -> Action:
    """A method without params; some given are an illegal argument."""

    def run(runtime: Runtime, params: bytes) -> bytes:
        if params:
            raise Abort(Exit.ILLEGAL_ARGUMENT, "the method takes no params")
        return action(runtime)

    return run


def taking(read: Callable[[bytes], P], action: Callable[[Runtime, P], bytes]) -> Action:
    """A method with params of one form; none given are an illegal argument, others a failed decoding."""

    def run(runtime: Runtime, params: bytes) -> bytes:
        if not params:
            raise Abort(Exit.ILLEGAL_ARGUMENT, "the method needs params")
        return action(runtime, read(params))

    return run


def call_method(
    runtime: Runtime,
    methods: Mapping[int, Action],
    method: int,
    params: bytes,
    *,
    accepts_any_exported: bool = False,
) -> bytes:
    """The method's return. Accounts and multisigs answer exported numbers they do not know with nothing."""
    action = methods.get(method)
    if action is not None:
        return action(runtime, params)
    if accepts_any_exported and method >= FIRST_EXPORTED:
        return b""
    raise unhandled(method)


def address(raw: bytes) -> Address:
    """Bare params of one address."""
    return wire.address(cbor.decode(raw))


def token(raw: bytes) -> int:
    """Bare params of one amount."""
    return wire.big(cbor.decode(raw))


def unsigned(raw: bytes) -> int:
    """Bare params of one id."""
    return wire.unsigned(cbor.decode(raw))


def bitfield(raw: bytes) -> BitField:
    """Bare params of one set of numbers."""
    return wire.bitfield(cbor.decode(raw))
