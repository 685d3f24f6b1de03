from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deals.piece_cid import decode_piece_cid_v2, encode_piece_cid_v1, encode_piece_cid_v2, root_of
from lotus_client.cid import FIL_COMMITMENT_UNSEALED, RAW, SHA2_256_TRUNC254_PADDED, Cid, CidError
from tests.piece_samples import DATA

ROWS = json.loads((DATA / "commp" / "piece_cids.json").read_text())["v2_from_v1"]
# FRC-0069's table: payload bytes of zeros, and the version 2 CID
FRC_ZEROS = [
    (0, 128, "bafkzcibcp4bdomn3tgwgrh3g532zopskstnbrd2n3sxfqbze7rxt7vqn7veigmy"),
    (127, 128, "bafkzcibcaabdomn3tgwgrh3g532zopskstnbrd2n3sxfqbze7rxt7vqn7veigmy"),
    (128, 256, "bafkzcibcpybwiktap34inmaex4wbs6cghlq5i2j2yd2bb2zndn5ep7ralzphkdy"),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["data"])
def test_version_2_holds_version_1_and_the_payload_size(row: dict[str, object]) -> None:
    v1, v2 = Cid.parse(str(row["piece_cid_v1"])), Cid.parse(str(row["piece_cid_v2"]))
    info = decode_piece_cid_v2(v2)
    assert info.cid_v1 == v1
    assert info.payload_size == row["payload_bytes"]
    assert info.padded_size == row.get("padded_piece_size", info.padded_size)
    assert encode_piece_cid_v2(info.root, info.padded_size, info.payload_size) == v2
    assert root_of(v1) == root_of(v2)


@pytest.mark.parametrize(("payload", "padded", "text"), FRC_ZEROS)
def test_payloads_of_zeros_have_the_cids_in_frc_0069(payload: int, padded: int, text: str) -> None:
    info = decode_piece_cid_v2(Cid.parse(text))
    assert (info.payload_size, info.padded_size) == (payload, padded)
    assert str(encode_piece_cid_v2(info.root, padded, payload)) == text


@given(st.binary(min_size=32, max_size=32), st.integers(7, 40), st.integers(0, 2**40))
def test_a_round_trip_keeps_root_and_sizes(root: bytes, bits: int, payload: int) -> None:
    size = 1 << bits
    payload %= size // 128 * 127 + 1
    info = decode_piece_cid_v2(encode_piece_cid_v2(root, size, payload))
    assert (info.root, info.padded_size, info.payload_size) == (root, size, payload)
    assert root_of(encode_piece_cid_v1(root)) == root


@given(st.binary(max_size=50))
def test_any_digest_is_decoded_or_refused(digest: bytes) -> None:
    try:
        info = decode_piece_cid_v2(Cid.of_digest(RAW, 0x1011, digest))
    except CidError:
        return
    assert 0 <= info.payload_size <= info.padded_size


def test_a_payload_cid_is_refused_with_a_hint() -> None:
    with pytest.raises(CidError, match="payload CID"):
        root_of(Cid.of_sha2_256(RAW, b""))
    with pytest.raises(CidError, match="32 bytes"):
        root_of(Cid.of_digest(FIL_COMMITMENT_UNSEALED, SHA2_256_TRUNC254_PADDED, bytes(31)))


def test_what_cannot_be_a_piece_cid_is_not_written() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        encode_piece_cid_v1(bytes(31))
    with pytest.raises(ValueError, match="do not fit"):
        encode_piece_cid_v2(bytes(32), 128, 128)
