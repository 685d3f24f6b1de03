"""A signer endpoint for real: a node's wallet over its API, honest and not."""

from __future__ import annotations

from typing import Any

import pytest

from devstack.stack import Devstack
from lotus_client.address import Address
from lotus_client.api_info import ApiInfo
from lotus_client.crypto import verify_signature
from lotus_client.errors import LotusUnauthorized
from lotus_client.messages import Message, SignedMessage
from lotus_client.transport import NodeTransport
from lotus_client.types import AttoFil
from sp_plugin.payouts.signer import NodeSigner, SignerError
from sp_plugin.wallet import WalletEndpoint

PAYEE = Address.of_id(1234)


def endpoint(net: Devstack, *permissions: Any) -> WalletEndpoint:
    token = net.token(*permissions)
    info = ApiInfo.parse(f"{token}:/ip4/127.0.0.1/tcp/{net.api_port}/http")
    return WalletEndpoint(NodeTransport(info, timeout_seconds=30.0))


class Liar(WalletEndpoint):
    """Signs, but not what it was asked to sign."""

    def __init__(self, honest: WalletEndpoint, *, answer_asked: bool) -> None:
        super().__init__(honest._transport)
        self.answer_asked = answer_asked

    async def wallet_sign_message(self, address: Address, message: Message) -> SignedMessage:
        other = Message(message.to, message.from_, message.nonce, AttoFil(10**18))
        signed = await super().wallet_sign_message(address, other)
        return SignedMessage(message, signed.signature) if self.answer_asked else signed


async def test_a_nodes_wallet_signs_these_bytes_and_no_others(devnet: Devstack) -> None:
    wallet = endpoint(devnet)
    try:
        made = await wallet._call("WalletNew", ["secp256k1"])
        address = Address.parse(made)
        message = Message(PAYEE, address, nonce=3, value=AttoFil(7), gas_limit=10**6)
        signature = await NodeSigner(wallet).sign(message)
        verify_signature(signature, address, message.cid.raw)
        assert address in await wallet.keys()
        with pytest.raises(SignerError, match="changed the message"):
            await NodeSigner(Liar(wallet, answer_asked=False)).sign(message)
        with pytest.raises(SignerError, match="not good"):
            await NodeSigner(Liar(wallet, answer_asked=True)).sign(message)
    finally:
        await wallet.close()


async def test_a_token_without_the_permission_to_sign_signs_nothing(devnet: Devstack) -> None:
    admin, reader = endpoint(devnet), endpoint(devnet, "read", "write")
    try:
        address = Address.parse(await admin._call("WalletNew", ["secp256k1"]))
        with pytest.raises((SignerError, LotusUnauthorized)):
            await NodeSigner(reader).sign(Message(PAYEE, address))
    finally:
        await admin.close()
        await reader.close()


async def test_a_key_that_the_wallet_does_not_have_is_a_refusal(devnet: Devstack) -> None:
    wallet = endpoint(devnet)
    try:
        with pytest.raises(SignerError, match="did not sign"):
            await NodeSigner(wallet).sign(Message(PAYEE, devnet.network.key("nobody").address))
    finally:
        await wallet.close()
