"""The boost flavour: a miner API as ever, and pieces by booster-http."""

from __future__ import annotations

import email
import gzip
import io
from collections.abc import AsyncIterator, Iterable, Iterator

import pytest

from deals.blocks import each_of
from deals.car import CarReader
from deals.unixfs import UnixFs
from devstack.flavours import Flavour, NotOfThisFlavour
from lotus_client.cid import RAW, Cid
from tests.integration.devstack.flavour_parts import (
    BINARY,
    FILE,
    TEXT,
    Stocked,
    ask,
    small_car,
    stocked,
)


@pytest.fixture
async def boost() -> AsyncIterator[Stocked]:
    async with stocked(Flavour.BOOST) as stock:
        yield stock


def piece_url(stock: Stocked, cid: object) -> str:
    return f"{stock.net.market_url}/piece/{cid}"


async def test_a_piece_comes_whole_with_the_zeros_behind_its_payload(boost: Stocked) -> None:
    commitment = boost.text.commitment
    size = commitment.padded_size * 127 // 128
    answer = await ask(piece_url(boost, commitment.piece_cid))
    assert answer.status == 200
    assert answer.body == TEXT + bytes(size - len(TEXT))
    assert answer.headers["Content-Type"] == "application/piece"
    assert answer.headers["Etag"] == f'"{commitment.piece_cid}"'
    assert answer.headers["Cache-Control"] == "public, max-age=29030400, immutable"
    assert answer.headers["Last-Modified"] == "Thu, 01 Jan 1970 00:00:00 GMT"
    head = await ask(piece_url(boost, commitment.piece_cid), method="HEAD")
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(size))
    assert "Last-Modified" not in head.headers


async def test_ranges_are_served_alone_and_together(boost: Stocked) -> None:
    url = piece_url(boost, boost.binary.commitment.piece_cid)
    size = boost.binary.commitment.padded_size * 127 // 128
    one = await ask(url, Range="bytes=300-309")
    assert (one.status, one.body) == (206, BINARY[300:310])
    assert one.headers["Content-Range"] == f"bytes 300-309/{size}"
    two = await ask(url, Range="bytes=0-3,600-601")
    raw = b"Content-Type: " + two.headers["Content-Type"].encode() + b"\r\n\r\n" + two.body
    parts = email.message_from_bytes(raw).get_payload()
    assert [part.get_payload(decode=True) for part in parts] == [BINARY[:4], BINARY[600:602]]
    assert int(two.headers["Content-Length"]) == len(two.body)
    assert (await ask(url, Range="bytes=9-3")).status == 416
    behind = await ask(url, Range=f"bytes={size}-")
    assert (behind.status, behind.headers["Content-Range"]) == (416, f"bytes */{size}")


async def test_the_etag_decides_about_ranges_and_repeats(boost: Stocked) -> None:
    cid = boost.binary.commitment.piece_cid
    url = piece_url(boost, cid)
    assert (await ask(url, If_None_Match=f'"{cid}"')).status == 304
    assert (await ask(url, Range="bytes=0-1", If_Range=f'"{cid}"')).status == 206
    assert (await ask(url, Range="bytes=0-1", If_Range='"other"')).status == 200


async def test_who_accepts_gzip_gets_it_with_another_etag(boost: Stocked) -> None:
    cid = boost.text.commitment.piece_cid
    answer = await ask(piece_url(boost, cid), Accept_Encoding="gzip")
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.headers["Etag"] == f'"{cid}.gz"'
    assert gzip.decompress(answer.body).startswith(TEXT)


async def test_what_boost_does_not_have_is_a_404_and_nonsense_a_400(boost: Stocked) -> None:
    unknown = Cid.of_sha2_256(RAW, b"unknown")
    missing = await ask(piece_url(boost, unknown))
    assert (missing.status, b"not found" in missing.body) == (404, True)
    assert (await ask(piece_url(boost, boost.text.commitment.piece_cid_v2))).status == 404
    assert (await ask(piece_url(boost, "rubbish"))).status == 400
    assert (await ask(piece_url(boost, ""))).status == 400
    info = await ask(f"{boost.net.market_url}/info")
    assert info.body == b'{"Version": "0.3.0"}'


async def test_a_piece_is_sealed_once_its_unsealed_file_is_gone(boost: Stocked) -> None:
    boost.unsealed_file(boost.sectors[0]).unlink()
    answer = await ask(piece_url(boost, boost.text.commitment.piece_cid))
    assert answer.status == 404
    assert b"none are unsealed: Allocation 0: Sector 0" in answer.body
    assert (await ask(piece_url(boost, boost.car.commitment.piece_cid))).status == 200


async def test_a_car_is_rebuilt_from_its_root_by_the_gateway(boost: Stocked) -> None:
    _, root, blocks = small_car()
    url = f"{boost.net.market_url}/ipfs/{root}"
    answer = await ask(f"{url}?format=car")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == (
        "application/vnd.ipld.car; version=1; order=dfs; dups=y"
    )
    reader = CarReader(io.BytesIO(answer.body))
    assert reader.roots == (root,)
    received = {place.cid: data for place, data in reader}
    assert received == blocks

    class Received:
        def get(self, cid: Cid) -> bytes:
            return received[cid]

        def get_many(self, cids: Iterable[Cid]) -> Iterator[tuple[Cid, bytes]]:
            return each_of(self, cids)

    file = UnixFs(Received()).resolve(root, ("data.txt",))
    assert b"".join(UnixFs(Received()).read_file(file.cid)) == FILE
    once = await ask(f"{url}/data.txt", Accept="application/vnd.ipld.car;dups=n")
    twice = await ask(f"{url}/data.txt", Accept="application/vnd.ipld.car;dups=y")
    assert len(once.body) < len(twice.body)  # the file's chunks are equal


async def test_the_gateway_refuses_as_frisbii_does(boost: Stocked) -> None:
    _, root, _ = small_car()
    base = f"{boost.net.market_url}/ipfs"
    assert (await ask(f"{base}/{root}")).status == 400  # neither Accept nor format
    assert (await ask(f"{base}/{root}?format=raw")).status == 400
    assert (await ask(f"{base}/{root}?format=car&dag-scope=most")).status == 400
    assert (await ask(f"{base}/{root}?format=car&filename=x.zip")).status == 400
    assert (await ask(f"{base}/rubbish?format=car")).status == 400
    head = await ask(f"{base}/{root}?format=car", method="HEAD")
    assert (head.status, head.headers["Allow"]) == (405, "GET")
    missing = await ask(f"{base}/{Cid.of_sha2_256(RAW, b'unknown')}?format=car")
    assert (missing.status, b"could not find" in missing.body) == (500, True)


async def test_boost_has_the_miner_api_too_but_no_curio(boost: Stocked) -> None:
    assert boost.net.miner_api_info
    with pytest.raises(NotOfThisFlavour, match="no Curio API"):
        _ = boost.net.curio_api_info
