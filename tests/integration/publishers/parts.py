"""Results of a run as publishers are given them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lotus_client.types import PaddedPieceSize
from sp_plugin.jobs.outputs import pack_results
from sp_plugin.jobs.publishing import write_record
from sp_plugin.publishers.base import PublishContext, Results

ENDED = 1_795_592_123_456_789_000  # 2026-11-25 07:35:23 UTC
RECORD = {"execution_id": "e-1", "outcome": "finished", "published": {}}


def results_in(folder: Path, text: str = "alpha", **changes: Any) -> Results:
    home = folder / "results" / "e-1"
    (home / "files" / "outputs" / "sub").mkdir(parents=True, exist_ok=True)
    (home / "files" / "stdout").write_text("hello")
    (home / "files" / "stderr").write_text("")
    (home / "files" / "exitCode").write_text("0")
    (home / "files" / "outputs" / "sub" / "a.txt").write_text(text)
    packed = pack_results(home / "files", home / "results.car")
    write_record(home, RECORD)
    assert json.loads((home / "run-record.json").read_text()) == RECORD
    values = {
        "job_id": "j-1",
        "execution_id": "e-1",
        "ran_as": "e-1",
        "directory": home / "files",
        "car": packed.car,
        "record": home / "run-record.json",
        "root": packed.root,
        "payload_bytes": packed.payload_bytes,
        "ended_at": ENDED,
    }
    return Results(**(values | changes))


def context_in(folder: Path, **more: Any) -> PublishContext:
    return PublishContext(
        folder / "results", folder / "staging", folder / "cars", PaddedPieceSize(256), **more
    )
