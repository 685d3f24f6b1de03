"""Keys of f410 accounts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from eth_account import Account

from lotus_client.address import Address
from lotus_client.crypto import Secp256k1Key, SignatureError, verify_signature
from lotus_client.delegated import DelegatedKey
from lotus_client.eth import EthTransactionError, verify_delegated
from lotus_client.messages import Message
from lotus_client.types import AttoFil

SECRET = bytes(31) + b"\x07"
KEY = DelegatedKey(SECRET)
CHAIN = 31415926
MESSAGE = Message(
    Address.of_eth(bytes(19) + b"\x01"),
    KEY.address,
    nonce=3,
    value=AttoFil(5),
    gas_limit=1_000_000,
    gas_fee_cap=AttoFil(100),
    gas_premium=AttoFil(10),
    method=3844450837,
)


def test_the_address_is_that_of_ethereums_own_library() -> None:
    eth = bytes.fromhex(Account.from_key(SECRET).address[2:])
    assert KEY.address == Address.of_eth(eth)


def test_its_signature_is_checked_against_its_address() -> None:
    signature = KEY.sign(b"words")
    verify_signature(signature, KEY.address, b"words")
    with pytest.raises(SignatureError):
        verify_signature(signature, KEY.address, b"other words")


def test_a_message_is_signed_as_the_transaction_it_is() -> None:
    signed = KEY.sign_message(MESSAGE, CHAIN)
    verify_delegated(signed, CHAIN)
    with pytest.raises(EthTransactionError):
        verify_delegated(signed, CHAIN + 1)


def test_a_message_of_another_sender_is_refused() -> None:
    other = replace(MESSAGE, from_=Secp256k1Key(SECRET).address)
    with pytest.raises(EthTransactionError):
        KEY.sign_message(other, CHAIN)


def test_the_secret_is_not_printed() -> None:
    assert SECRET.hex() not in repr(KEY)
    assert KEY.secret == SECRET
