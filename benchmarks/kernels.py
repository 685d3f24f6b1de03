"""MB/s of CommP by every kernel of this machine, each beside hashlib's SHA-256 and a named peer in the same interleaved rounds.

`PEER=/path/to/program` names a program that reads a file given as its argument, and prints its root (or piece CID) and MB/s, in
whatever words: the last number of its output is taken as its rate. Where `npm ci` was run in tests/clients, its package is measured too.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from deals.commp import commp
from deals.kernels import Kernel, all_kernels

__all__ = ["kernel_rows"]

_ROUNDS = 5
_MOST = 127 << 19  # bytes of payload for the fast ones: 64 MiB padded
_NPM = Path(__file__).parents[1] / "tests" / "clients" / "commp.mjs"
_NPM_BYTES = 127 << 16
_SECONDS = 0.5  # of work a round, about


def kernel_rows() -> None:
    """Print a row for each kernel with one thread, and with two where threads help."""
    payload = hashlib.shake_256(b"sp-plugin benchmark").digest(_MOST)
    rows: dict[str, Callable[[], float]] = {
        "SHA-256 by hashlib, one stream": lambda: _rate(lambda: hashlib.sha256(payload), _MOST)
    }
    for kernel in all_kernels():
        size = _fitting(kernel, payload)
        for threads in (1, 2) if kernel.threads_help else (1,):
            rows[f"CommP by {kernel.name}, {threads} thread{'s' * (threads > 1)}"] = _work(
                kernel, payload[:size], threads
            )
    with tempfile.TemporaryDirectory() as folder:
        if (_NPM.parent / "node_modules").exists() and (node := shutil.which("node")):
            small = Path(folder) / "small"
            small.write_bytes(payload[:_NPM_BYTES])
            rows["peer npm fr32-sha2-256-trunc254-padded-binary-tr…"] = lambda: _peer_rate(
                node, _NPM, small
            )
        if peer := os.environ.get("PEER"):
            file = Path(folder) / "payload"
            file.write_bytes(payload)
            rows[f"peer {Path(peer).name}"] = lambda: _peer_rate(peer, file)
        found: dict[str, list[float]] = {name: [] for name in rows}
        for _ in range(_ROUNDS):
            for name, work in rows.items():
                found[name].append(work())
    sys.stdout.write(f"{'kernel':<48}{'MB/s':>10}\n")
    for name, rates in found.items():
        sys.stdout.write(f"{name:<48}{statistics.median(rates):>10.1f}\n")
    sys.stdout.write("\n")


def _work(kernel: Kernel, payload: bytes, threads: int) -> Callable[[], float]:
    return lambda: _rate(
        lambda: commp(io.BytesIO(payload), kernel=kernel, threads=threads), len(payload)
    )


def _fitting(kernel: Kernel, payload: bytes) -> int:
    """So many bytes that a round takes about half a second, at most all."""
    sample = payload[: 127 << 13]
    kernel.payload_root(sample, 15)  # the WASM kernel is compiled at its first use
    rate = _rate(lambda: kernel.payload_root(sample, 15), len(sample))
    return min(len(payload), int(rate * 1e6 * _SECONDS))


def _rate(work: Callable[[], object], size: int) -> float:
    started = time.perf_counter()
    work()
    return size / (time.perf_counter() - started) / 1e6


def _peer_rate(*command: str | Path) -> float:
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return float(re.findall(r"\d+(?:\.\d+)?", said)[-1])
