"""A process that spoils an unsealed file over and over: `python -m tests.rewriting_process FILE GOOD SEED`."""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path


def main(file: Path, good: Path, seed: int) -> None:
    """Truncate, rewrite, rename over and flip bits, with the right file now and then, until killed."""
    chance, right = random.Random(seed), good.read_bytes()
    other = file.with_name("other")
    while True:
        match chance.randrange(5):
            case 0:
                with file.open("r+b") as out:
                    out.truncate(len(right) // 2)
            case 1:
                file.write_bytes(right)
            case 2:
                other.write_bytes(bytes(len(right)))
                other.replace(file)
            case 3:
                with file.open("r+b") as out:
                    out.seek(chance.randrange(len(right) // 2))
                    out.write(bytes(chance.randrange(256) for _ in range(4096)))
            case _:
                other.write_bytes(right)
                other.replace(file)
        time.sleep(chance.random() * 0.01)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
