from __future__ import annotations

import pytest

from lotus_client import bls
from lotus_client.bls import NO_BLS_SIGNATURES, BlsKey, aggregate_bls
from lotus_client.crypto import Secp256k1Key, SignatureError, verify_signature

KEY = BlsKey.of_seed(b"one" * 16)


def test_a_bls_key_signs_what_its_f3_address_verifies() -> None:
    assert KEY.address.protocol == 3
    verify_signature(KEY.sign(b"text"), KEY.address, b"text")
    with pytest.raises(SignatureError):
        verify_signature(KEY.sign(b"text"), KEY.address, b"other")
    other = BlsKey.of_seed(b"two" * 16)
    with pytest.raises(SignatureError):
        verify_signature(other.sign(b"text"), KEY.address, b"text")


def test_the_key_of_one_is_the_generator() -> None:
    one = BlsKey((1).to_bytes(32, "little"))
    generator = "97f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb"
    assert one.address.payload.hex() == generator
    assert BlsKey(one.secret).address == one.address


@pytest.mark.parametrize("secret", [b"", bytes(32), b"\xff" * 32, b"\x01" * 31])
def test_what_is_no_key_is_refused(secret: bytes) -> None:
    with pytest.raises(SignatureError):
        BlsKey(secret)


def test_a_secret_is_not_shown() -> None:
    assert KEY.secret.hex() not in repr(KEY)


def test_both_libraries_make_the_same_keys_signatures_and_aggregates(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    signatures = [KEY.sign(b"a"), KEY.sign(b"b")]
    together = aggregate_bls(signatures)
    monkeypatch.setattr(bls, "_fast", lambda: None)
    slow = BlsKey(KEY.secret)
    assert slow.address == KEY.address
    assert slow.sign(b"a") == signatures[0]
    assert aggregate_bls(signatures) == together


def test_no_signatures_aggregate_to_the_point_at_infinity() -> None:
    assert aggregate_bls([]) == NO_BLS_SIGNATURES
    with pytest.raises(SignatureError):
        aggregate_bls([Secp256k1Key(b"\x01" * 32).sign(b"a")])
