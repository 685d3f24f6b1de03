"""What programs wrote goes, whatever it is; links are removed and not followed."""

from __future__ import annotations

from pathlib import Path

import pytest

from sp_plugin.jobs import removal
from sp_plugin.jobs.removal import remove_soon


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    kept = tmp_path / "outside"
    kept.mkdir()
    (kept / "file").write_text("stays")
    return kept


@pytest.mark.parametrize("files", [0, 3, 15, 17, 200])
async def test_a_tree_of_any_size_goes_and_what_links_point_to_stays(
    tmp_path: Path, outside: Path, files: int
):
    tree = tmp_path / "tree"
    (tree / "a" / "b").mkdir(parents=True)
    for number in range(files):
        (tree / "a" / f"{number}").write_text("x")
    (tree / "a" / "link").symlink_to(outside)
    (tree / "link").symlink_to(outside / "file")
    await remove_soon(tree)
    assert not tree.exists()
    assert (outside / "file").read_text() == "stays"


async def test_a_large_file_is_left_to_a_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked = []
    monkeypatch.setattr(removal, "remove_tree", asked.append)
    (tmp_path / "tree").mkdir()
    with (tmp_path / "tree" / "large").open("wb") as file:
        file.truncate(2 << 20)
    await remove_soon(tmp_path / "tree")
    assert asked == [tmp_path / "tree"]


async def test_an_absent_tree_is_fine_and_a_link_in_its_place_is_not_followed(
    tmp_path: Path, outside: Path
):
    await remove_soon(tmp_path / "none")
    (tmp_path / "link").symlink_to(outside)
    await remove_soon(tmp_path / "link")
    assert (outside / "file").read_text() == "stays"
