"""Whole stories between processes: the network lives in the test's process, the sidecar in its own."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from devstack.demo.play import play
from devstack.demo.show import Show


def play_demo(folder: Path, network_version: int) -> dict[str, Any]:
    """The summary of a demo played into `folder`; what it prints goes to `folder`'s sibling `demo.txt`."""
    with folder.with_suffix(".txt").open("w") as log:
        show = Show(Console(file=log, width=200))
        return asyncio.run(play(folder, network_version=network_version, keep=False, show=show))


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the demo under network version 28 was played."""
    return tmp_path_factory.mktemp("demo") / "out"


@pytest.fixture(scope="session")
def demo(demo_folder: Path) -> dict[str, Any]:
    """The summary of the demo under network version 28: the story that nothing disturbs."""
    return play_demo(demo_folder, 28)
