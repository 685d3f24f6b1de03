"""System f00, cron f03, accounts and placeholders: the actors with next to no methods."""

from __future__ import annotations

from typing import Final

from devstack.chain.actors.dispatch import (
    FIRST_EXPORTED,
    Action,
    call_method,
    plain,
    taking,
    unhandled,
)
from devstack.chain.machine import Abort, Exit, Runtime
from lotus_client import cbor
from lotus_client.actors.methods import AccountMethod, CronMethod
from lotus_client.actors.system import AuthenticateMessageParams
from lotus_client.address import Address
from lotus_client.crypto import Signature, SignatureError, SignatureType, verify_signature

__all__ = ["account", "cron", "eth_account", "placeholder", "system"]

# The signature type is not on the wire here: it follows from the account's own address.
_SIGNATURE_OF_PROTOCOL: Final = {1: SignatureType.SECP256K1, 3: SignatureType.BLS}


def system(_runtime: Runtime, method: int, _params: bytes) -> bytes:
    """f00 has nothing to call."""
    raise unhandled(method)


def account(runtime: Runtime, method: int, params: bytes) -> bytes:
    """PubkeyAddress and AuthenticateMessage; any unknown exported number is answered with nothing."""
    return call_method(runtime, _ACCOUNT, method, params, accepts_any_exported=True)


def _pubkey_address(runtime: Runtime) -> bytes:
    address: Address = runtime.state.address
    return cbor.encode(address.to_bytes())


def _authenticate(runtime: Runtime, claimed: AuthenticateMessageParams) -> bytes:
    signer: Address = runtime.state.address
    kind = _SIGNATURE_OF_PROTOCOL.get(signer.protocol)
    if kind is None:
        raise Abort(Exit.ILLEGAL_ARGUMENT, f"{signer} has no key")
    try:
        verify_signature(Signature(kind, claimed.signature), signer, claimed.message)
    except SignatureError as error:
        raise Abort(Exit.ILLEGAL_ARGUMENT, str(error)) from error
    return cbor.encode(True)


_ACCOUNT: Final[dict[int, Action]] = {
    AccountMethod.PUBKEY_ADDRESS: plain(_pubkey_address),
    AccountMethod.AUTHENTICATE_MESSAGE: taking(AuthenticateMessageParams.from_cbor, _authenticate),
}


def placeholder(_runtime: Runtime, method: int, _params: bytes) -> bytes:
    """An f410 address that only received money; like the FVM's it takes any exported call and does nothing."""
    if method >= FIRST_EXPORTED:
        return b""
    raise unhandled(method)


def eth_account(_runtime: Runtime, method: int, _params: bytes) -> bytes:
    """The account of an Ethereum key; any exported call is accepted and answered with nothing."""
    if method >= FIRST_EXPORTED:
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
