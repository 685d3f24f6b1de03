"""System f00, cron f03, market f05, accounts and placeholders: the actors with next to no methods."""

from __future__ import annotations

from devstack.chain.machine import Abort, Exit, Runtime
from lotus_client import cbor
from lotus_client.actors.methods import CronMethod, MarketMethod
from lotus_client.address import Address

__all__ = ["account", "cron", "eth_account", "market", "placeholder", "system"]

_FIRST_EXPORTED = 1 << 24  # FRC-42


def unhandled(method: int) -> Abort:
    """The outcome of calling a method that an actor does not have."""
    return Abort(Exit.UNHANDLED, f"no method {method}")


def system(_runtime: Runtime, method: int, _params: bytes) -> bytes:
    """f00 has nothing to call."""
    raise unhandled(method)


def account(runtime: Runtime, method: int, _params: bytes) -> bytes:
    """PubkeyAddress; any unknown exported number is accepted and answered with nothing."""
    if method == 2:
        address: Address = runtime.state.address
        return cbor.encode(address.to_bytes())
    if method >= _FIRST_EXPORTED:
        return b""
    raise unhandled(method)


def placeholder(_runtime: Runtime, method: int, _params: bytes) -> bytes:
    """An f410 address that only received money; like the FVM's it takes any exported call and does nothing."""
    if method >= _FIRST_EXPORTED:
        return b""
    raise unhandled(method)


def eth_account(_runtime: Runtime, method: int, _params: bytes) -> bytes:
    """The account of an Ethereum key; any exported call is accepted and answered with nothing."""
    if method >= _FIRST_EXPORTED:
        return b""
    raise unhandled(method)


def market(runtime: Runtime, method: int, _params: bytes) -> bytes:
    """f05 without deals: its cron tick finds nothing to do, everything else is refused."""
    if method == MarketMethod.CRON_TICK:
        runtime.require_caller(3)
        return b""
    raise unhandled(method)


def cron(runtime: Runtime, method: int, _params: bytes) -> bytes:
    """EpochTick: call every entry and swallow its failures."""
    if method != CronMethod.EPOCH_TICK:
        raise unhandled(method)
    runtime.require_caller(0)
    for actor_id, entry_method in runtime.state.entries:
        runtime.send(Address.of_id(actor_id), entry_method)
    return b""
