"""Asking an actor whether a signature is its own: accounts check their key, others by their own rules."""

from __future__ import annotations

from devstack.chain.machine import Runtime
from lotus_client import cbor
from lotus_client.actors.methods import AccountMethod
from lotus_client.actors.system import AuthenticateMessageParams
from lotus_client.address import Address

__all__ = ["authenticates"]


def authenticates(runtime: Runtime, signer: Address, signature: bytes, message: bytes) -> bool:
    """Whether the actor says yes. Its silence, as a multisig's to a method it does not know, is no."""
    asked = AuthenticateMessageParams(signature, message).to_cbor()
    sent = runtime.send(signer, AccountMethod.AUTHENTICATE_MESSAGE, asked, read_only=True)
    return sent.exit_code == 0 and sent.return_ == cbor.encode(True)
