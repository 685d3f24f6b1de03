from __future__ import annotations

import pytest

from devstack.demo.world import WorldError, _make_room


def test_a_folder_that_no_demo_made_is_never_emptied(tmp_path):
    (tmp_path / "precious").touch()
    with pytest.raises(WorldError, match="not a demo's"):
        _make_room(tmp_path)
    assert (tmp_path / "precious").exists()


def test_what_an_earlier_demo_left_goes(tmp_path):
    home = tmp_path / "out"
    _make_room(home)
    (home / "summary.json").touch()
    _make_room(home)
    assert [path.name for path in home.iterdir()] == [".sp-plugin-demo"]
