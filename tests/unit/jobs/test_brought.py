"""What of a run's results was in inputs of no held piece."""

from __future__ import annotations

from pathlib import Path

import pytest

from deals.unixfs_write import add_path
from lotus_client.cid import RAW, Cid
from sp_plugin.inputs.base import Materialised
from sp_plugin.jobs.brought import brought_in, note_brought
from sp_plugin.jobs.outputs import pack_results


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Results with a copy of an input of three blocks, and something new."""
    (tmp_path / "input").mkdir()
    large = bytes(300_000) + b"x" * 300_000
    (tmp_path / "input" / "large.bin").write_bytes(large)
    (tmp_path / "home" / "files").mkdir(parents=True)
    (tmp_path / "home" / "files" / "renamed.bin").write_bytes(large)
    (tmp_path / "home" / "files" / "new.txt").write_text("new")
    pack_results(tmp_path / "home" / "files", tmp_path / "home" / "results.car")
    return tmp_path / "home"


def leaves_of(path: Path) -> set[Cid]:
    found: set[Cid] = set()
    add_path(path, lambda cid, _: found.add(cid) if cid.codec == RAW else None)
    return found


def test_a_copied_file_is_known_by_its_blocks_under_any_name(home: Path):
    note_brought(home, [Materialised(home.parent / "input")])
    assert brought_in(home) == leaves_of(home.parent / "input" / "large.bin")


def test_blocks_that_a_gateway_gave_count_as_they_were_cut_there(home: Path):
    new = Cid.of_sha2_256(RAW, b"new")
    (home.parent / "other").write_text("whatever is in the file")
    note_brought(home, [Materialised(home.parent / "other", blocks_read=(new,))])
    assert brought_in(home) == {new}


def test_inputs_of_held_pieces_are_left_to_the_pieces(home: Path):
    note_brought(home, [Materialised(home.parent / "input", piece_key="claim:7")])
    assert brought_in(home) == frozenset()


def test_runs_of_before_have_no_note(tmp_path: Path):
    assert brought_in(tmp_path) == frozenset()
