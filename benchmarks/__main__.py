"""`python -m benchmarks`: MB/s (10**6 bytes of payload) of each step, median of interleaved runs with hashlib's own rate.

The peer of every row is SHA-256 of the same bytes by hashlib in one stream, since all of these steps end in SHA-256.
The chain's rows are epochs a second, median of a few runs.
"""

from __future__ import annotations

import hashlib
import io
import logging
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from benchmarks.chain import catch_up_rate, mining_rate
from benchmarks.kernels import kernel_rows
from deals.car import CarReader, CarWriter
from deals.commp import commp
from deals.fr32 import pad_quads, unpad_quads
from deals.unixfs_write import pack_car
from lotus_client.cid import RAW, Cid

_ROUNDS = 5
_CHAIN_ROUNDS = 3
_EPOCHS = 2000
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


def _pack(source: Path) -> None:
    pack_car(source, io.BytesIO())


def _rate(work: Callable[[], object], size: int) -> float:
    started = time.perf_counter()
    work()
    return size / (time.perf_counter() - started) / 1e6


def main() -> None:
    """Print one row for each step."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    kernel_rows()
    _data_plane()
    _chain()


def _chain() -> None:
    rows: dict[str, Callable[[int], float]] = {
        "devnet mining (480 sectors beside)": mining_rate,
        "follower catch-up, node on the same core": catch_up_rate,
    }
    sys.stdout.write(f"\n{'step':<48}{'epochs/s':>10}\n")
    for name, rate in rows.items():
        median = statistics.median(rate(_EPOCHS) for _ in range(_CHAIN_ROUNDS))
        sys.stdout.write(f"{name:<48}{median:>10.0f}\n")


def _data_plane() -> None:
    size = 127 * 512 * 1024
    payload = _payload(size)
    padded = pad_quads(payload)
    car = _car(payload)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "payload"
        source.write_bytes(payload)
        steps: dict[str, Callable[[], object]] = {
            "Fr32 pad": lambda: pad_quads(payload),
            "Fr32 unpad": lambda: unpad_quads(padded),
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


main()
