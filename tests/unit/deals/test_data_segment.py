"""Aggregates (FRC-0058): index, placement, inclusion proofs, against go-data-segment's own data."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deals.commp import TreeTooLarge, commp
from deals.data_segment import (
    InclusionProof,
    IndexEntry,
    MerkleProof,
    ProofError,
    aggregate,
    entry_holds,
    index_place,
    parse_index,
    read_index,
)
from deals.fr32 import pad, unpadded_length
from deals.kernels.pure import PythonKernel
from deals.kernels.zeros import node
from lotus_client.types import PaddedPieceSize
from tests.piece_samples import DATA

FOLDER = DATA / "commp" / "go-data-segment"
CAT, OTHER, INDEX = (
    (FOLDER / name).read_bytes()
    for name in ("cat.png.car", "verifiable-data-aggregation.png.car", "index.data")
)
MIB = 1 << 20


def sample_entries() -> list[IndexEntry]:
    return [
        IndexEntry(bytes(row["CommDs"]), row["Offset"], PaddedPieceSize(row["Size"]))
        for row in json.loads((FOLDER / "index.json").read_text())
    ]


def sample_deal() -> bytes:
    deal = CAT.ljust(520192, b"\0") + OTHER.ljust(260096, b"\0")
    return deal.ljust(1040384 - 508, b"\0") + INDEX


def test_the_published_index_has_its_published_entries_and_checksums():
    entries = sample_entries()
    assert list(parse_index(pad(INDEX), MIB)) == entries
    published = json.loads((FOLDER / "index.json").read_text())
    assert [list(entry.checksum()) for entry in entries] == [row["Checksum"] for row in published]


def test_an_aggregate_of_the_published_pieces_is_the_published_one():
    pieces = [commp(io.BytesIO(part)) for part in (CAT, OTHER)]
    made = aggregate([(piece.root, piece.padded_size) for piece in pieces], MIB)
    assert list(made.entries) == sample_entries()
    assert made.index_payload() == INDEX
    assert made.commitment() == commp(io.BytesIO(sample_deal())).root


def test_entries_are_found_in_the_piece_and_believed_only_after_their_commitment():
    deal = io.BytesIO(sample_deal())
    entries = read_index(deal, MIB)
    assert list(entries) == sample_entries()
    assert all(entry_holds(deal, entry) for entry in entries)
    damaged = bytearray(sample_deal())
    damaged[1000] ^= 1
    assert [entry_holds(io.BytesIO(damaged), entry) for entry in entries] == [False, True]


def test_a_proof_of_the_go_library_leads_to_its_aggregate():
    known = json.loads((FOLDER / "inclusion.json").read_text())
    subtree, entry = (
        MerkleProof(known[name]["index"], tuple(bytes.fromhex(x) for x in known[name]["path"]))
        for name in ("subtree", "entry")
    )
    root, size = InclusionProof(subtree, entry).aggregate_of(
        bytes.fromhex(known["commitment"]), known["size"]
    )
    assert (root.hex(), size) == tuple(known["aggregate"].values())


@pytest.mark.parametrize(
    ("size", "start", "entries"),
    [(MIB, MIB - 512, 8), (32 << 30, (32 << 30) - (16 << 20), 262_144), (512, 256, 4)],
)
def test_the_index_lies_where_the_standard_puts_it(size: int, start: int, entries: int):
    assert index_place(size) == (start, entries)


def test_the_checksum_of_the_reference_is_right():
    row = b"".join(bytes([value]) * 127 for value in range(4))
    entry = IndexEntry(commp(io.BytesIO(row)).root, 0, PaddedPieceSize(512))
    assert entry.checksum().hex() == "f9325766cbc6e30cfc08fa6fbcf73c15"


SIZES = st.lists(st.integers(7, 14).map(lambda bits: 1 << bits), min_size=1, max_size=8)


@settings(max_examples=40)
@given(sizes=SIZES)
def test_every_piece_of_every_aggregate_has_a_proof_and_no_other_has(sizes: list[int]):
    payloads = [
        hashlib.shake_256(bytes([n])).digest(unpadded_length(s)) for n, s in enumerate(sizes)
    ]
    roots = [commp(io.BytesIO(payload)).root for payload in payloads]
    made = aggregate(list(zip(roots, sizes, strict=True)), MIB)
    whole = bytearray(unpadded_length(MIB))
    for piece, payload in zip(made.pieces, payloads, strict=True):
        at = unpadded_length(piece.offset)
        whole[at : at + len(payload)] = payload
    index = made.index_payload()
    whole[-len(index) :] = index
    assert commp(io.BytesIO(whole)).root == made.commitment()
    assert read_index(io.BytesIO(whole), MIB) == made.entries
    for number, piece in enumerate(made.pieces):
        proof = made.prove(number)
        assert proof.aggregate_of(piece.root, piece.padded_size) == (made.commitment(), MIB)
        with pytest.raises(ProofError):
            proof.aggregate_of(hashlib.sha256(piece.root).digest(), piece.padded_size)
        with pytest.raises(ProofError):
            proof.aggregate_of(piece.root, piece.padded_size * 2)


def broken(proof: InclusionProof) -> list[InclusionProof]:
    subtree, entry = proof.subtree, proof.entry
    change = dataclasses.replace
    return [
        change(proof, subtree=change(subtree, index=subtree.index ^ 1)),
        change(proof, subtree=change(subtree, index=1 << 40)),
        change(proof, subtree=change(subtree, index=-1)),
        change(proof, subtree=change(subtree, path=subtree.path[:-1])),
        change(proof, subtree=change(subtree, path=(*subtree.path, bytes(32)))),
        change(proof, subtree=change(subtree, path=(b"short", *subtree.path[1:]))),
        change(proof, subtree=change(subtree, path=(bytes(32),) * 70)),
        change(proof, entry=change(entry, index=0)),
        change(proof, entry=change(entry, path=entry.path[1:])),
        change(proof, entry=subtree),
    ]


def test_a_proof_that_was_tampered_with_is_refused():
    pieces = [commp(io.BytesIO(part)) for part in (CAT, OTHER)]
    made = aggregate([(piece.root, piece.padded_size) for piece in pieces], MIB)
    for proof in broken(made.prove(1)):
        with pytest.raises(ProofError):
            proof.aggregate_of(pieces[1].root, pieces[1].padded_size)
    with pytest.raises(ProofError, match="32 bytes"):
        made.prove(1).aggregate_of(b"", 1024)


def proof_in(levels: list[bytes], level: int, place: int) -> MerkleProof:
    path = []
    for at in range(level, len(levels) - 1):
        sibling = (place >> (at - level)) ^ 1
        path.append(levels[at][32 * sibling : 32 * sibling + 32])
    return MerkleProof(place, tuple(path))


def test_an_entry_outside_the_index_proves_nothing():
    """Whoever owns a piece of an aggregate can write an entry into it, so only those in the index count."""
    victim = commp(io.BytesIO(b"v" * 127))
    entry = IndexEntry(victim.root, 128, PaddedPieceSize(128)).to_bytes()
    padded = entry.ljust(128, b"\0") + pad(b"v" * 127)  # the first piece is nothing but that entry
    levels = [padded.ljust(4096, b"\0")]
    while len(levels[-1]) > 32:
        levels.append(PythonKernel().nodes(levels[-1]))
    proof = InclusionProof(proof_in(levels, 2, 1), proof_in(levels, 1, 0))
    assert proof.subtree.root_above(victim.root) == levels[-1]
    assert proof.entry.root_above(node(entry[:32], entry[32:])) == levels[-1]
    with pytest.raises(ProofError, match="before the index"):
        proof.aggregate_of(victim.root, 128)


@settings(max_examples=80)
@given(junk=st.binary(max_size=1024), size=st.sampled_from([512, 1024, MIB]))
def test_junk_in_the_index_area_gives_no_entries_and_no_errors(junk: bytes, size: int):
    assert parse_index(junk, size) == ()


@pytest.mark.parametrize(
    "entry",
    [
        IndexEntry(bytes(32), 64, PaddedPieceSize(128)),  # not aligned
        IndexEntry(bytes(32), 0, PaddedPieceSize(100)),  # no piece size
        IndexEntry(bytes(32), MIB, PaddedPieceSize(128)),  # behind the end
        IndexEntry(bytes(32), MIB - 512, PaddedPieceSize(128)),  # in the index
        IndexEntry(b"\xff" * 32, 0, PaddedPieceSize(128)),  # no field element
    ],
)
def test_an_entry_that_cannot_be_is_passed_over_though_its_checksum_is_right(entry: IndexEntry):
    good = IndexEntry(bytes(32), 128, PaddedPieceSize(128))
    assert parse_index(entry.to_bytes() + good.to_bytes(), MIB) == (good,)


def test_what_does_not_fit_is_refused():
    with pytest.raises(TreeTooLarge, match="index"):
        aggregate([(bytes(32), MIB // 2), (bytes(32), MIB // 2)], MIB)
    with pytest.raises(TreeTooLarge, match="9 pieces"):
        aggregate([(bytes(32), 128)] * 9, MIB)
    with pytest.raises(ValueError, match="no room"):
        aggregate([], 256)
    assert read_index(io.BytesIO(bytes(127)), 128) == ()
