"""A gateway is trusted with nothing: what it sends is hashed, counted, and used only where the walk from the root asks for it."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from deals.car import CarReader, CarWriter
from deals.dag_pb import PbLink, PbNode, UnixFsData, UnixFsType
from deals.denylist import parse_denylist
from deals.unixfs_write import pack_car
from lotus_client.cid import DAG_PB, RAW, Cid
from lotus_client.varint import encode_uvarint
from sp_plugin.fetching.client import FetchFailed
from sp_plugin.fetching.gateways import Gateways
from sp_plugin.inputs.base import InputContext, InputMissing
from sp_plugin.inputs.ipfs import IpfsParams, IpfsSource
from tests.integration.fetching.web import Net, endless, sends, serving

SOURCE = IpfsSource()
CAR = "application/vnd.ipld.car"


class Dag:
    """A directory with a file of several blocks, as blocks and as a CAR."""

    def __init__(self, folder: Path) -> None:
        (folder / "data" / "sub").mkdir(parents=True)
        self.large = b"".join(n.to_bytes(4, "big") for n in range(200_000))  # four blocks
        (folder / "data" / "large.bin").write_bytes(self.large)
        (folder / "data" / "sub" / "a.txt").write_text("alpha")
        out = io.BytesIO()
        self.root = pack_car(folder / "data", out).root
        self.car = out.getvalue()
        self.blocks = {place.cid: data for place, data in CarReader(io.BytesIO(self.car))}


@pytest.fixture
def dag(tmp_path: Path) -> Dag:
    return Dag(tmp_path)


class Gateway:
    """Answers as the specification says; `car` and `blocks` may lie. Keeps the requests."""

    def __init__(self, car: bytes | None, blocks: dict[Cid, bytes]) -> None:
        self.car, self.blocks = car, blocks
        self.seen: list[str] = []

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        name, wanted = request.path.removeprefix("/ipfs/"), request.query.get("format")
        self.seen.append(f"{wanted} {name}")
        if wanted == "car" and self.car is not None:
            return web.Response(body=self.car, headers={"Content-Type": f"{CAR}; version=1"})
        data = self.blocks.get(Cid.parse(name.partition("/")[0]))
        if wanted != "raw" or data is None:
            return web.Response(status=404)
        return web.Response(body=data, headers={"Content-Type": "application/vnd.ipld.raw"})


async def read(
    tmp_path: Path, handler: Any, cid: str, *, rules: dict[str, Any] | None = None, **options: Any
) -> tuple[Any, Net]:
    net = Net()
    async with serving(net, ipfs=handler) as url:
        source = Gateways([url], net.fetcher(**(rules or {})), tmp_path / "cache", **options)
        context = InputContext(gateways=source)
        params = IpfsParams.model_validate({"CID": cid})
        assert (await SOURCE.identify(params, context)).cid == Cid.parse(cid.partition("/")[0])
        return await SOURCE.materialise(params, context, tmp_path / "into1"), net


async def test_a_dag_comes_as_one_car_and_earns_nothing(tmp_path: Path, dag: Dag):
    gateway = Gateway(dag.car, dag.blocks)
    found, _ = await read(tmp_path, gateway, str(dag.root))
    assert (found.host_path / "large.bin").read_bytes() == dag.large
    assert (found.host_path / "sub" / "a.txt").read_text() == "alpha"
    assert found.piece_key is None  # of no held piece
    assert set(found.blocks_read) == set(dag.blocks)
    assert found.fetched_from == "http://data.example"
    # one look at submission, one CAR for the run
    assert gateway.seen == [f"raw {dag.root}", f"car {dag.root}"]


async def test_a_path_is_asked_for_and_only_that_is_written(tmp_path: Path, dag: Dag):
    gateway = Gateway(dag.car, dag.blocks)
    found, _ = await read(tmp_path, gateway, f"{dag.root}/sub/a.txt")
    assert found.host_path.read_text() == "alpha"
    assert f"car {dag.root}/sub/a.txt" in gateway.seen


async def test_a_gateway_without_cars_is_asked_block_by_block(tmp_path: Path, dag: Dag):
    gateway = Gateway(None, dag.blocks)
    found, _ = await read(tmp_path, gateway, str(dag.root))
    assert (found.host_path / "large.bin").read_bytes() == dag.large
    assert len([line for line in gateway.seen if line.startswith("raw")]) == 1 + len(dag.blocks)


async def test_a_car_that_breaks_off_is_made_whole_block_by_block(tmp_path: Path, dag: Dag):
    gateway = Gateway(dag.car[: len(dag.car) * 3 // 4], dag.blocks)
    found, _ = await read(tmp_path, gateway, str(dag.root))
    assert (found.host_path / "large.bin").read_bytes() == dag.large
    singles = [line for line in gateway.seen if line.startswith("raw")]
    assert 1 < len(singles) < 1 + len(dag.blocks)


async def test_what_was_read_once_is_not_asked_for_again(tmp_path: Path, dag: Dag):
    await read(tmp_path, Gateway(dag.car, dag.blocks), str(dag.root))
    silent = Gateway(None, {})
    found, net = await read(tmp_path, silent, str(dag.root))
    assert (found.host_path / "sub" / "a.txt").read_text() == "alpha"
    assert (silent.seen, net.dialled, found.fetched_from) == ([], [], None)


def swapped(dag: Dag) -> tuple[bytes, dict[Cid, bytes]]:
    """Blocks of the right length with one bit changed, under the right CIDs, the root's excepted."""
    out = io.BytesIO()
    writer = CarWriter(out, [dag.root])
    wrong = {
        cid: data if cid == dag.root else bytes((data[0] ^ 1,)) + data[1:]
        for cid, data in dag.blocks.items()
    }
    for cid, data in wrong.items():
        writer.put(cid, data)
    return out.getvalue(), wrong


async def test_a_lying_block_is_refused_in_a_car_and_alone(tmp_path: Path, dag: Dag):
    car, blocks = swapped(dag)
    for gateway in (Gateway(car, blocks), Gateway(None, blocks)):
        with pytest.raises(InputMissing, match="do not hash to its CID"):
            await read(tmp_path, gateway, str(dag.root))
    assert list((tmp_path / "cache").iterdir()) == []


async def test_the_next_gateway_is_asked_when_one_lies(tmp_path: Path, dag: Dag):
    net = Net({"other.example": ["1.1.1.1"]})
    liar, honest = Gateway(*swapped(dag)), Gateway(dag.car, dag.blocks)

    async def by_host(request: web.Request) -> web.StreamResponse:
        return await (honest if request.host.startswith("other") else liar)(request)

    async with serving(net, ipfs=by_host) as url:
        gateways = Gateways([url, "http://other.example"], net.fetcher(), tmp_path / "cache")
        found = await gateways.materialise(dag.root, ())
    assert found.gateway == "http://other.example"
    assert (found.volume.path / "large.bin").read_bytes() == dag.large


async def test_blocks_nobody_asked_for_are_not_used(tmp_path: Path, dag: Dag):
    out = io.BytesIO()
    writer = CarWriter(out, [Cid.of_sha2_256(RAW, b"another root")])
    for data in (b"another root", b"more", *dag.blocks.values()):
        known = next((cid for cid, block in dag.blocks.items() if block == data), None)
        writer.put(known or Cid.of_sha2_256(RAW, data), data)
    found, _ = await read(tmp_path, Gateway(out.getvalue(), dag.blocks), str(dag.root))
    assert set(found.blocks_read) == set(dag.blocks)


def small_file_that_unfolds(times: int) -> tuple[Cid, dict[Cid, bytes]]:
    """A few blocks that describe a file of 1 MiB × times²."""
    leaf = bytes(1 << 20)
    cid, blocks = Cid.of_sha2_256(RAW, leaf), {}
    blocks[cid], size = leaf, len(leaf)
    for _ in range(2):
        data = UnixFsData(UnixFsType.FILE, filesize=size * times, blocksizes=(size,) * times)
        node = PbNode(tuple(PbLink(cid, "", size) for _ in range(times)), data.encode()).encode()
        cid, size = Cid.of_sha2_256(DAG_PB, node), size * times
        blocks[cid] = node
    return cid, blocks


async def test_a_dag_that_unfolds_to_more_than_allowed_is_refused(tmp_path: Path):
    root, blocks = small_file_that_unfolds(1000)
    with pytest.raises(InputMissing, match="more than 10000000 bytes"):
        await read(tmp_path, Gateway(None, blocks), str(root), rules={"max_bytes": 10_000_000})
    assert list((tmp_path / "cache").iterdir()) == []


async def test_a_car_without_end_is_cut_off(tmp_path: Path, dag: Dag):
    async def handler(request: web.Request) -> web.StreamResponse:
        if request.query["format"] == "raw":
            return await Gateway(None, dag.blocks)(request)
        response = web.StreamResponse(headers={"Content-Type": CAR})
        await response.prepare(request)
        await response.write(dag.car)
        while True:
            await response.write(bytes(1 << 16))

    with pytest.raises(InputMissing, match="bytes that may be fetched"):
        await read(tmp_path, handler, str(dag.root), rules={"max_bytes": 4 << 20})


def heads(*sections: bytes) -> bytes:
    out = io.BytesIO()
    CarWriter(out, [Cid.of_sha2_256(RAW, b"x")])
    return out.getvalue() + b"".join(sections)


@pytest.mark.parametrize(
    "car",
    [
        b"",
        b"<html>not a CAR</html>",
        heads(encode_uvarint(40) + bytes(40)),
        encode_uvarint(1 << 40),
    ],
    ids=["empty", "html", "no CID", "huge header"],
)
async def test_a_broken_car_is_passed_over(tmp_path: Path, dag: Dag, car: bytes):
    found, _ = await read(tmp_path, Gateway(car, dag.blocks), str(dag.root))
    assert (found.host_path / "large.bin").read_bytes() == dag.large


@pytest.mark.parametrize("section", [b"\xff" * 9 + b"\x01", encode_uvarint(1 << 30)])
async def test_a_section_larger_than_any_block_is_named(tmp_path: Path, dag: Dag, section: bytes):
    with pytest.raises(InputMissing, match="exceeds the block limit"):
        await read(tmp_path, Gateway(heads(section), dag.blocks), str(dag.root))


async def test_a_block_above_the_limit_is_refused(tmp_path: Path):
    data = bytes(3 << 20)
    root = Cid.of_sha2_256(RAW, data)
    with pytest.raises(InputMissing, match="no gateway gives it"):
        await read(tmp_path, Gateway(None, {root: data}), str(root))


@pytest.mark.parametrize(
    "handler", [sends(b"x", Content_Encoding="gzip"), endless(), sends(b"hello")]
)
async def test_answers_that_are_no_block_are_refused(
    tmp_path: Path, dag: Dag, handler: Callable[..., Any]
):
    with pytest.raises(InputMissing, match="no gateway gives it"):
        await read(tmp_path, handler, str(dag.root))


async def test_a_gateways_redirect_into_this_network_is_not_followed(tmp_path: Path, dag: Dag):
    async def handler(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": "http://169.254.169.254/ipfs/x"})

    net = Net()
    async with serving(net, ipfs=handler) as url:
        gateways = Gateways([url], net.fetcher(), tmp_path)
        with pytest.raises(InputMissing, match="not a public address"):
            await SOURCE.identify(
                IpfsParams.model_validate({"CID": str(dag.root)}), InputContext(gateways=gateways)
            )
    assert set(net.dialled) == {"93.184.215.14"}


async def test_a_gateway_of_the_operators_own_network_may_be_asked(tmp_path: Path, dag: Dag):
    net = Net({"kubo.lan": ["10.0.0.7"]})
    async with serving(net, ipfs=Gateway(dag.car, dag.blocks)):
        gateways = Gateways(["http://kubo.lan:8080"], net.fetcher(), tmp_path / "cache")
        await gateways.materialise(dag.root, ())
    assert set(net.dialled) == {"10.0.0.7"}


async def test_denied_content_is_neither_asked_for_nor_given_out(tmp_path: Path, dag: Dag):
    gateway = Gateway(dag.car, dag.blocks)
    rules = parse_denylist([f"/ipfs/{dag.root}"], "bad.deny")
    with pytest.raises(InputMissing, match=r"bad\.deny:1: refused"):
        await read(tmp_path, gateway, str(dag.root), denylist=lambda: rules)
    assert gateway.seen == []
    leaf = next(cid for cid in dag.blocks if cid.codec == RAW)
    inner = parse_denylist([f"/ipfs/{leaf}"], "bad.deny")
    with pytest.raises(InputMissing, match=r"bad\.deny:1: refused"):
        await read(tmp_path, gateway, str(dag.root), denylist=lambda: inner)


async def test_without_gateways_the_message_says_what_could_be_set(dag: Dag):
    class Nothing:
        async def find_root(self, root: Cid) -> None:
            return None

    context = InputContext(library=Nothing())  # type: ignore[arg-type]
    with pytest.raises(InputMissing, match=r"jobs\.fetch\.gateways names no gateway"):
        await SOURCE.identify(IpfsParams.model_validate({"CID": str(dag.root)}), context)


@pytest.mark.parametrize("as_car", [True, False])
async def test_a_gateway_is_read_no_further_while_runs_stand_still(
    tmp_path: Path, dag: Dag, as_car: bool
):
    gateway = Gateway(dag.car if as_car else None, dag.blocks)
    net = Net()
    async with serving(net, ipfs=gateway) as url:
        source = Gateways([url], net.fetcher(timeout_seconds=1.0), tmp_path / "cache")
        net.pause.turn(on=True)
        reading = asyncio.create_task(source.materialise(dag.root, ()))
        await asyncio.sleep(1.5)  # longer than it may take in all
        assert not reading.done()
        assert gateway.seen == [f"car {dag.root}"]
        net.pause.turn(on=False)
        found = await asyncio.wait_for(reading, 10)
    assert (found.volume.path / "large.bin").read_bytes() == dag.large


async def test_a_gateway_that_is_read_when_the_sidecar_stops_may_be_asked_again(
    tmp_path: Path, dag: Dag
):
    net = Net()
    async with serving(net, ipfs=Gateway(None, dag.blocks)) as url:
        source = Gateways([url], net.fetcher(), tmp_path / "cache")
        net.pause.turn(on=True)
        reading = asyncio.create_task(source.materialise(dag.root, ()))
        await asyncio.sleep(0.5)
        net.pause.close()
        with pytest.raises(FetchFailed, match="stopping"):
            await asyncio.wait_for(reading, 10)
