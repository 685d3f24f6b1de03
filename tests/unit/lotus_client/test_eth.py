"""Ethereum transactions as messages. The raw transactions and addresses of the golden tests are values from Lotus'
`chain/types/ethtypes/eth_*_test.go` and builtin-actors' `actors/eam/src/lib.rs` (both MIT / Apache-2.0)."""

from __future__ import annotations

import dataclasses

import pytest
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from lotus_client.actors.evm import EAM, EamMethod, EvmMethod
from lotus_client.address import Address
from lotus_client.crypto import (
    Secp256k1Key,
    Signature,
    SignatureError,
    SignatureType,
    eth_address_of,
    verify_signature,
)
from lotus_client.eth import (
    EthTransaction,
    EthTransactionError,
    TransactionKind,
    create2_address,
    create_address,
    hash_cid,
    message_hash,
    sign_delegated,
    verify_delegated,
)
from lotus_client.messages import Message, SignedMessage
from lotus_client.types import AttoFil

MAINNET = 314
DEVNET = 31415926
KEY = Secp256k1Key(b"\x11" * 32)
ACCOUNT = Account.from_key(b"\x11" * 32)
OTHER = "0x" + "22" * 20

# raw transaction, what was signed
GOLDEN_1559 = [
    (
        "02f86282013a8080808094ff000000000000000000000000000000000003ec8080c080a0f411a73e33523b40c1a916e79e67746bd01a4a4fb4ecfa87b441375a215ddfb4a0551692c1553574fab4c227ca70cb1c121dc3a2ef82179a9c984bd7acc0880a38",
        "02df82013a8080808094ff000000000000000000000000000000000003ec8080c0",
    ),
    (
        "02f88682013a8080808094ff000000000000000000000000000000000003ec80a4f8b2cb4f000000000000000000000000ff00000000000000000000000000000000000064c080a0706d871013403cf8b965dfa7f2be5a4d185d746da45b21d5a67c667c26d255d6a02e68a14f386aa325ce8e82d30405107d53103d038cf20e40af961ef3a3963608",
        "02f84382013a8080808094ff000000000000000000000000000000000003ec80a4f8b2cb4f000000000000000000000000ff00000000000000000000000000000000000064c0",
    ),
    (
        "02f86582013a81c88082ea608094ff000000000000000000000000000000000003ec8080c001a03427daf1639de6bf1b948abeab765b0a6a9170cc6a16d263c71c859f78916b03a01bbbb824b9953b5eb9f3098b4358a7ebb78f3358866eed997de66350ae4c9475",
        "02e282013a81c88082ea608094ff000000000000000000000000000000000003ec8080c0",
    ),
]


@pytest.mark.parametrize(("raw", "unsigned"), GOLDEN_1559)
def test_lotus_own_transactions_sign_the_same_bytes_and_go_to_the_masked_id(
    raw: str, unsigned: str
) -> None:
    transaction = EthTransaction.parse(bytes.fromhex(raw))
    assert transaction.unsigned_bytes().hex() == unsigned
    assert transaction.raw_bytes().hex() == raw
    signed = transaction.to_signed_message(MAINNET)
    assert signed.message.to == Address.of_id(1004)
    assert signed.message.method == EvmMethod.INVOKE_CONTRACT
    verify_delegated(signed, MAINNET)
    assert EthTransaction.of_message(signed, MAINNET) == transaction


def test_lotus_own_eip155_transaction_has_the_sender_that_lotus_finds() -> None:
    raw = bytes.fromhex(
        "f86680843b9aca00835dc1ba94c2dca9a18d4a4057921d1bcb22da05e68e46b1d06480820297a0f91ee69c4603c4f21131467ee9e06ad4a96d0a29fa8064db61f3adaea0eb6e92a07181e306bb8f773d94cc3b75e9835de00c004e072e6630c0c46971d38706bb01"
    )
    transaction = EthTransaction.parse(raw)
    signed = transaction.to_signed_message(MAINNET)
    assert signed.message == Message(
        to=Address.parse("0xc2dca9a18d4a4057921d1bcb22da05e68e46b1d0"),
        from_=Address.parse("0xA2BBB73aC59b256415e91A820b224dbAF2C268FA"),
        value=AttoFil(100),
        gas_limit=6144442,
        gas_fee_cap=AttoFil(10**9),
        gas_premium=AttoFil(10**9),
        method=EvmMethod.INVOKE_CONTRACT,
    )
    assert signed.signature.data[0] == 2
    assert len(signed.signature.data) == 1 + 64 + 2  # v = 0x297 takes two bytes
    assert EthTransaction.of_message(signed, MAINNET).raw_bytes() == raw


def test_a_delegated_signature_of_lotus_verifies_over_plain_bytes() -> None:
    data = bytes.fromhex(
        "02f08401df5e76038502540be400843b9aca008398968094ff000000000000000000000000000000000003f2832dc6c080c0"
    )
    public_key = bytes.fromhex(
        "04cfecc0520d906cbfea387759246e89d85e2998843e56ad1c41de247ce10b3e4c453aa73c8de13c178d94461b6fa3f8b6f74406ce43d2fbab6992d0b283394242"
    )
    signature = bytes.fromhex(
        "cf1fa52fae9154ba21d67aeca9b42adfe186eb9e426c441051a8473efd190848"
        "0e6c8c79ffaf35fb8f136c8cf6c5656f1f3befad21f2644321aa6dba58d68737"
        "00"
    )
    signer = Address.of_eth(eth_address_of(public_key))
    verify_signature(Signature(SignatureType.DELEGATED, signature), signer, data)
    with pytest.raises(SignatureError):
        verify_signature(Signature(SignatureType.DELEGATED, signature), signer, data + b"\0")
    with pytest.raises(SignatureError, match="65 bytes"):
        verify_signature(Signature(SignatureType.DELEGATED, signature[1:]), signer, data)


@pytest.mark.parametrize(
    ("creator", "nonce", "address"),
    [
        (bytes(20), 0, "bd770416a3345f91e4b34576cb804a576fa48eb1"),
        (bytes(20), 200, "a6b14387c1356b443061155e9c3e17f72c1777e5"),
        (bytes([123] * 20), 12345, "809a9ab0471e78ee5100e96ca4d0828d1b97e2ba"),
    ],
)
def test_create_gives_the_addresses_of_the_actors_own_tests(
    creator: bytes, nonce: int, address: str
) -> None:
    assert create_address(creator, nonce).hex() == address


@pytest.mark.parametrize(
    ("creator", "salt", "initcode", "address"),
    [
        (bytes(20), bytes(32), b"", "e33c0c7f7df4809055c3eba6c09cfe4baf1bd9e0"),
        (b"\x99" * 20, b"\x42" * 32, b"foobar", "64425c93a90901271fa355c2bc462190803b97d4"),
    ],
)
def test_create2_gives_the_addresses_of_the_actors_own_tests(
    creator: bytes, salt: bytes, initcode: bytes, address: str
) -> None:
    assert create2_address(creator, salt, initcode).hex() == address


FEES = st.integers(min_value=0, max_value=10**18)
DATA = st.binary(max_size=100)


@given(
    nonce=st.integers(0, 10**6), value=FEES, gas=st.integers(0, 10**10), cap=FEES, data=DATA,
    to=st.one_of(st.none(), st.binary(min_size=20, max_size=20).filter(lambda raw: raw[0] != 0xFF)),
)  # fmt: skip
def test_what_eth_account_signs_is_the_message_and_back(
    nonce: int, value: int, gas: int, cap: int, data: bytes, to: bytes | None
) -> None:
    data = data if to is not None else data + b"\x60"
    call = {"nonce": nonce, "value": value, "gas": gas, "data": data, "to": to or b""}
    for fees in (
        {"type": 2, "chainId": DEVNET, "maxFeePerGas": cap, "maxPriorityFeePerGas": cap // 2},
        {"chainId": DEVNET, "gasPrice": cap},
        {"gasPrice": cap},
    ):
        made = ACCOUNT.sign_transaction({**call, **fees})
        transaction = EthTransaction.parse(bytes(made.raw_transaction))
        assert transaction.hash == bytes(made.hash)
        signed = SignedMessage.from_cbor(transaction.to_signed_message(DEVNET).to_cbor())
        assert signed.message.from_ == KEY.delegated_address
        verify_delegated(signed, DEVNET)
        assert EthTransaction.of_message(signed, DEVNET).raw_bytes() == bytes(made.raw_transaction)
        assert message_hash(signed, DEVNET) == bytes(made.hash)
        if transaction.kind is TransactionKind.EIP1559:
            assert sign_delegated(signed.message, KEY, DEVNET) == signed


def _transaction(**changes: object) -> SignedMessage:
    fields = {
        "type": 2, "chainId": DEVNET, "nonce": 1, "to": OTHER, "value": 5, "gas": 10,
        "maxFeePerGas": 7, "maxPriorityFeePerGas": 3, "data": b"call",
    } | changes  # fmt: skip
    made = ACCOUNT.sign_transaction(fields)
    return EthTransaction.parse(bytes(made.raw_transaction)).to_signed_message(DEVNET)


def test_a_transaction_without_recipient_creates_a_contract() -> None:
    message = _transaction(to=b"", data=b"\x60\x00").message
    assert (message.to, message.method) == (EAM, EamMethod.CREATE_EXTERNAL)
    assert message.params.hex() == "426000"


@pytest.mark.parametrize(
    "changes",
    [
        {"value": AttoFil(6)}, {"nonce": 2}, {"gas_limit": 11}, {"params": b"\x41\x00"},
        {"to": Address.of_id(1)}, {"gas_fee_cap": AttoFil(8)}, {"gas_premium": AttoFil(1)},
        {"from_": Address.of_eth(b"\x33" * 20)}, {"method": 0}, {"version": 1},
    ],
)  # fmt: skip
def test_a_message_that_is_not_the_signed_one_does_not_verify(changes: dict[str, object]) -> None:
    signed = _transaction()
    verify_delegated(signed, DEVNET)
    other = dataclasses.replace(signed, message=dataclasses.replace(signed.message, **changes))
    with pytest.raises(EthTransactionError):
        verify_delegated(other, DEVNET)


def test_a_transaction_of_another_chain_is_refused_and_does_not_verify() -> None:
    made = ACCOUNT.sign_transaction(
        {"type": 2, "chainId": 1, "nonce": 0, "to": OTHER, "value": 1, "gas": 1,
         "maxFeePerGas": 1, "maxPriorityFeePerGas": 1}
    )  # fmt: skip
    transaction = EthTransaction.parse(bytes(made.raw_transaction))
    with pytest.raises(EthTransactionError, match="expected 31415926, got 1"):
        transaction.to_signed_message(DEVNET)
    with pytest.raises(EthTransactionError):
        verify_delegated(transaction.to_signed_message(1), DEVNET)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ("", "empty"),
        ("01c0", "EIP-2930"),
        ("03c0", "unsupported"),
        ("02c0", "12 elements"),
        ("c0", "9 elements"),
        (GOLDEN_1559[0][0] + "00", "follow"),
        (GOLDEN_1559[0][0].replace("8080c080a0", "8080c002a0"), "0 or 1 for v"),
    ],
)
def test_what_filecoin_takes_not_is_refused(raw: str, why: str) -> None:
    with pytest.raises(EthTransactionError, match=why):
        EthTransaction.parse(bytes.fromhex(raw))


@given(st.binary(max_size=120), st.sampled_from([b"", b"\x02", b"\xf8\x6b"]))
def test_any_bytes_are_a_transaction_in_its_one_form_or_are_refused(
    data: bytes, prefix: bytes
) -> None:
    try:
        transaction = EthTransaction.parse(prefix + data)
    except EthTransactionError:
        return
    assert transaction.raw_bytes() == prefix + data


def test_an_access_list_is_refused() -> None:
    made = ACCOUNT.sign_transaction(
        {"type": 2, "chainId": DEVNET, "nonce": 0, "to": OTHER, "value": 1, "gas": 1,
         "maxFeePerGas": 1, "maxPriorityFeePerGas": 1,
         "accessList": [{"address": OTHER, "storageKeys": []}]}
    )  # fmt: skip
    with pytest.raises(EthTransactionError, match="access list should be an empty list"):
        EthTransaction.parse(bytes(made.raw_transaction))


def test_only_calls_that_a_transaction_can_make_can_be_signed() -> None:
    sender = KEY.delegated_address
    for message in (
        Message(Address.of_id(5), sender, method=2),
        Message(EAM, sender, method=2),
        Message(EAM, sender, method=int(EamMethod.CREATE_EXTERNAL)),
        Message(KEY.address, sender, method=int(EvmMethod.INVOKE_CONTRACT)),
        Message(Address.of_id(5), KEY.address, method=int(EvmMethod.INVOKE_CONTRACT)),
        Message(Address.of_id(5), sender, method=int(EvmMethod.INVOKE_CONTRACT), params=b"\x40"),
    ):
        with pytest.raises(EthTransactionError):
            sign_delegated(message, KEY, DEVNET)


def test_a_native_message_has_its_cids_digest_for_hash() -> None:
    signed = Message(Address.of_id(5), KEY.address).signed_by(KEY)
    digest = message_hash(signed, DEVNET)
    assert hash_cid(digest) == signed.cid


def test_a_delegated_message_is_not_checked_without_its_chain() -> None:
    with pytest.raises(SignatureError, match=r"lotus_client\.eth"):
        _transaction().verify()
