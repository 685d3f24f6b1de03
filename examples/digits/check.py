"""Compare the digits that the job told with those that people wrote down.

usage: python check.py IMAGES_DIRECTORY OUTPUT.csv      exits 0 if every image is there and at least 95 in 100 are right
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

LEAST_RIGHT = 95  # percent


def main() -> int:
    """Compare, and say what differs."""
    images, output = Path(sys.argv[1]), Path(sys.argv[2])
    with (images / "labels.csv").open(newline="") as lines:
        labels = {row["image"]: row["digit"] for row in csv.DictReader(lines)}
    with output.open(newline="") as lines:
        found = {row["image"]: row["digit"] for row in csv.DictReader(lines)}
    if found.keys() != labels.keys():
        print(f"not in both: {', '.join(sorted(found.keys() ^ labels.keys()))}")
        return 1
    right = sum(found[image] == digit for image, digit in labels.items())
    print(f"{right} of {len(labels)} images are right")
    return 0 if 100 * right >= LEAST_RIGHT * len(labels) else 1


if __name__ == "__main__":
    sys.exit(main())
