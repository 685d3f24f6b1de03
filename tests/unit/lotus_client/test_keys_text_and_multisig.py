"""BLS keys, signed text, messages to multisigs, and web3 on a node's own address."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotus_client import codec
from lotus_client.actors.multisig import (  # fmt: skip
    ApproveReturn,
    ProposeParams,
    ProposeReturn,
    TxnIdParams,
    proposal_hash,
)
from lotus_client.actors.wire import ParamsError
from lotus_client.address import Address
from lotus_client.api_info import ApiInfo
from lotus_client.bls import BlsKey
from lotus_client.crypto import Secp256k1Key, SignatureError, SignatureType, verify_signature
from lotus_client.messages import Message, SendSpec
from lotus_client.multisig_messages import (
    approve_message,
    approve_outcome,
    cancel_message,
    propose_message,
    propose_outcome,
)
from lotus_client.signed_text import sign_text, verify_text
from lotus_client.state import Receipt
from lotus_client.types import ActorId, AttoFil
from lotus_client.web3_bridge import async_web3, web3

ORDER = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
SECP = Secp256k1Key(bytes(range(1, 33)))
BLS = BlsKey((5).to_bytes(32, "little"))
# The compressed public key of the secret 5: five times the generator of G1. Source: py_ecc's `G2Basic.SkToPk(5)`.
FIVE = "b0e7791fb972fe014159aa33a98622da3cdc98ff707965e536d8636b5fcc5ac7a91a8c46e59a00dca575af0f18fb13dc"


def test_a_bls_key_is_read_in_little_endian_order() -> None:
    assert BLS.address == Address.of_bls_key(bytes.fromhex(FIVE))
    assert BLS.address.protocol == 3


def test_bls_signs_the_same_by_either_library(monkeypatch: pytest.MonkeyPatch) -> None:
    fast = BLS.sign(b"message")
    limit = sys.getrecursionlimit()
    monkeypatch.setitem(sys.modules, "pyblst", None)
    assert BlsKey((5).to_bytes(32, "little")).address == BLS.address
    assert BLS.sign(b"message") == fast
    assert sys.getrecursionlimit() == limit


def test_a_message_signed_by_a_bls_key_verifies_and_has_the_unsigned_cid() -> None:
    message = Message(Address.of_id(1000), BLS.address, nonce=4, value=AttoFil(5))
    signed = message.signed_by(BLS)
    assert signed.signature.type is SignatureType.BLS
    signed.verify()
    assert signed.cid == message.cid
    with pytest.raises(SignatureError):
        verify_signature(signed.signature, BLS.address, b"another message")


@pytest.mark.parametrize(
    "secret", [b"", bytes(32), bytes(31), b"\x01" * 33, ORDER.to_bytes(32, "little"), b"\xff" * 32]
)
def test_what_is_no_bls_secret_is_refused_and_never_shown(secret: bytes) -> None:
    with pytest.raises(SignatureError):
        BlsKey(secret)
    assert "secret=***" in repr(BLS)


@pytest.mark.parametrize("key", [SECP, BLS])
def test_text_is_signed_in_its_envelope_and_in_no_other_form(key: Secp256k1Key | BlsKey) -> None:
    signature = sign_text(key, b"digest")
    verify_text(signature, key.address, b"digest")
    for wrong in (b"digesT", b"", b"\x19Filecoin Signed Message:\n6digest"):
        with pytest.raises(SignatureError):
            verify_text(signature, key.address, wrong)
    with pytest.raises(SignatureError):
        verify_text(key.sign(b"digest"), key.address, b"digest")
    with pytest.raises(SignatureError):
        verify_signature(signature, key.address, b"digest")


MULTISIG, ALICE = Address.of_actor_data(b"multisig"), SECP.address
CALL = ProposeParams(Address.of_id(99), AttoFil(10**18), 0, b"")


def test_a_proposal_is_a_message_that_itself_moves_nothing() -> None:
    message = propose_message(MULTISIG, ALICE, CALL)
    assert (message.to, message.from_, message.method) == (MULTISIG, ALICE, 2)
    assert message.value == AttoFil(0)
    assert ProposeParams.from_cbor(message.params) == CALL


def test_approvals_and_cancellations_carry_the_hash_of_the_very_proposal() -> None:
    digest = proposal_hash(Address.of_id(100), CALL)
    approve = approve_message(MULTISIG, ALICE, 3, ActorId(100), CALL)
    cancel = cancel_message(MULTISIG, ALICE, 3, ActorId(100), CALL)
    assert (approve.method, cancel.method) == (3, 4)
    assert TxnIdParams.from_cbor(approve.params) == TxnIdParams(3, digest)
    assert TxnIdParams.from_cbor(cancel.params) == TxnIdParams(3, digest)
    other = approve_message(MULTISIG, ALICE, 3, ActorId(101), CALL)
    assert other.params != approve.params


@given(applied=st.booleans(), code=st.integers(0, 40), returned=st.binary(max_size=9))
def test_only_an_inner_call_that_was_made_and_succeeded_moved_value(
    applied: bool, code: int, returned: bytes
) -> None:
    proposed = propose_outcome(
        Receipt(0, ProposeReturn(7, applied, code, returned).to_cbor(), 1, None)
    )
    approved = approve_outcome(
        Receipt(0, ApproveReturn(applied, code, returned).to_cbor(), 1, None)
    )
    assert proposed.transaction == 7
    assert approved.transaction is None
    for found in (proposed, approved):
        assert found.exit_code == (code if applied else None)
        assert found.moved_value is (applied and code == 0)


def test_a_failed_message_has_no_inner_outcome() -> None:
    for read in (propose_outcome, approve_outcome):
        with pytest.raises(ParamsError, match="exit code 18"):
            read(Receipt(18, b"", 1, None))
        with pytest.raises(ParamsError):
            read(Receipt(0, b"\x80", 1, None))


def test_a_send_spec_is_null_when_nothing_is_wished() -> None:
    assert codec.send_spec_to_json(SendSpec()) is None
    assert codec.send_spec_to_json(SendSpec(AttoFil(7), maximize_fee_cap=True)) == {
        "MaxFee": "7",
        "MsgUuid": "00000000-0000-0000-0000-000000000000",
        "MaximizeFeeCap": True,
    }


async def test_web3_asks_the_same_address_with_the_same_token() -> None:
    info = ApiInfo.parse("sesame:/ip4/127.0.0.1/tcp/1234/http")
    for client in (async_web3(info), web3(info)):
        assert client.provider.endpoint_uri == "http://127.0.0.1:1234/rpc/v1"  # type: ignore[attr-defined]
        headers = client.provider.get_request_kwargs()  # type: ignore[attr-defined]
        assert dict(headers)["headers"]["Authorization"] == "Bearer sesame"
