"""What is done with pieces: files written out of them, their blocks listed, ranges verified, and the memory of a CommP of 32 GiB.

SHA-256 by hashlib of the same bytes is measured between the rounds of writing out, which is put on disk before the clock stops.
"""

from __future__ import annotations

import hashlib
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, cast

from benchmarks.measure import Row, Sample, Timer, print_rows
from deals.car import CarBlocks, CarReader, CarWriter
from deals.commp import CommpHasher
from deals.fr32 import pad_quads, read_up_to, unpadded_length
from deals.subtree_roots import VerifiedReader, load_roots, roots_of, save_roots
from deals.unixfs import UnixFs
from deals.unixfs_write import Layout, pack_car
from deals.unsealed import UnsealedFile
from deals.volumes import write_tree
from lotus_client.cid import RAW, Cid
from lotus_client.varint import encode_uvarint

__all__ = ["piece_rows"]

_FILE = 256 << 20
_PIECE = 32 << 30
_RANGE = 1 << 20
_NOT_ZEROS = 64 << 20
_ROUNDS = 5


def piece_rows() -> None:
    """Print them all; it takes about a minute and 600 MB of disk."""
    with tempfile.TemporaryDirectory() as folder:
        _print_extraction(Path(folder))
        rows = [
            Row("piece skipped, listing blocks of 1 MiB", "GB/s", ">= 100", _listing(1 << 20)),
            Row("piece skipped, listing blocks of 256 KiB", "GB/s", "", _listing(256 << 10)),
        ]
        print_rows([*rows, *_range_rows(Path(folder)), *_commp_rows(Path(folder))])


def _print_extraction(folder: Path) -> None:
    payload = hashlib.shake_256(b"sp-plugin benchmark").digest(_FILE)
    (folder / "payload").write_bytes(payload)
    sys.stdout.write(f"{'a file of 268 MB':<48}{'MB/s':>10}{'of SHA-256':>12}\n")
    for size in (1 << 20, 256 << 10):
        with (folder / "car").open("w+b") as car:
            pack_car(folder / "payload", car, Layout(size, 174))
            blocks = CarBlocks(car)
            steps: dict[str, Callable[[], object]] = {
                "read, every block verified": lambda blocks=blocks: _read(blocks),
                "written out, on disk at the end": lambda blocks=blocks: _write(blocks, folder),
            }

            def tidy() -> None:
                (folder / "file").unlink(missing_ok=True)

            for name, work in steps.items():
                pairs = [
                    (_rate(work, tidy), _rate(lambda: hashlib.sha256(payload)))
                    for _ in range(_ROUNDS)
                ]
                rate = statistics.median(rate for rate, _ in pairs)
                share = statistics.median(rate / peer for rate, peer in pairs)
                shown = f"UnixFS {name} ({size >> 10} KiB)"
                sys.stdout.write(f"{shown:<48}{rate:>10.1f}{share:>11.1%}\n")
    sys.stdout.write("\n")


def _read(blocks: CarBlocks) -> None:
    for _ in UnixFs(blocks).read_file(blocks.roots[0]):
        pass


def _write(blocks: CarBlocks, folder: Path) -> None:
    write_tree(UnixFs(blocks), blocks.roots[0], folder / "file")


def _rate(work: Callable[[], object], tidy: Callable[[], object] = lambda: None) -> float:
    started = time.perf_counter()
    work()
    rate = _FILE / (time.perf_counter() - started) / 1e6
    tidy()
    return rate


def _listing(size: int) -> Callable[[], Sample]:
    def run() -> Sample:
        with tempfile.TemporaryFile() as file:
            car = cast("BinaryIO", file)
            length = _write_sparse_car(car, size, _PIECE // size)
            timer = Timer()  # the heads were just written, so they are in memory
            car.seek(0)
            count = sum(1 for _ in CarReader(car).places())
            wall = timer.wall
        if count != _PIECE // size:
            raise RuntimeError(f"{count} blocks were listed")
        return Sample(length / wall / 1e9, timer.cpu)

    return run


def _write_sparse_car(car: BinaryIO, size: int, count: int) -> int:
    """Only the heads of its sections are there; who lists it reads no more."""
    head = encode_uvarint(36 + size)
    CarWriter(car, [Cid.of_sha2_256(RAW, b"")])
    for number in range(count):
        car.write(head + Cid.of_sha2_256(RAW, b"%d" % number).raw)
        car.seek(size, 1)
    car.truncate(car.tell())
    return car.seek(0, 2)


def _range_rows(folder: Path) -> Iterator[Row]:
    """A sector of 32 GiB with one piece, the first 64 MiB of it not zeros; from opening the file to the bytes at hand."""
    payload = hashlib.shake_256(b"sp-plugin range").digest(unpadded_length(_NOT_ZEROS))
    with (folder / "sector").open("wb") as sector:
        sector.write(pad_quads(payload))
        sector.truncate(_PIECE)
    hasher = CommpHasher()
    hasher.update(payload)
    roots = roots_of(hasher, _PIECE)
    save_roots(folder, "roots", roots)
    commitment = roots.commitment()
    places = random.Random(1)

    def run() -> Sample:
        start = places.randrange(len(payload) - _RANGE)
        timer = Timer()
        kept = load_roots(folder, "roots", commitment)
        with UnsealedFile.open(folder / "sector", _PIECE) as file:
            source = file.read_piece(0, _PIECE)
            if kept is None:
                raise RuntimeError("the roots that were kept are gone")
            with VerifiedReader(source, kept) as reader:
                reader.seek(start)
                data = read_up_to(cast("BinaryIO", reader), _RANGE)
        wall, cpu = timer.wall, timer.cpu
        if data != payload[start : start + _RANGE]:
            raise RuntimeError("other bytes were read")
        return Sample(wall * 1e3, cpu)

    yield Row("a verified 1 MiB range of a cached 32 GiB piece", "ms", "<= 20", run, 25)


def _commp_rows(folder: Path) -> Iterator[Row]:
    """`sp-plugin commp` over a sparse file that fills 32 GiB, to its end."""
    with (folder / "sparse").open("wb") as file:
        file.truncate(unpadded_length(_PIECE))

    def run() -> Sample:
        command = [sys.executable, "-m", "sp_plugin", "commp", "--json", folder / "sparse"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            most = 0
            while process.poll() is None:
                most = max(most, _most_resident(process.pid))
                time.sleep(0.05)
            said = json.loads(process.stdout.read()) if process.stdout else {}
        if said.get("padded_size") != _PIECE:
            raise RuntimeError(f"commp said {said}")
        sys.stdout.write(f"({said['seconds']:.1f} s by {said['kernel']})\n")
        return Sample(most / 1e6)

    yield Row("memory of `commp` of 32 GiB, Python included", "MB", "<= 64", run, 1)


def _most_resident(pid: int) -> int:
    """Bytes; 0 once the process is gone."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0
