"""Messages and signatures against real chain data and vectors made by other implementations."""

from __future__ import annotations

import base64
from collections import Counter

import coincurve
import pyblst
import pytest
from hypothesis import given
from hypothesis import strategies as st
from py_ecc.bls import G2Basic

from lotus_client import cbor, codec, crypto
from lotus_client.address import Address
from lotus_client.chain import BlockHeader
from lotus_client.cid import Cid, dag_cbor_cid
from lotus_client.crypto import (
    Secp256k1Key,
    Signature,
    SignatureError,
    SignatureType,
    envelope,
    verify_signature,
)
from lotus_client.messages import Message, MessageError, SignedMessage
from lotus_client.types import AttoFil
from tests.unit.lotus_client.chain_data import chain4, load, mempool_messages

SIGNING = load("signing.json")
KEY = Secp256k1Key(bytes(range(1, 33)))
BLS_NUL = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_NUL_"

messages = st.builds(
    Message,
    to=st.integers(0, 1 << 40).map(Address.of_id),
    from_=st.just(KEY.address),
    nonce=st.integers(0, (1 << 64) - 1),
    value=st.integers(0, 10**28).map(AttoFil),
    gas_limit=st.integers(0, (1 << 63) - 1),
    gas_fee_cap=st.integers(0, 10**20).map(AttoFil),
    gas_premium=st.integers(0, 10**20).map(AttoFil),
    method=st.integers(0, (1 << 64) - 1),
    params=st.binary(max_size=60),
)


def chain_messages() -> dict[Cid, Message]:
    """The messages that chain4's block at epoch 1 lists in its BLS message AMT, read through the block."""
    (block,) = [header for header in headers() if header.height == 1]
    meta = cbor.decode(chain4()[block.messages])
    assert isinstance(meta, list)
    roots = [cbor.decode(chain4()[root]) for root in meta]  # type: ignore[index]
    bls, secp = (root[2][2] for root in roots)  # type: ignore[index]
    assert secp == []
    return {cid: Message.from_cbor(chain4()[cid]) for cid in bls}  # type: ignore[index,union-attr]


def headers() -> list[BlockHeader]:
    """chain4's blocks, oldest first."""
    found = []
    for block in chain4().values():
        fields = cbor.decode(block)
        if isinstance(fields, list) and len(fields) == 16:
            found.append(BlockHeader.from_cbor(block))
    return sorted(found, key=lambda header: header.height)


def test_every_message_of_a_real_mempool_survives_json_cbor_and_keeps_its_cid() -> None:
    """The published file has 7,688 messages and no signature at all, so there is none to verify in it."""
    seen: Counter[str] = Counter()
    for item in mempool_messages():
        assert set(item) == {"Message"}, "the file has signatures after all: verify them here"
        message = codec.message_from_json(item["Message"])
        wire = message.to_cbor()
        again = Message.from_cbor(wire)
        assert again == message
        assert again.to_cbor() == wire
        assert again.cid == message.cid == dag_cbor_cid(wire)
        printed = codec.message_to_json(message, "t")
        assert {name: printed[name] for name in item["Message"]} == item["Message"]
        seen[str(message.cid)] += 1
    assert sum(seen.values()) == 7688
    assert max(seen.values()) == 1


def test_real_messages_have_the_cids_that_their_block_lists() -> None:
    found = chain_messages()
    assert len(found) == 5
    for cid, message in found.items():
        assert message.cid == cid
        assert message.to_cbor() == chain4()[cid]


def test_the_aggregate_signature_of_a_real_block_is_over_our_message_cids() -> None:
    (block,) = [header for header in headers() if header.height == 1]
    assert block.bls_aggregate is not None
    found = list(chain_messages().values())
    keys = [message.from_.payload for message in found]
    left = None
    for key, message in zip(keys, found, strict=True):
        one = pyblst.miller_loop(
            pyblst.BlstP1Element.uncompress(key),
            pyblst.BlstP2Element.hash_to_group(message.cid.raw, BLS_NUL),
        )
        left = one if left is None else left * one
    right = pyblst.miller_loop(
        pyblst.BlstP1Element.uncompress(crypto.BLS_G1),
        pyblst.BlstP2Element.uncompress(block.bls_aggregate.data),
    )
    assert pyblst.final_verify(left, right)


def test_real_block_signatures_are_over_our_unsigned_header_bytes() -> None:
    (worker,) = {
        message.from_ for message in chain_messages().values() if message.to == Address.of_id(1000)
    }
    signed = [header for header in headers() if header.block_sig is not None]
    assert [header.height for header in signed] == [1, 2, 3]
    for header in signed:
        assert header.block_sig is not None
        unsigned = header.to_cbor(signed=False)
        verify_signature(header.block_sig, worker, unsigned)
        with pytest.raises(SignatureError):
            verify_signature(header.block_sig, worker, unsigned + b"\x00")


def test_a_foreign_secp256k1_signature_verifies_and_its_signed_message_has_the_published_cid() -> (
    None
):
    vector = SIGNING["signed_with_cid"]
    signed = codec.signed_message_from_json(vector["signed_message"])
    signed.verify()
    assert str(signed.cid) == vector["cid"]
    assert SignedMessage.from_cbor(signed.to_cbor()) == signed


def test_our_signature_is_the_one_another_implementation_makes() -> None:
    vector = SIGNING["signed_with_key"]
    signed = codec.signed_message_from_json(vector["signed_message"])
    key = Secp256k1Key(base64.b64decode(vector["secret"]))
    assert key.address == signed.message.from_
    assert signed.message.signed_by(key) == signed
    signed.verify()


@pytest.mark.parametrize("vector", SIGNING["cbor"], ids=["transfer", "call"])
def test_a_message_has_the_published_bytes(vector: dict[str, object]) -> None:
    message = codec.message_from_json(vector["message"])
    assert message.to_cbor().hex() == vector["cbor"]


@given(messages)
def test_a_signed_message_survives_and_verifies(message: Message) -> None:
    signed = message.signed_by(KEY)
    assert SignedMessage.from_cbor(signed.to_cbor()) == signed
    signed.verify()


@given(messages, st.integers(0, 64), st.integers(1, 255))
def test_a_changed_signature_is_refused(message: Message, at: int, flip: int) -> None:
    data = bytearray(message.signed_by(KEY).signature.data)
    data[at] ^= flip
    broken = SignedMessage(message, Signature(SignatureType.SECP256K1, bytes(data)))
    with pytest.raises(SignatureError):
        broken.verify()


@given(messages)
def test_a_message_signed_for_other_fees_is_the_same_call_with_another_cid(
    message: Message,
) -> None:
    raised = message.with_fees(message.gas_fee_cap + AttoFil(1), message.gas_premium)
    assert raised.is_same_call(message)
    assert raised.cid != message.cid


@given(st.one_of(st.binary(max_size=80), messages.map(Message.to_cbor)), st.data())
def test_any_bytes_are_a_message_or_a_message_error(raw: bytes, data: st.DataObject) -> None:
    if raw:
        at = data.draw(st.integers(0, len(raw) - 1))
        raw = raw[:at] + data.draw(st.binary(min_size=1, max_size=1)) + raw[at + 1 :]
    for kind in (Message, SignedMessage):
        try:
            found = kind.from_cbor(raw)
        except MessageError:
            continue
        assert found.to_cbor() == raw


@pytest.mark.parametrize(
    ("index", "value"),
    [(0, True), (3, -1), (3, False), (5, 1 << 63), (5, -1), (8, -1), (1, b""), (4, b"\x00")],
)
def test_a_message_with_one_impossible_field_is_refused(index: int, value: object) -> None:
    fields = cbor.decode(Message(Address.of_id(1), Address.of_id(2)).to_cbor())
    assert isinstance(fields, list)
    fields[index] = value  # type: ignore[call-overload]
    with pytest.raises(MessageError):
        Message.from_cbor(cbor.encode(fields))


def test_the_envelope_is_the_published_one() -> None:
    assert (
        envelope(b"hello").hex()
        == "1946696c65636f696e205369676e6564204d6573736167653a0a3568656c6c6f"
    )


def test_an_enveloped_text_cannot_be_taken_for_a_message() -> None:
    message = Message(Address.of_id(1), KEY.address)
    signature = KEY.sign(envelope(message.cid.raw))
    with pytest.raises(SignatureError):
        SignedMessage(message, signature).verify()


SECRET = 0x0A0B0C0D0E0F
BLS_KEY = Address.of_bls_key(bytes(G2Basic.SkToPk(SECRET)))


@pytest.fixture(scope="module")
def bls_signature() -> Signature:
    return Signature(SignatureType.BLS, bytes(G2Basic.Sign(SECRET, b"made by py_ecc")))


@pytest.mark.parametrize("with_pyblst", [True, False])
def test_a_bls_signature_of_py_ecc_verifies_by_both_libraries(
    bls_signature: Signature, with_pyblst: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not with_pyblst:
        monkeypatch.setitem(__import__("sys").modules, "pyblst", None)
    verify_signature(bls_signature, BLS_KEY, b"made by py_ecc")
    with pytest.raises(SignatureError, match="not made by"):
        verify_signature(bls_signature, BLS_KEY, b"another text")


def test_bls_points_at_infinity_and_outside_the_group_are_refused(bls_signature: Signature) -> None:
    nothing = Signature(SignatureType.BLS, b"\xc0" + bytes(95))
    nobody = Address.of_bls_key(b"\xc0" + bytes(47))
    with pytest.raises(SignatureError):
        verify_signature(nothing, nobody, b"")
    # x = 4 is on the curve and not in the group
    outside = Address.of_bls_key(b"\x80" + bytes(46) + b"\x04")
    with pytest.raises(SignatureError, match="malformed"):
        verify_signature(bls_signature, outside, b"made by py_ecc")


@pytest.mark.parametrize("length", [0, 1, 64, 66, 95, 97])
def test_a_signature_of_a_wrong_length_is_refused(length: int) -> None:
    for kind, signer in ((SignatureType.SECP256K1, KEY.address), (SignatureType.BLS, BLS_KEY)):
        with pytest.raises(SignatureError):
            verify_signature(Signature(kind, bytes(length)), signer, b"")


def test_a_signature_of_another_kind_than_the_address_is_refused() -> None:
    with pytest.raises(SignatureError, match="cannot be checked"):
        verify_signature(KEY.sign(b"x"), Address.of_id(100), b"x")
    with pytest.raises(SignatureError, match="type"):
        Signature.from_bytes(b"\x09")


def test_a_secret_key_is_32_bytes_and_never_printed() -> None:
    for bad in (b"", b"\x01", bytes(32), b"\xff" * 32, bytes(33)):
        with pytest.raises(SignatureError):
            Secp256k1Key(bad)
    assert KEY.secret.hex() not in repr(KEY)
    assert "***" in repr(KEY)


def test_signatures_have_a_low_s_and_a_recovery_bit() -> None:
    order = coincurve.utils.GROUP_ORDER_INT
    for number in range(20):
        data = KEY.sign(bytes([number])).data
        assert len(data) == 65
        assert data[64] in (0, 1)
        assert int.from_bytes(data[32:64], "big") <= order // 2
