"""MB/s (10**6 bytes of payload) of each step of the data plane, beside SHA-256 of the same bytes by hashlib in one stream.

That is the peer of every row, measured in the same interleaved rounds, since all of these steps end in SHA-256.
"""

from __future__ import annotations

import hashlib
import io
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from deals.car import CarReader, CarWriter
from deals.commp import commp
from deals.fr32 import pad_quads, unpad_quads_into
from deals.unixfs_write import pack_car
from lotus_client.cid import RAW, Cid

__all__ = ["data_rows"]

_ROUNDS = 5
_BLOCK = 1 << 20


def _payload(size: int) -> bytes:
    """Bytes without structure, the same on every machine."""
    return hashlib.shake_256(b"sp-plugin benchmark").digest(size)


def _car(payload: bytes) -> bytes:
    out = io.BytesIO()
    blocks = [payload[start : start + _BLOCK] for start in range(0, len(payload), _BLOCK)]
    cids = [Cid.of_sha2_256(RAW, block) for block in blocks]
    writer = CarWriter(out, (cids[0],))
    for cid, block in zip(cids, blocks, strict=True):
        writer.put(cid, block)
    return out.getvalue()


def _read_car(car: bytes) -> None:
    for _place, _data in CarReader(io.BytesIO(car)):
        pass


def _over(work: Callable[[memoryview], object], part: bytes, times: int = 64) -> None:
    """As often as the payload is long, so that the work is measured, and not the memory of large results."""
    for _ in range(times):
        work(memoryview(part))


def _pack(source: Path) -> None:
    pack_car(source, io.BytesIO())


def _rate(work: Callable[[], object], size: int) -> float:
    started = time.perf_counter()
    work()
    return size / (time.perf_counter() - started) / 1e6


def data_rows() -> None:
    """Print a row for each step."""
    size = 127 * 512 * 1024
    payload = _payload(size)
    padded, room = pad_quads(payload), memoryview(bytearray(8192 * 127))
    car = _car(payload)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "payload"
        source.write_bytes(payload)
        steps: dict[str, Callable[[], object]] = {
            "Fr32 pad, 512 KiB at a time": lambda: _over(pad_quads, payload[: 4096 * 127], 128),
            "Fr32 unpad, a buffer of 1 MB": lambda: _over(
                lambda part: unpad_quads_into(part, room), padded[: 8192 * 128]
            ),
            "CommP, as `commp` runs here": lambda: commp(io.BytesIO(payload)),
            "CAR read, every block verified (1 MiB blocks)": lambda: _read_car(car),
            "UnixFS file packed into a CAR": lambda: _pack(source),
        }
        sys.stdout.write(
            f"{platform.machine()}, Python {platform.python_version()}, {size / 1e6:.1f} MB payload, "
            f"median of {_ROUNDS} interleaved rounds\n\n"
        )
        sys.stdout.write(f"{'step':<48}{'MB/s':>10}{'of SHA-256':>12}\n")
        for name, work in steps.items():
            pairs = [
                (_rate(work, size), _rate(lambda: hashlib.sha256(payload).digest(), size))
                for _ in range(_ROUNDS)
            ]
            rate = statistics.median(rate for rate, _ in pairs)
            share = statistics.median(rate / peer for rate, peer in pairs)
            sys.stdout.write(f"{name:<48}{rate:>10.1f}{share:>11.1%}\n")
    sys.stdout.write("\n")
