"""Compute the yearly CO2 table again, by other means, and compare it with the job's.

usage: python check.py INPUT.csv OUTPUT.csv      exits 0 and says so if they agree, 1 if not
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

CENT = Decimal("0.01")


def expected_rows(source: Path) -> list[list[str]]:
    """The rows of the yearly table for a monthly series."""
    months: dict[int, list[Decimal]] = defaultdict(list)
    with source.open(newline="") as lines:
        for row in csv.DictReader(lines):
            if row["CO2"]:
                months[int(row["Date"][:4])].append(Decimal(row["CO2"]))
    rows, before = [], None
    for year, values in sorted(months.items()):
        mean = (sum(values) / len(values)).quantize(CENT, ROUND_HALF_UP)
        complete = len(values) == 12
        growth = str(mean - before) if complete and before is not None else ""
        rows.append([str(year), str(len(values)), str(mean), growth])
        before = mean if complete else None
    return rows


def main() -> int:
    """Compare, and say what differs."""
    expected = expected_rows(Path(sys.argv[1]))
    with Path(sys.argv[2]).open(newline="") as lines:
        found = list(csv.reader(lines))[1:]
    different = [pair for pair in zip(found, expected, strict=False) if pair[0] != pair[1]]
    for got, wanted in different:
        print(f"the job says {got}, recomputed {wanted}")
    if len(found) != len(expected):
        print(f"the job has {len(found)} years, recomputed {len(expected)}")
        return 1
    if not different:
        print(f"agrees: {len(expected)} years")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
