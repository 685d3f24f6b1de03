from __future__ import annotations

import contextlib
import io
import re
import tarfile
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deals.blocks import BadBlock, MissingBlock, UnknownHash, check_block
from deals.car import (
    CarBlocks,
    CarCorrupt,
    CarError,
    CarLimitExceeded,
    CarLimits,
    CarReader,
    CarWriter,
    NotACar,
)
from lotus_client import cbor
from lotus_client.cid import BLAKE2B_256, DAG_CBOR, IDENTITY, RAW, Cid, dag_cbor_cid
from lotus_client.varint import encode_uvarint
from tests.piece_samples import DATA

SAMPLES = DATA / "car"


def section(cid: Cid, data: bytes) -> bytes:
    return encode_uvarint(len(cid.raw) + len(data)) + cid.raw + data


def car_of(*blocks: bytes) -> bytes:
    out = io.BytesIO()
    cids = [Cid.of_sha2_256(RAW, block) for block in blocks]
    writer = CarWriter(out, cids[:1])
    for cid, block in zip(cids, blocks, strict=True):
        writer.put(cid, block)
    assert writer.size == len(out.getvalue())
    return out.getvalue()


def wrap_v2(car: bytes, *, padding: int = 0, index: bytes = b"") -> bytes:
    offset = 51 + padding
    numbers = (offset, len(car), offset + len(car) if index else 0)
    header = bytes(16) + b"".join(number.to_bytes(8, "little") for number in numbers)
    return bytes.fromhex("0aa16776657273696f6e02") + header + bytes(padding) + car + index


def read_all(data: bytes, limits: CarLimits | None = None) -> list[tuple[Cid, bytes]]:
    return [(place.cid, block) for place, block in CarReader(io.BytesIO(data), limits)]


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=8, unique=True))
def test_what_was_written_is_read_back(blocks: list[bytes]) -> None:
    car = car_of(*blocks)
    assert [block for _, block in read_all(car)] == blocks
    assert [block for _, block in read_all(wrap_v2(car, padding=5, index=b"index"))] == blocks
    store = CarBlocks(io.BytesIO(car))
    assert [store.get(Cid.of_sha2_256(RAW, block)) for block in blocks] == blocks


def test_the_zeros_behind_a_car_in_a_piece_are_its_end() -> None:
    car = car_of(b"one", b"two")
    reader = CarReader(io.BytesIO(car + bytes(1000)))
    assert len(list(reader)) == 2
    assert reader.end == len(car)


def test_places_point_at_the_bytes_of_their_blocks() -> None:
    for data in (car_of(b"one", b"two" * 99), wrap_v2(car_of(b"one", b"two" * 99), padding=3)):
        streamed = [place for place, _ in CarReader(io.BytesIO(data))]
        assert streamed == list(CarReader(io.BytesIO(data)).places())
        for place in streamed:
            check_block(place.cid, data[place.offset : place.offset + place.size])


@pytest.mark.parametrize(
    ("name", "version", "roots", "blocks", "end"),
    [
        ("sample-unixfs-v2.car", 2, 1, 3, 335),
        ("sample-rw-bs-v2.car", 2, 3, 3, 1737),
        ("sample-v1-with-zero-len-section2.car", 1, 1, 20, 20819),
    ],
)
def test_samples_of_other_writers_are_read(
    name: str, version: int, roots: int, blocks: int, end: int
) -> None:
    with (SAMPLES / name).open("rb") as file:
        reader = CarReader(file)
        assert (reader.version, len(reader.roots)) == (version, roots)
        assert len(list(reader)) == blocks
        assert reader.end == end


@pytest.fixture(scope="module")
def large_samples() -> dict[str, bytes]:
    with tarfile.open(DATA / "car" / "large-samples.tar.xz") as archive:
        return {
            member.name: reader.read()
            for member in archive
            if (reader := archive.extractfile(member)) is not None
        }


@pytest.mark.parametrize(
    ("name", "version", "blocks", "end"),
    [
        ("sample-v1.car", 1, 1049, 479907),
        ("sample-v1-noidentity.car", 1, 1043, 479743),
        ("sample-v1-with-zero-len-section.car", 1, 1049, 479907),
        ("sample-v2-indexless.car", 2, 1049, 479958),
        ("sample-wrapped-v2.car", 2, 1049, 479958),
    ],
)
def test_large_samples_of_other_writers_are_read(
    large_samples: dict[str, bytes], name: str, version: int, blocks: int, end: int
) -> None:
    reader = CarReader(io.BytesIO(large_samples[name]))
    found = [place for place, _ in reader]
    assert (reader.version, len(reader.roots), len(found), reader.end) == (version, 1, blocks, end)
    again = CarReader(io.BytesIO(large_samples[name]))
    assert list(again.places()) == found


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (
            "sample-v1-tailing-corrupt-section.car",
            (
                "block bafy2bzaceasxmx6jykigmkndzjr76dflj2ntm4wjeotdwd2augduhdsnbz63c "
                "is cut short: 336 of 349 bytes (byte 479558)"
            ),
        ),
        (
            "sample-v2-corrupt-data-and-index.car",
            "CARv2 padding is cut short: 521808 of 1048576 bytes (byte 51)",
        ),
    ],
)
def test_large_samples_that_are_corrupt_are_refused_with_the_place(
    large_samples: dict[str, bytes], name: str, reason: str
) -> None:
    with pytest.raises(CarCorrupt, match=re.escape(reason)):
        list(CarReader(io.BytesIO(large_samples[name])))


@pytest.mark.parametrize(
    ("name", "reason"),
    [("sample-corrupt-pragma.car", "no CAR header"), ("sample-rootless-v42.car", "version 42")],
)
def test_samples_that_are_no_car_are_refused(name: str, reason: str) -> None:
    with (SAMPLES / name).open("rb") as file, pytest.raises(NotACar, match=reason):
        CarReader(file)


@pytest.mark.parametrize(
    "data",
    [b"", bytes(1000), b"ustar  \0" * 100, b"\xff" * 3, b"\x7fELF" + bytes(200), b"\x89PNG\r\n"],
)
def test_what_is_not_a_car_is_told_from_a_broken_one(data: bytes) -> None:
    with pytest.raises((NotACar, CarCorrupt)):
        CarReader(io.BytesIO(data))


def test_a_changed_byte_names_the_block_and_its_place() -> None:
    car = bytearray(car_of(b"one", b"two"))
    car[-1] ^= 1
    with pytest.raises(CarCorrupt) as caught:
        read_all(bytes(car))
    assert str(Cid.of_sha2_256(RAW, b"two")) in str(caught.value)
    assert caught.value.offset == len(car) - 3
    with pytest.raises(BadBlock, match=f"at byte {len(car) - 3}"):
        CarBlocks(io.BytesIO(bytes(car))).get(Cid.of_sha2_256(RAW, b"two"))


def test_a_car_cut_anywhere_inside_a_section_is_corrupt() -> None:
    car = car_of(b"one" * 50)
    whole = len(car)
    start = whole - 150 - 36 - 2
    for cut in range(start + 1, whole):
        with pytest.raises(CarCorrupt, match=r"cut short|CID"):
            read_all(car[:cut])
        with pytest.raises(CarCorrupt, match=r"cut short|CID"):
            CarBlocks(io.BytesIO(car[:cut]))
    with pytest.raises(CarCorrupt, match=str(Cid.of_sha2_256(RAW, b"one" * 50))):
        read_all(car[:-1])


def test_the_hashes_we_know_are_checked_and_others_refused() -> None:
    good = [
        (dag_cbor_cid(b"\x80"), b"\x80"),
        (Cid.of_digest(RAW, IDENTITY, b"inline"), b"inline"),
        (Cid.of_sha2_256(DAG_CBOR, b"\x80"), b"\x80"),
    ]
    head = car_of(b"x")
    assert len(read_all(head + b"".join(section(cid, data) for cid, data in good))) == 4
    for cid in (
        Cid.of_digest(RAW, IDENTITY, b"other"),
        Cid.of_digest(RAW, BLAKE2B_256, bytes(32)),
        Cid.of_digest(RAW, 0x12, b""),  # a digest of no bytes proves nothing
    ):
        with pytest.raises(CarCorrupt, match="do not hash"):
            read_all(head + section(cid, b"inline"))
    with pytest.raises(CarCorrupt, match="0x13"):
        read_all(head + section(Cid.of_digest(RAW, 0x13, bytes(64)), b"data"))
    with pytest.raises(UnknownHash, match="0x13"):
        check_block(Cid.of_digest(RAW, 0x13, bytes(64)), b"data")


def test_identity_blocks_need_not_be_in_the_car() -> None:
    cid = Cid.of_digest(RAW, IDENTITY, b"inline")
    store = CarBlocks(io.BytesIO(car_of(b"x")))
    assert cid in store
    assert store.get(cid) == b"inline"
    with pytest.raises(MissingBlock):
        store.get(Cid.of_sha2_256(RAW, b"y"))


def header(value: object) -> bytes:
    raw = cbor.encode(value)
    return encode_uvarint(len(raw)) + raw


@pytest.mark.parametrize(
    ("data", "kind", "reason"),
    [
        (header({"roots": None, "version": 1}), CarCorrupt, "list of roots"),
        (header({"roots": [1], "version": 1}), CarCorrupt, "not a CID"),
        (header({"version": 1}), CarCorrupt, "list of roots"),
        (header({"roots": [], "version": 3}), NotACar, "version 3"),
        (header([1]), NotACar, "not a map"),
        (encode_uvarint(1 << 40), NotACar, "limit"),
        (wrap_v2(wrap_v2(car_of(b"x"))), CarCorrupt, "not a CARv1"),
        (wrap_v2(car_of(b"x"))[:-1], CarCorrupt, "cut short"),
        (wrap_v2(car_of(b"x"))[:30], CarCorrupt, "cut short"),
        (bytes.fromhex("0aa16776657273696f6e02") + bytes(40), CarCorrupt, "places 0 bytes"),
        (car_of(b"x") + encode_uvarint(1 << 62), CarLimitExceeded, "section"),
        (car_of(b"x") + b"\x80\x00", CarCorrupt, "shortest"),
        (car_of(b"x") + b"\xff" * 11, CarCorrupt, "64 bits"),
        (car_of(b"x") + b"\x03abc", CarCorrupt, "CID"),
    ],
)
def test_malformed_cars_are_refused_with_their_reason(
    data: bytes, kind: type[CarError], reason: str
) -> None:
    with pytest.raises(kind, match=reason):
        read_all(data)


def test_a_v2_header_cannot_point_outside_and_its_size_is_kept_to() -> None:
    car = car_of(b"one", b"two")
    short = bytearray(wrap_v2(car))
    short[35:43] = (len(car) - 1).to_bytes(8, "little")
    with pytest.raises(CarCorrupt, match="beyond the CARv2 data"):
        read_all(bytes(short))
    far = bytearray(wrap_v2(car))
    far[27:35] = (1 << 62).to_bytes(8, "little")
    with pytest.raises(CarCorrupt, match="padding"):
        read_all(bytes(far))


@pytest.mark.parametrize("reader", [read_all, lambda d, li: CarBlocks(io.BytesIO(d), li)])
def test_limits_are_kept(reader: Callable[[bytes, CarLimits], object]) -> None:
    car = car_of(b"a" * 100, b"b")
    reader(car, CarLimits(max_block=100, max_blocks=2))
    with pytest.raises(CarLimitExceeded, match="limit is 99"):
        reader(car, CarLimits(max_block=99))
    with pytest.raises(CarLimitExceeded, match="more than 1 blocks"):
        reader(car, CarLimits(max_blocks=1))
    with pytest.raises(CarLimitExceeded, match="roots"):
        reader(car, CarLimits(max_roots=0))


@given(st.binary(max_size=200))
def test_any_bytes_give_blocks_or_a_car_error(data: bytes) -> None:
    for start in (b"", car_of(b"x"), wrap_v2(car_of(b"x"))[:20]):
        for read in (read_all, lambda raw: CarBlocks(io.BytesIO(raw))):
            with contextlib.suppress(CarError):
                read(start + data)


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_any_change_of_one_byte_is_noticed_or_harmless(at: int, value: int) -> None:
    original = wrap_v2(car_of(b"first" * 9, b"second" * 9), padding=2)
    data = bytearray(original)
    data[at % len(data)] = value
    try:
        blocks = read_all(bytes(data))
    except CarError:
        return
    assert all(Cid.of_sha2_256(RAW, block) == cid for cid, block in blocks if cid.codec == RAW)


def test_the_writer_writes_a_block_once_and_the_same_bytes_each_time() -> None:
    assert car_of(b"a", b"b") == car_of(b"a", b"b")
    assert car_of(b"a", b"a") == car_of(b"a")


def test_the_length_of_the_file_is_only_said_where_it_is_known() -> None:
    plain = car_of(b"one", b"two")
    sample = (DATA / "car" / "sample-rw-bs-v2.car").read_bytes()  # a real one, with an index
    for car, length in ((plain, len(plain)), (wrap_v2(plain), len(wrap_v2(plain))), (sample, None)):
        reader = CarReader(io.BytesIO(car + bytes(100)))
        assert reader.payload_end is None
        for _ in reader.places():
            pass
        assert reader.payload_end == length
