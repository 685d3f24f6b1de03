"""Removing what programs of strangers wrote, however deep they nested it."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

__all__ = ["remove_few", "remove_now", "remove_soon", "remove_tree"]

_FEW: Final = 16
_SMALL: Final = 1 << 20  # bytes: the disk takes its time to give a large file's blocks back


def remove_tree(path: Path) -> None:
    """Remove a file tree, as far as permissions allow; an absent one is fine. Links are removed, not followed.

    `shutil.rmtree` recurses once per level, so a tree of some thousand levels goes to `rm`, which does not.
    """
    try:
        shutil.rmtree(path, ignore_errors=True)
    except RecursionError:
        subprocess.run(["rm", "-rf", "--", str(path.absolute())], check=False, capture_output=True)


def remove_now(path: Path) -> None:
    """The same, sooner for a handful of entries."""
    if not remove_few(path):
        remove_tree(path)


async def remove_soon(path: Path) -> None:
    """The same without keeping the event loop waiting: in a thread, but for a handful of entries, for which that costs more."""
    if not remove_few(path):
        await asyncio.to_thread(remove_tree, path)


def remove_few(path: Path) -> bool:
    """Whether all is gone: a few small files in a few directories. Else nothing, or a part of them, is."""
    top = str(path)
    found, left = [top], _FEW
    if os.path.islink(top):  # noqa: PTH114
        return False
    try:
        for directory in found:  # it grows meanwhile
            with os.scandir(directory) as entries:
                for entry in entries:
                    left -= 1
                    if left < 0 or entry.stat(follow_symlinks=False).st_size > _SMALL:
                        return False
                    if entry.is_dir(follow_symlinks=False):
                        found.append(entry.path)
                    else:
                        os.unlink(entry.path)  # noqa: PTH108  each layer counts here
        for directory in reversed(found):
            os.rmdir(directory)  # noqa: PTH106
    except OSError:
        return False
    return True
