"""Removing what programs of strangers wrote, however deep they nested it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

__all__ = ["remove_tree"]


def remove_tree(path: Path) -> None:
    """Remove a file tree, as far as permissions allow; an absent one is fine. Links are removed, not followed.

    `shutil.rmtree` recurses once per level, so a tree of some thousand levels goes to `rm`, which does not.
    """
    try:
        shutil.rmtree(path, ignore_errors=True)
    except RecursionError:
        subprocess.run(["rm", "-rf", "--", str(path.absolute())], check=False, capture_output=True)
