from __future__ import annotations

import io
import json
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from deals import volumes
from deals.blocks import BadBlock, BlockStore, MissingBlock, each_of
from deals.car import CarBlocks
from deals.dag_pb import PbLink, PbNode, UnixFsData, UnixFsType
from deals.unixfs import UnixFs, UnixFsNotFound
from deals.unixfs_write import add_file
from deals.volumes import (
    UnsafeContent,
    VolumeLimits,
    VolumeTooLarge,
    clean_cache,
    materialise,
    remove_volume,
    write_tree,
)
from lotus_client.cid import DAG_PB, IDENTITY, RAW, Cid
from tests.piece_samples import SamplePiece, content, sample_piece

FILES = {"a.txt": b"hello", "d/b.bin": content(600_000), "d/e/empty": b"", "d/e/c": b"c"}


@pytest.fixture
def sample(tmp_path: Path) -> SamplePiece:
    return sample_piece(tmp_path / "made", FILES)


@pytest.fixture
def cache(tmp_path: Path):
    directory = tmp_path / "cache"
    yield directory
    if directory.exists():
        for child in directory.iterdir():
            volumes._remove_tree(child)  # read-only directories stop pytest's own cleaning


def files_in(top: Path) -> dict[str, bytes]:
    return {str(p.relative_to(top)): p.read_bytes() for p in top.rglob("*") if p.is_file()}


def test_a_root_becomes_a_read_only_directory(sample: SamplePiece, cache: Path) -> None:
    blocks = CarBlocks(io.BytesIO(sample.car))
    volume = materialise(blocks, sample.root, (), cache)
    assert files_in(volume.path) == FILES
    assert (volume.files, volume.size_bytes) == (4, sum(map(len, FILES.values())))
    for path in (volume.path, *volume.path.rglob("*")):
        mode = stat.S_IMODE(path.lstat().st_mode)
        assert mode == (0o555 if path.is_dir() else 0o444), path


def test_the_blocks_read_are_all_of_the_dag_and_only_those(
    sample: SamplePiece, cache: Path
) -> None:
    blocks = CarBlocks(io.BytesIO(sample.car))
    volume = materialise(blocks, sample.root, (), cache)
    assert set(volume.blocks_read) == set(blocks.places)
    assert volume.block_bytes == sum(place.size for place in blocks.places.values())
    part = materialise(blocks, sample.root, ("a.txt",), cache)
    assert part.blocks_read == (sample.root, Cid.of_sha2_256(RAW, b"hello"))


def test_a_path_inside_becomes_a_file_or_directory(sample: SamplePiece, cache: Path) -> None:
    blocks = CarBlocks(io.BytesIO(sample.car))
    assert materialise(blocks, sample.root, ("a.txt",), cache).path.read_bytes() == b"hello"
    inner = materialise(blocks, sample.root, ("d", "e"), cache)
    assert files_in(inner.path) == {"empty": b"", "c": b"c"}
    with pytest.raises(UnixFsNotFound):
        materialise(blocks, sample.root, ("d", "x"), cache)


class Counting:
    """A `BlockStore` that counts what is got from it."""

    def __init__(self, inner: BlockStore) -> None:
        self.inner = inner
        self.count = 0

    def get(self, cid: Cid) -> bytes:
        self.count += 1
        return self.inner.get(cid)

    def get_many(self, cids: Iterable[Cid]) -> Iterator[tuple[Cid, bytes]]:
        return each_of(self, cids)


def test_a_volume_is_made_once_and_tells_the_same_the_second_time(
    sample: SamplePiece, cache: Path
) -> None:
    blocks = Counting(CarBlocks(io.BytesIO(sample.car)))
    first = materialise(blocks, sample.root, ("d",), cache)
    made = blocks.count
    assert materialise(blocks, sample.root, ("d",), cache) == first
    assert blocks.count - made == 2  # only the way to the target is read again
    remove_volume(cache, first.target)
    assert not first.path.exists()
    assert materialise(blocks, sample.root, ("d",), cache) == first


def test_a_broken_record_means_making_the_volume_anew(sample: SamplePiece, cache: Path) -> None:
    blocks = CarBlocks(io.BytesIO(sample.car))
    volume = materialise(blocks, sample.root, (), cache)
    record = volume.path.parent / "volume.json"
    for text in ("{", "[]", json.dumps({"version": 1, "blocks": {"no-cid": 1}}), '{"version": 1}'):
        record.write_text(text)
        assert materialise(blocks, sample.root, (), cache) == volume
        assert files_in(volume.path) == FILES


def test_a_damaged_or_missing_block_leaves_nothing_behind(sample: SamplePiece, cache: Path) -> None:
    damaged = bytearray(sample.car)
    at = sample.car.index(content(600_000)[:1000])
    damaged[at] ^= 1
    with pytest.raises(BadBlock, match="byte"):
        materialise(CarBlocks(io.BytesIO(bytes(damaged))), sample.root, (), cache)
    assert list(cache.iterdir()) == []


def test_what_an_interrupted_run_left_is_cleaned(cache: Path) -> None:
    left = cache / ".making-x" / "data"
    left.mkdir(parents=True)
    left.chmod(0o555)
    clean_cache(cache)
    assert list(cache.iterdir()) == []


class Dag(dict[Cid, bytes]):
    """Hand-made directories."""

    def get(self, cid: Cid) -> bytes:  # type: ignore[override]
        if cid not in self:
            raise MissingBlock(cid)
        return self[cid]

    def get_many(self, cids: Iterable[Cid]) -> Iterator[tuple[Cid, bytes]]:
        return each_of(self, cids)

    def directory(self, *links: PbLink) -> Cid:
        block = PbNode(links, UnixFsData(UnixFsType.DIRECTORY).encode()).encode()
        cid = Cid.of_sha2_256(DAG_PB, block)
        self[cid] = block
        return cid

    def file(self, data: bytes) -> Cid:
        return add_file(io.BytesIO(data), self.__setitem__).cid


@pytest.mark.parametrize(
    "name", ["..", ".", "", "/etc/passwd", "a/b", "../x", "a\0b", "n" * 256, "ä" * 128]
)
def test_names_that_could_leave_the_volume_refuse_all_of_it(name: str, cache: Path) -> None:
    dag = Dag()
    leaf = dag.file(b"x")
    inner = dag.directory(PbLink(leaf, name, 1))
    root = dag.directory(PbLink(leaf, "good", 1), PbLink(inner, "inner", 1))
    with pytest.raises(UnsafeContent, match="refused"):
        materialise(dag, root, (), cache)
    assert list(cache.iterdir()) == []


def test_a_symlink_refuses_all_of_it(cache: Path) -> None:
    dag = Dag()
    block = PbNode((), UnixFsData(UnixFsType.SYMLINK, b"/etc").encode()).encode()
    link = Cid.of_sha2_256(DAG_PB, block)
    dag[link] = block
    root = dag.directory(PbLink(link, "l", 1))
    with pytest.raises(UnsafeContent, match="symlink to '/etc'"):
        materialise(dag, root, (), cache)
    with pytest.raises(UnsafeContent, match="symlink"):
        materialise(dag, root, ("l",), cache)


def test_limits_of_bytes_entries_depth_and_paths_are_kept(cache: Path) -> None:
    dag = Dag()
    leaf = dag.file(b"12345")
    deep = dag.directory(PbLink(leaf, "f", 1))
    for _ in range(4):
        deep = dag.directory(PbLink(deep, "d" * 10, 1))
    wide = dag.directory(*(PbLink(leaf, str(i), 1) for i in range(4)))
    for root, limits in [
        (wide, VolumeLimits(max_bytes=19)),
        (wide, VolumeLimits(max_entries=4)),
        (deep, VolumeLimits(max_depth=4)),
        (deep, VolumeLimits(max_path=40)),
    ]:
        with pytest.raises(VolumeTooLarge):
            materialise(dag, root, (), cache, limits)
    assert list(cache.iterdir()) == []
    exact = VolumeLimits(max_bytes=20, max_entries=5, max_depth=1)
    assert materialise(dag, wide, (), cache, exact).size_bytes == 20
    with pytest.raises(VolumeTooLarge):  # the limit holds for what is in the cache, too
        materialise(dag, wide, (), cache, VolumeLimits(max_bytes=19))


def test_content_inside_its_own_cid_is_a_volume_however_long_the_cid(cache: Path) -> None:
    cid = Cid.of_digest(RAW, IDENTITY, b"inline" * 100)
    volume = materialise(CarBlocks(io.BytesIO(b"\x11\xa2eroots\x80gversion\x01")), cid, (), cache)
    assert volume.path.read_bytes() == b"inline" * 100
    remove_volume(cache, cid)
    assert list(cache.iterdir()) == []


def test_a_dag_that_repeats_one_directory_is_stopped_by_the_entry_limit(cache: Path) -> None:
    dag = Dag()
    cid = dag.directory()
    for _ in range(40):
        cid = dag.directory(PbLink(cid, "a", 1), PbLink(cid, "b", 1))
    with pytest.raises(VolumeTooLarge, match="more than 50"):
        materialise(dag, cid, (), cache, VolumeLimits(max_entries=50))


def test_unpacking_writes_ordinary_files_once(sample: SamplePiece, tmp_path: Path) -> None:
    fs = UnixFs(CarBlocks(io.BytesIO(sample.car)))
    assert write_tree(fs, sample.root, tmp_path / "out" / "x") == len(FILES)
    assert files_in(tmp_path / "out" / "x") == FILES
    assert (tmp_path / "out" / "x" / "a.txt").stat().st_mode & stat.S_IWUSR
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["x"]
    with pytest.raises(FileExistsError):
        write_tree(fs, sample.root, tmp_path / "out" / "x")
    with pytest.raises(VolumeTooLarge):
        write_tree(fs, sample.root, tmp_path / "out" / "y", VolumeLimits(max_bytes=10))
    assert not (tmp_path / "out" / "y").exists()
