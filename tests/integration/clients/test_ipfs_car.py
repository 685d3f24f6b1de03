"""CARs made here open in npm's ipfs-car, and the other way round, with the same roots."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from deals.car import CarBlocks
from deals.unixfs import UnixFs
from deals.unixfs_write import IPFS_CAR, KUBO, Layout, pack_car
from deals.volumes import write_tree
from lotus_client.cid import Cid

CLIENTS = Path(__file__).parents[2] / "clients"
PROGRAM = CLIENTS / "node_modules" / "ipfs-car" / "bin.js"

pytestmark = pytest.mark.skipif(
    not PROGRAM.exists() or shutil.which("node") is None,
    reason="needs `npm ci --ignore-scripts` in tests/clients",
)


def ipfs_car(*arguments: object) -> str:
    done = subprocess.run(
        ["node", PROGRAM, *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def a_file(folder: Path) -> Path:
    path = folder / "a.bin"
    path.write_bytes(hashlib.shake_256(b"a").digest(3_500_000))
    return path


def an_empty_file(folder: Path) -> Path:
    path = folder / "empty"
    path.touch()
    return path


def a_tree(folder: Path) -> Path:
    root = folder / "tree"
    for name in ("b/c/deep.txt", "b/x y.txt", "å.txt", "a/1", "a/2"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"this is {name}")
    a_file(root)
    return root


def ten_thousand_entries(folder: Path) -> Path:
    root = folder / "many"
    root.mkdir()
    for number in range(10_000):
        (root / f"entry {number:05}.txt").write_text(f"content {number}\n")
    return root


each_content = pytest.mark.parametrize(
    "content", [a_file, an_empty_file, a_tree, ten_thousand_entries], ids=lambda make: make.__name__
)


def pack(source: Path, car: Path, layout: Layout) -> Cid:
    with car.open("w+b") as out:
        return pack_car(source, out, layout).root


def files_below(root: Path) -> dict[str, bytes]:
    if root.is_file():
        return {"": root.read_bytes()}
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


@each_content
def test_the_root_is_the_same(content: Callable[[Path], Path], tmp_path: Path):
    source = content(tmp_path)
    theirs = ipfs_car("pack", source, "--no-wrap", "--output", tmp_path / "theirs.car")
    assert str(pack(source, tmp_path / "ours.car", IPFS_CAR)) == theirs


@each_content
@pytest.mark.parametrize("layout", [IPFS_CAR, KUBO], ids=["as ipfs-car", "as kubo"])
def test_a_car_made_here_is_unpacked_by_ipfs_car(
    content: Callable[[Path], Path], layout: Layout, tmp_path: Path
):
    source = content(tmp_path)
    root = pack(source, tmp_path / "ours.car", layout)
    assert ipfs_car("roots", tmp_path / "ours.car") == str(root)
    out = tmp_path / "out"
    ipfs_car("unpack", tmp_path / "ours.car", "--no-wrap", "--output", out)
    assert files_below(out) == files_below(source)


@each_content
def test_a_car_of_ipfs_car_is_unpacked_here(content: Callable[[Path], Path], tmp_path: Path):
    source = content(tmp_path)
    car = tmp_path / "theirs.car"
    root = Cid.parse(ipfs_car("pack", source, "--no-wrap", "--output", car))
    with car.open("rb") as file:
        blocks = CarBlocks(file)
        assert blocks.roots == (root,)
        write_tree(UnixFs(blocks), root, tmp_path / "out")
    assert files_below(tmp_path / "out") == files_below(source)
