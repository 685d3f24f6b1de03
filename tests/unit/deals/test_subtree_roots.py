"""Ranges of a verified piece, verified by the subtree around them."""

from __future__ import annotations

import hashlib
import io
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deals.commp import CommpHasher, commp, feed
from deals.fr32 import unpadded_length
from deals.kernels import SUBTREE_PAYLOAD
from deals.subtree_roots import (
    RangeMismatch,
    RootsError,
    SubtreeRoots,
    VerifiedReader,
    load_roots,
    roots_of,
    save_roots,
)

PAYLOAD = hashlib.shake_256(b"subtrees").digest(2 * SUBTREE_PAYLOAD + 777)
SIZE = 16 << 20


@pytest.fixture(scope="module")
def roots() -> SubtreeRoots:
    return roots_of(feed(CommpHasher(), io.BytesIO(PAYLOAD)), SIZE)


def test_the_roots_fold_to_the_pieces_commitment(roots: SubtreeRoots):
    assert len(roots.roots) == 3 * 32
    assert roots.commitment() == commp(io.BytesIO(PAYLOAD)).raised_to(SIZE).root


@pytest.mark.parametrize("size", [0, 1, 127, 128, 100_000, SUBTREE_PAYLOAD])
@pytest.mark.parametrize("padded", [1 << 20, 4 << 20, 32 << 20])
def test_pieces_of_every_size_have_roots_that_fold_to_theirs(size: int, padded: int):
    if size > unpadded_length(padded):
        size = unpadded_length(padded)
    data = PAYLOAD[:size]
    found = roots_of(feed(CommpHasher(), io.BytesIO(data)), padded)
    assert found.commitment() == commp(io.BytesIO(data)).raised_to(padded).root
    reader = VerifiedReader(io.BytesIO(data), found)
    assert reader.read() == data.ljust(unpadded_length(padded), b"\0")


@settings(max_examples=60)
@given(start=st.integers(0, unpadded_length(SIZE) + 5), length=st.integers(0, 100_000))
def test_every_range_is_that_of_the_piece(roots: SubtreeRoots, start: int, length: int):
    whole = PAYLOAD.ljust(unpadded_length(SIZE), b"\0")
    reader = io.BufferedReader(VerifiedReader(io.BytesIO(PAYLOAD), roots))
    reader.seek(start)
    assert reader.read(length) == whole[start : start + length]


class Counted(io.BytesIO):
    """Counts the bytes that are read of it."""

    count = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.count += len(data)
        return data


def test_a_range_reads_its_subtree_once_and_nothing_else(roots: SubtreeRoots):
    source = Counted(PAYLOAD)
    reader = VerifiedReader(source, roots)
    for at in (SUBTREE_PAYLOAD + 5, SUBTREE_PAYLOAD + 1_000_000, SUBTREE_PAYLOAD):
        reader.seek(at)
        assert reader.read(1000) == PAYLOAD[at : at + 1000]
    assert source.count == SUBTREE_PAYLOAD


def test_a_flipped_bit_is_found_in_its_subtree_and_the_others_can_still_be_read(
    roots: SubtreeRoots,
):
    chance = random.Random(5)
    for _ in range(10):
        at = chance.randrange(len(PAYLOAD))
        wrong = bytearray(PAYLOAD)
        wrong[at] ^= 1 << chance.randrange(8)
        reader = VerifiedReader(io.BytesIO(wrong), roots)
        first = at // SUBTREE_PAYLOAD * SUBTREE_PAYLOAD
        for start in range(0, len(PAYLOAD), SUBTREE_PAYLOAD):
            reader.seek(start)
            if start == first:
                with pytest.raises(RangeMismatch, match=f"bytes {first}\\.\\."):
                    reader.read(10)
            else:
                assert reader.read(10) == PAYLOAD[start : start + 10]


def test_a_file_of_roots_comes_back_as_it_was(roots: SubtreeRoots, tmp_path: Path):
    save_roots(tmp_path / "new", "piece", roots)
    assert load_roots(tmp_path / "new", "piece", roots.commitment()) == roots
    assert load_roots(tmp_path / "new", "other", roots.commitment()) is None
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["piece"]


def test_roots_of_another_piece_are_not_taken(roots: SubtreeRoots, tmp_path: Path):
    save_roots(tmp_path, "piece", roots)
    assert load_roots(tmp_path, "piece", bytes(32)) is None
    assert not (tmp_path / "piece").exists()


@settings(max_examples=60)
@given(data=st.data())
def test_a_damaged_file_of_roots_is_never_taken(roots: SubtreeRoots, data):
    good = roots.to_bytes()
    cut = data.draw(st.integers(0, len(good) - 1))
    with pytest.raises(RootsError):
        SubtreeRoots.from_bytes(good[:cut], roots.commitment())
    wrong = bytearray(good)
    wrong[cut] ^= data.draw(st.integers(1, 255))
    with pytest.raises(RootsError):
        SubtreeRoots.from_bytes(bytes(wrong), roots.commitment())
    # whole by its own checksum, and still of no use
    body = bytes(wrong[:-32])
    forged = body + hashlib.sha256(body).digest()
    if forged != good:
        with pytest.raises(RootsError):
            SubtreeRoots.from_bytes(forged, roots.commitment())
