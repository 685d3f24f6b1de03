"""The examples as they lie in the repository, and the independent programs that check them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
EARTH = EXAMPLES / "data" / "earth"
QUAKES_FEED = EARTH / "earthquakes.geojson"
CO2_SERIES = EARTH / "co2-mauna-loa.csv"


def checked(example: str, source: Path, outputs: Path) -> str:
    """What `check.py` says of a result; the test fails if it does not agree."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / example / "check.py"), str(source), str(outputs)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@pytest.fixture
def rebuilt(tmp_path: Path):
    """Builds an example with its Makefile in an empty directory; the bytes that came out."""
    if shutil.which("clang-14") is None or not Path("/usr/lib/wasm32-wasi/libc.a").exists():
        pytest.skip(
            "needs Debian 12's clang, lld, wasi-libc and libclang-rt-14-dev-wasm32 for the very bytes"
        )

    def build(example: str, product: str) -> bytes:
        folder = tmp_path / "elsewhere" / example
        folder.mkdir(parents=True)
        for path in (EXAMPLES / example).iterdir():
            if path.suffix == ".c" or path.name == "Makefile":
                shutil.copy(path, folder)
        subprocess.run(["make", "-s", product], cwd=folder, check=True, capture_output=True)
        return (folder / product).read_bytes()

    return build
