"""A verification that was killed goes on where it came to, in another process."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deals.sources.several import SeveralSources
from deals.verify import PieceVerified
from deals.verify_places import verify_places
from tests.slow_verification import SlowSource, checkpoint_in, piece_of


def kill_when_there(process: subprocess.Popen[bytes], file: Path) -> None:
    for _ in range(400):
        if file.exists():
            break
        time.sleep(0.05)
    else:
        pytest.fail("no checkpoint was ever written")
    assert process.poll() is None, "it had ended already"
    process.kill()
    process.wait()


def begin_and_kill(data: bytes, car: Path, folder: Path) -> None:
    car.write_bytes(data)
    command = [sys.executable, "-m", "tests.slow_verification", str(car), str(folder)]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[3])
    kill_when_there(process, folder / "partial")


async def test_what_was_read_before_a_kill_is_not_read_again(tmp_path: Path) -> None:
    car = tmp_path / "piece.car"
    data = random.Random(4).randbytes(60 << 20)
    begin_and_kill(data, car, tmp_path)
    piece = piece_of(data)
    done = len(checkpoint_in(tmp_path, piece).load()) // 32
    assert done >= 1
    source = SlowSource(data, 0.0)
    outcome, _ = await verify_places(
        SeveralSources([source]).places((piece,)), piece, checkpoint_in(tmp_path, piece)
    )
    assert isinstance(outcome, PieceVerified)
    assert min(source.first) == done * (4 << 20) // 128 * 127
    assert outcome.subtree_roots.commitment() == piece.piece_cid.digest
