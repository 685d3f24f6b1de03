"""Aggregate files: made, read back, and proven, with the proofs checked by go-data-segment's published data."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deals.aggregates import (
    AggregateError,
    commitment_of_file,
    decode_proof,
    encode_proof,
    plan_aggregate,
    prove_segment,
    segments_of,
    write_aggregate,
)
from deals.commp import commp
from deals.data_segment import InclusionProof, MerkleProof, ProofError
from lotus_client import cbor
from tests.piece_samples import DATA

FOLDER = DATA / "commp" / "go-data-segment"
FILES = [FOLDER / "cat.png.car", FOLDER / "verifiable-data-aggregation.png.car"]


def made_of(files: list[Path], size: int | None = None) -> tuple[bytes, bytes]:
    """The file's bytes, and the commitment that was promised for them."""
    out = io.BytesIO()
    plan = plan_aggregate([commitment_of_file(file) for file in files], size)
    write_aggregate(plan, files, out)
    return out.getvalue(), plan.commitment()


@pytest.mark.parametrize("size", [None, 1 << 23])
def test_an_aggregate_has_the_promised_commitment_and_all_its_pieces(size: int | None):
    data, promised = made_of(FILES, size)
    assert commp(io.BytesIO(data)).root == promised
    whole = size or 1 << 20
    assert len(data) == whole // 128 * 127
    assert [segment.holds for segment in segments_of(io.BytesIO(data), whole)] == [True, True]


def test_a_damaged_piece_is_seen_and_the_others_stand():
    data = bytearray(made_of(FILES)[0])
    data[1000] ^= 1
    assert [one.holds for one in segments_of(io.BytesIO(data), 1 << 20)] == [False, True]
    with pytest.raises(AggregateError, match="bytes there are others"):
        prove_segment(io.BytesIO(data), commitment_of_file(FILES[0]).root)


@pytest.mark.parametrize("size", [None, 1 << 23])
@pytest.mark.parametrize("file", FILES)
def test_a_proof_from_the_bytes_leads_to_the_aggregate(size: int | None, file: Path):
    data, promised = made_of(FILES, size)
    piece = commitment_of_file(file)
    proof, entry = prove_segment(io.BytesIO(data), piece.root)
    assert proof.aggregate_of(piece.root, entry.size) == (promised, size or 1 << 20)
    plan = plan_aggregate([commitment_of_file(one) for one in FILES], size)
    assert proof == plan.prove(FILES.index(file))
    assert decode_proof(encode_proof(proof)) == proof


def test_the_published_proof_keeps_its_meaning_through_cbor():
    known = json.loads((FOLDER / "inclusion.json").read_text())
    subtree, entry = (
        MerkleProof(known[name]["index"], tuple(bytes.fromhex(x) for x in known[name]["path"]))
        for name in ("subtree", "entry")
    )
    raw = encode_proof(InclusionProof(subtree, entry))
    assert raw.startswith(bytes.fromhex("82820586" + "5820") + subtree.path[0])
    root, size = decode_proof(raw).aggregate_of(bytes.fromhex(known["commitment"]), known["size"])
    assert (root.hex(), size) == tuple(known["aggregate"].values())


@given(junk=st.binary(max_size=200))
def test_junk_is_no_proof(junk: bytes):
    with pytest.raises(ProofError):
        decode_proof(junk)


@pytest.mark.parametrize(
    "value", [[], [[1, []]], [[1, [b"short"]], [1, []]], [[1, [bytes(32)] * 58], [1, []]]]
)
def test_what_is_shaped_otherwise_is_no_proof(value: object):
    with pytest.raises(ProofError):
        decode_proof(cbor.encode(value))


def test_what_cannot_be_aggregated_is_refused():
    cat = commitment_of_file(FILES[0])
    with pytest.raises(AggregateError, match="at least one"):
        plan_aggregate([])
    with pytest.raises(AggregateError, match="same piece CID"):
        plan_aggregate([cat, cat])
    with pytest.raises(AggregateError, match="index"):
        plan_aggregate([cat], cat.padded_size)
    with pytest.raises(AggregateError, match="no such piece"):
        prove_segment(io.BytesIO(made_of(FILES)[0]), bytes(32))


def test_a_file_that_changes_while_it_is_read_stops_the_work(tmp_path: Path):
    file = tmp_path / "a.car"
    file.write_bytes(b"a" * 1000)
    plan = plan_aggregate([commitment_of_file(file)])
    for other in (b"b" * 1000, b"a" * 5000):
        file.write_bytes(other)
        with pytest.raises(AggregateError, match="has changed"):
            write_aggregate(plan, [file], io.BytesIO())
