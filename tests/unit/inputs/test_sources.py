from __future__ import annotations

import asyncio
import base64
import gzip
import io
import tarfile
from pathlib import Path

import pytest
from pydantic import ValidationError

from lotus_client.cid import RAW, Cid
from lotus_client.types import ClaimId, PaddedPieceSize
from sp_plugin.inputs import load_sources
from sp_plugin.inputs.base import SOURCES, HeldVolume, InputContext, InputMissing, PieceRef

load_sources()

PIECE = Cid.parse("baga6ea4seaqao7s73y24kcutaosvacpdjgfe5pw76ooefnyqw4ynr3d2y6x2mpq")
ROOT = Cid.of_sha2_256(RAW, b"alpha")
REF = PieceRef("claim:7", PIECE, PaddedPieceSize(1 << 20), ClaimId(7))


class OnePiece:
    """A library with one piece that holds one file."""

    async def find_piece(self, piece_cid, claim_id):
        fits = piece_cid in (None, PIECE) and claim_id in (None, 7)
        return REF if fits else None

    async def find_root(self, root):
        return REF if root == ROOT else None

    async def materialise(self, piece, root, path, into: Path):
        if path == "none":
            raise InputMissing("no such path")
        await asyncio.to_thread(into.write_text, f"{piece.key} {root} {path}")
        return HeldVolume(into, ROOT, 5, (ROOT,))


def source(kind: str, **params):
    chosen = SOURCES[kind]
    return chosen, chosen.params.model_validate(params)


@pytest.mark.parametrize(
    "params", [{"PieceCID": str(PIECE)}, {"ClaimID": 7}, {"PieceCID": str(PIECE), "claimid": 7}]
)
async def test_a_held_piece_is_found_by_cid_or_claim(tmp_path, params):
    chosen, values = source("filecoin", Path="a/b", **params)
    context = InputContext(library=OnePiece())
    identity = await chosen.identify(values, context)
    assert (identity.cid, identity.path, identity.padded_size) == (PIECE, "a/b", 1 << 20)
    volume = await chosen.materialise(values, context, tmp_path / "into")
    assert volume.host_path.read_text() == "claim:7 None a/b"
    assert (volume.piece_key, volume.blocks_read) == ("claim:7", (ROOT,))


async def test_a_piece_that_is_not_held_is_named():
    chosen, values = source("filecoin", PieceCID=str(PIECE), ClaimID=8)
    with pytest.raises(InputMissing, match=f"{PIECE} of claim 8"):
        await chosen.identify(values, InputContext(library=OnePiece()))
    with pytest.raises(InputMissing, match="no storage"):
        await chosen.identify(values, InputContext())


@pytest.mark.parametrize(
    "params", [{}, {"PieceCID": str(ROOT)}, {"PieceCID": "x"}, {"ClaimID": -1}]
)
def test_a_filecoin_source_must_name_a_piece(params):
    with pytest.raises(ValidationError):
        source("filecoin", **params)


async def test_a_root_inside_a_held_car_is_found(tmp_path):
    chosen, values = source("ipfs", CID=f"{ROOT}/2020/a.csv")
    context = InputContext(library=OnePiece())
    identity = await chosen.identify(values, context)
    assert (identity.cid, identity.path) == (ROOT, "2020/a.csv")
    volume = await chosen.materialise(values, context, tmp_path / "into")
    assert volume.host_path.read_text() == f"claim:7 {ROOT} 2020/a.csv"
    chosen, values = source("ipfs", CID=str(PIECE))
    with pytest.raises(InputMissing, match="no piece of this provider holds"):
        await chosen.identify(values, context)


@pytest.mark.parametrize(
    ("url", "data"),
    [
        ("data:,hi%20there", b"hi there"),
        ("data:text/plain;charset=utf-8;base64,aGk=", b"hi"),
        ("data:;base64,aGk", b"hi"),
    ],
)
async def test_inline_bytes_become_a_file_named_by_their_cid(tmp_path, url, data):
    chosen, values = source("inline", URL=url)
    assert (await chosen.identify(values, InputContext())).cid == Cid.of_sha2_256(RAW, data)
    volume = await chosen.materialise(values, InputContext(), tmp_path / "into")
    assert volume.host_path.read_bytes() == data


@pytest.mark.parametrize("url", ["", "http://x/y", "data:text/plain", "data:;base64,%%%"])
def test_what_is_no_data_url_is_refused(url):
    with pytest.raises(ValidationError):
        source("inline", URL=url)


def archive(*members: tuple[tarfile.TarInfo, bytes]) -> str:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return gz_url(raw.getvalue())


def gz_url(data: bytes) -> str:
    return "data:application/gzip;base64," + base64.b64encode(data).decode()


def gz_bytes(url: str) -> bytes:
    return base64.b64decode(url.partition(",")[2])


async def test_an_inline_archive_becomes_a_directory(tmp_path):
    chosen, values = source("inline", URL=archive((tarfile.TarInfo("d/a.txt"), b"alpha")))
    volume = await chosen.materialise(values, InputContext(), tmp_path / "into")
    assert (volume.host_path / "d/a.txt").read_bytes() == b"alpha"


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (archive((member("../a"), b"x")), "leaves its directory"),
        (archive((member("/etc/a"), b"x")), "leaves its directory"),
        (archive((member("a", tarfile.SYMTYPE, "/etc"), b"")), "neither file nor directory"),
        (archive((member("a"), bytes(2000))), "more than 1000 bytes"),
        (gz_url(b"nonsense"), "cannot be unpacked"),
        (gz_url(gzip.compress(b"nonsense", mtime=0)), "cannot be unpacked"),
        (gz_url(gz_bytes(archive((member("a"), bytes(range(250)))))[:200]), "cannot be unpacked"),
        (archive((member("a"), b"x"), (member("a/b"), b"x")), "cannot be unpacked"),
    ],
)
async def test_hostile_archives_are_refused(tmp_path, url, said):
    chosen, values = source("inline", URL=url)
    with pytest.raises(InputMissing, match=said):
        await chosen.materialise(values, InputContext(max_inline_bytes=1000), tmp_path / "into")
    assert not (tmp_path / "a").exists()


async def test_only_allowed_host_directories_can_be_inputs(tmp_path):
    allowed, other, into = tmp_path / "allowed", tmp_path / "other", tmp_path / "into"
    for directory in (allowed, other):
        directory.mkdir()
    (allowed / "a.txt").write_text("alpha")
    (allowed / "way-out").symlink_to(other)
    context = InputContext(allowed_directories=(allowed,))
    for path in (other, allowed / "../other", allowed / "way-out", "/", allowed / "none"):
        chosen, values = source("localDirectory", SourcePath=str(path))
        with pytest.raises(InputMissing):
            await chosen.identify(values, context)
    chosen, values = source("localDirectory", SourcePath=str(allowed))
    with pytest.raises(InputMissing, match="neither file nor directory"):
        await chosen.identify(values, context)
    (allowed / "way-out").unlink()
    before = await chosen.identify(values, context)
    volume = await chosen.materialise(values, context, into)
    assert (volume.host_path / "a.txt").read_text() == "alpha"
    (allowed / "a.txt").write_text("other")
    assert (await chosen.identify(values, context)).cid != before.cid


def test_a_writable_host_directory_is_refused():
    with pytest.raises(ValidationError, match="read-only"):
        source("localDirectory", SourcePath="/x", ReadWrite="true")
