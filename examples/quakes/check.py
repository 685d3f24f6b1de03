"""Compute the earthquake summary again, by other means, and compare it with the job's.

usage: python check.py INPUT.geojson OUTPUT_DIR      exits 0 and says so if they agree, 1 if not
"""

from __future__ import annotations

import csv
import json
import math
import statistics
import sys
from collections import Counter
from pathlib import Path
from typing import Any


def expected_summary(collection: dict[str, Any]) -> dict[str, Any]:
    """What summary.json must say for a USGS feature collection."""
    events = collection["features"]
    magnitudes = [e["properties"]["mag"] for e in events if e["properties"]["mag"] is not None]
    bins = Counter(math.floor((m + 1) * 10 + 0.5) for m in magnitudes)
    fullest = min(bins, key=lambda n: (-bins[n], n))
    complete = (fullest - 10) / 10
    above = [m for m in magnitudes if math.floor((m + 1) * 10 + 0.5) >= fullest]
    b_value = math.log10(math.e) / (statistics.fmean(above) - (complete - 0.05))
    times = [e["properties"]["time"] for e in events]
    return {
        "events": len(events),
        "events_with_magnitude": len(magnitudes),
        "first_time_ms": min(times),
        "last_time_ms": max(times),
        "magnitude_of_completeness": complete,
        "events_above_completeness": len(above),
        "b_value": round(b_value, 4),
        "strongest_magnitude": max(magnitudes),
    }


def main() -> int:
    """Compare, and say what differs."""
    source, outputs = Path(sys.argv[1]), Path(sys.argv[2])
    collection = json.loads(source.read_text())
    found = json.loads((outputs / "summary.json").read_text())
    found["strongest_magnitude"] = found["strongest"][0]["magnitude"]
    expected = expected_summary(collection)
    problems = [
        f"{name}: the job says {found.get(name)}, recomputed {value}"
        for name, value in expected.items()
        if found.get(name) != value
    ]
    with (outputs / "events.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    if sorted(row["id"] for row in rows) != sorted(e["id"] for e in collection["features"]):
        problems.append("events.csv: the ids are not those of the input")
    if [int(row["time_ms"]) for row in rows] != sorted(int(row["time_ms"]) for row in rows):
        problems.append("events.csv: not in the order of time")
    print("\n".join(problems) or f"agrees: {len(rows)} events, b-value {expected['b_value']}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
