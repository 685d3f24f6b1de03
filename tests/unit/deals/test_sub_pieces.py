"""Which segments of an aggregate are believed: those whose commitment is a node of the verified piece, and no other."""

from __future__ import annotations

import hashlib
import io
from typing import BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deals.aggregates import prove_entry, prove_segment
from deals.commp import CommpHasher, commp, feed
from deals.data_segment import IndexEntry, ProofError, aggregate, index_place
from deals.fr32 import pad, unpad_quads, unpadded_length
from deals.index_entries import IndexFault, examine_index
from deals.kernels.zeros import ZERO_ROOTS
from deals.sub_pieces import ConfirmedBy, SegmentFindings, confirm_segments
from deals.subtree_roots import RangeMismatch, VerifiedReader, roots_of
from lotus_client.types import PaddedPieceSize
from tests.piece_samples import content
from tests.unit.deals.test_data_segment import MIB, sample_deal, sample_entries

SIZE = 1 << 16


def entry(payload: bytes, offset: int, size: int | None = None) -> IndexEntry:
    found = commp(io.BytesIO(payload))
    return IndexEntry(found.root, offset, PaddedPieceSize(size or found.padded_size))


def piece_of(parts: dict[int, bytes], index: bytes, size: int = SIZE) -> bytes:
    """Unpadded bytes with payloads at padded offsets, and an index of padded bytes."""
    piece = bytearray(unpadded_length(size))
    for offset, payload in parts.items():
        at = unpadded_length(offset)
        piece[at : at + len(payload)] = payload
    start = unpadded_length(index_place(size)[0])
    raw = unpad_quads(index.ljust(-(-len(index) // 128) * 128, b"\0"))
    piece[start : start + len(raw)] = raw
    return bytes(piece)


def verified(piece: bytes, size: int) -> tuple[BinaryIO, object]:
    roots = roots_of(feed(CommpHasher(), io.BytesIO(piece)), size)
    return io.BufferedReader(VerifiedReader(io.BytesIO(piece), roots)), roots


def findings(piece: bytes, size: int = SIZE) -> SegmentFindings:
    return confirm_segments(*verified(piece, size))  # type: ignore[arg-type]


ONE, TWO, THREE = content(500), content(2000)[7:], content(900)[3:]


def test_segments_are_confirmed_by_their_bytes_and_others_are_told_with_their_place():
    right = entry(ONE, 0).to_bytes()
    lying = entry(THREE, 2048).to_bytes()
    found = findings(piece_of({0: ONE, 2048: TWO}, right + lying))
    assert [(one.number, one.entry.offset, one.by) for one in found.segments] == [
        (0, 0, ConfirmedBy.BYTES)
    ]
    (fault,) = found.faults
    start = index_place(SIZE)[0]
    assert (fault.number, fault.at) == (1, start + 64)
    assert "at padded bytes 2048..3072, the bytes there are baga6ea4sea" in str(fault)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (entry(ONE, 256).to_bytes(), "its offset 256 is no multiple of its size 512"),
        (entry(ONE, SIZE).to_bytes(), "behind the data"),
        (entry(ONE, index_place(SIZE)[0] // 512 * 512).to_bytes(), "behind the data"),
        (entry(ONE, (1 << 64) - 512).to_bytes(), "behind the data"),
        (entry(ONE, 0, 500).to_bytes(), "500"),
        (entry(ONE, 0).to_bytes()[:-1] + b"\x3f", "its checksum is wrong"),
        (IndexEntry(b"\0" * 31 + b"\x3f", 0, PaddedPieceSize(512)).to_bytes(), "it says baga"),
    ],
    ids=["misaligned", "outside", "in the index", "beyond 2**64", "size", "checksum", "commitment"],
)
def test_a_wrong_entry_is_refused_by_its_number_and_costs_the_others_nothing(
    raw: bytes, reason: str
):
    found = findings(piece_of({0: ONE, 2048: TWO}, raw + entry(TWO, 2048).to_bytes()))
    assert [one.number for one in found.segments] == [1]
    assert found.faults[0].number == 0
    assert reason in found.faults[0].reason


def test_a_false_entry_over_a_true_one_does_not_hide_it():
    cover = IndexEntry(commp(io.BytesIO(ONE)).root, 0, PaddedPieceSize(4096))
    found = findings(piece_of({0: ONE, 2048: TWO}, cover.to_bytes() + entry(TWO, 2048).to_bytes()))
    assert [one.number for one in found.segments] == [1]


def test_of_true_entries_that_overlap_the_one_that_begins_first_stays():
    both = commp(io.BytesIO(piece_of({0: ONE, 512: THREE[:400]}, b"", 1024)))
    outer = IndexEntry(both.root, 0, PaddedPieceSize(1024))
    inner = entry(THREE[:400], 512)
    parts = {0: ONE, 512: THREE[:400]}
    for order in ((outer, inner), (inner, outer)):
        found = findings(piece_of(parts, b"".join(one.to_bytes() for one in order)))
        assert [one.entry for one in found.segments] == [outer]
        assert found.faults[0].reason == f"it overlaps entry {order.index(outer)}"


def test_zeros_are_filler_and_an_ordinary_piece_has_neither_segments_nor_faults():
    zeros = IndexEntry(ZERO_ROOTS[4], 8192, PaddedPieceSize(512))
    found = findings(piece_of({0: ONE}, entry(ONE, 0).to_bytes() + zeros.to_bytes()))
    assert (len(found.segments), found.fault_count) == (1, 0)
    assert findings(content(60_000)) == SegmentFindings()
    assert findings(content(100), 128) == SegmentFindings()


def test_entries_of_the_draft_second_version_are_named_as_such():
    body = commp(io.BytesIO(ONE)).root + bytes(8) + (512).to_bytes(8, "little") + bytes(64)
    digest = hashlib.sha256(body + bytes(16)).digest()[:16]
    raw = body + digest[:-1] + bytes([digest[-1] & 0x3F])
    found = findings(piece_of({0: ONE}, raw))
    assert (found.segments, found.fault_count) == ((), 1)
    assert "it has 128 bytes" in found.faults[0].reason


def test_large_segments_are_looked_up_in_the_tree_and_small_ones_beside_them_in_their_bytes():
    size = 1 << 24
    large, small = content(3 << 20) + content(2 << 20)[11:], content(300)
    made = aggregate(
        [(commp(io.BytesIO(p)).root, commp(io.BytesIO(p)).padded_size) for p in (large, small)],
        size,
    )
    parts = {one.offset: p for one, p in zip(made.pieces, (large, small), strict=True)}
    piece = piece_of(parts, made.index_padded(), size)
    found = findings(piece, size)
    assert [one.entry for one in found.segments] == list(made.entries)
    assert [one.by for one in found.segments] == [ConfirmedBy.TREE, ConfirmedBy.BYTES]


def test_bytes_that_changed_since_the_piece_was_verified_confirm_nothing():
    piece = piece_of({0: ONE}, entry(ONE, 0).to_bytes())
    _, roots = verified(piece, SIZE)
    changed = io.BufferedReader(VerifiedReader(io.BytesIO(b"x" + piece[1:]), roots))  # type: ignore[arg-type]
    with pytest.raises(RangeMismatch):
        confirm_segments(changed, roots)  # type: ignore[arg-type]


class Index:
    """The unpadded bytes of a huge piece that are read of its index; every 1,024 entries are the same."""

    def __init__(self) -> None:
        self._chunk = unpad_quads(
            b"".join(
                IndexEntry(bytes(32), 128 * number, PaddedPieceSize(128)).to_bytes()
                for number in range(1024)
            )
        )
        self.reads: list[int] = []

    def seek(self, at: int) -> int:
        return at

    def read(self, size: int) -> bytes:
        self.reads.append(size)
        return self._chunk


def test_an_index_of_a_million_entries_is_cut_off_and_read_in_small_parts():
    stream, size = Index(), 1 << 37  # whose index has room for 2**20
    *entries, last = examine_index(stream, size)  # type: ignore[arg-type]
    assert len(entries) == 1 << 18
    assert isinstance(last, IndexFault)
    assert "only the first 262144 are looked at" in last.reason
    assert (len(stream.reads), set(stream.reads)) == (256, {1024 * 64 // 128 * 127})


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.binary(min_size=1, max_size=1500), min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 63), st.integers(1, 255)), max_size=3),
)
def test_whatever_is_confirmed_has_the_commitment_of_the_bytes_there(
    payloads: list[bytes], damage: list[tuple[int, int, int]]
):
    sized = [commp(io.BytesIO(payload)) for payload in payloads]
    made = aggregate([(one.root, one.padded_size) for one in sized], SIZE)
    index = bytearray(made.index_padded())
    for number, at, mask in damage:
        # the two top bits of a word cannot be written
        index[(64 * number + at) % len(index)] ^= mask & 0x3F
    parts = {one.offset: payload for one, payload in zip(made.pieces, payloads, strict=True)}
    piece = piece_of(parts, bytes(index))
    padded, end = pad(piece), 0
    found = findings(piece)
    for one in found.segments:
        start, size = one.entry.offset, one.entry.size
        assert (start % size, start >= end) == (0, True)
        end = start + size
        real = commp(io.BytesIO(unpad_quads(padded[start:end]))).raised_to(size)
        assert real.root == one.entry.commitment
    if not damage:
        kept = [
            one for one in made.entries if one.commitment != ZERO_ROOTS[one.size.bit_length() - 6]
        ]
        assert [one.entry for one in found.segments] == kept


def test_both_segments_of_the_go_librarys_own_sample_are_confirmed_and_proven():
    deal = sample_deal()
    stream, roots = verified(deal, MIB)
    found = confirm_segments(stream, roots)  # type: ignore[arg-type]
    assert [one.entry for one in found.segments] == sample_entries()
    assert found.fault_count == 0
    for one in found.segments:
        proof = prove_entry(stream, roots, one.number, one.entry)  # type: ignore[arg-type]
        assert (proof, one.entry) == prove_segment(io.BytesIO(deal), one.entry.commitment)
        for wrong in (one.number + 1, -1, 1 << 20):
            with pytest.raises(ProofError):
                prove_entry(stream, roots, wrong, one.entry)  # type: ignore[arg-type]
