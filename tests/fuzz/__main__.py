"""`python -m tests.fuzz NAME [--seconds N] [--seed N]`: atheris chooses the bytes that a parser is given; see `targets`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.fuzz.targets import SEEDS, TARGETS


def main() -> int:
    """0 if nothing was found; atheris ends the process otherwise and says what it was."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("name", nargs="?", choices=sorted(TARGETS))
    parser.add_argument("--list", action="store_true", help="print the names")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.list or given.name is None:
        sys.stdout.write("\n".join(sorted(TARGETS)) + "\n")
        return 0
    try:
        import atheris
    except ImportError:
        sys.stderr.write("fuzzing wants atheris: pip install atheris\n")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(SEEDS.get(given.name, ())):
            (Path(folder) / str(number)).write_bytes(seed)
        atheris.instrument_all()
        options = ["fuzz", f"-max_total_time={given.seconds}", "-max_len=4096", "-timeout=10"]
        options += ["-rss_limit_mb=1024", folder, *([f"-seed={given.seed}"] if given.seed else [])]
        atheris.Setup(options, TARGETS[given.name])
        atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
