"""Piece commitments as npm's fr32-sha2-256-trunc254-padded-binary-tree-multihash computes them."""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
from pathlib import Path

import pytest

from deals.commp import commp
from deals.piece_cid import decode_piece_cid_v2
from lotus_client.cid import RAW, Cid

CLIENTS = Path(__file__).parents[2] / "clients"
PACKAGE = (
    CLIENTS
    / "node_modules"
    / "fr32-sha2-256-trunc254-padded-binary-tree-multihash"
    / "package.json"
)

pytestmark = pytest.mark.skipif(
    not PACKAGE.exists() or shutil.which("node") is None,
    reason="needs `npm ci --ignore-scripts` in tests/clients",
)


@pytest.mark.parametrize("size", [127, 128, 65_024, 100_000, 1_048_576, 4_161_537, 9_000_001])
def test_an_implementation_in_rust_finds_the_same_root_and_length(
    size: int, tmp_path: Path
) -> None:
    payload = hashlib.shake_256(b"npm").digest(size)
    (tmp_path / "payload").write_bytes(payload)
    said = subprocess.run(
        ["node", CLIENTS / "commp.mjs", tmp_path / "payload"],
        capture_output=True, text=True, check=True, timeout=100,
    ).stdout.split()[0]  # fmt: skip
    theirs = decode_piece_cid_v2(Cid(bytes((1, RAW)) + bytes.fromhex(said)))
    ours = commp(io.BytesIO(payload))
    assert (theirs.root, theirs.padded_size, theirs.payload_size) == (
        ours.root, ours.padded_size, size,
    )  # fmt: skip
