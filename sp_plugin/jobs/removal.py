"""Removing what programs of strangers wrote, however deep they nested it."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

__all__ = ["remove_soon", "remove_tree"]

_FEW: Final = 16


def remove_tree(path: Path) -> None:
    """Remove a file tree, as far as permissions allow; an absent one is fine. Links are removed, not followed.

    `shutil.rmtree` recurses once per level, so a tree of some thousand levels goes to `rm`, which does not.
    """
    try:
        shutil.rmtree(path, ignore_errors=True)
    except RecursionError:
        subprocess.run(["rm", "-rf", "--", str(path.absolute())], check=False, capture_output=True)


async def remove_soon(path: Path) -> None:
    """The same without keeping the event loop waiting: in a thread, but for a handful of entries, for which that costs more."""
    if _is_small(path):
        remove_tree(path)
    else:
        await asyncio.to_thread(remove_tree, path)


def _is_small(path: Path) -> bool:
    """Whether there are a few entries only, found without looking at more."""
    pending, left = [str(path)], _FEW
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    left -= 1
                    if left < 0 or entry.stat(follow_symlinks=False).st_size > 1 << 20:
                        return False
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
        except OSError:
            return False
    return True
