"""Where results go: kept on this host, packed as a CAR, or staged as a piece for a deal.

Design notes
------------
* Publishing may be repeated after a crash, so every file is written under a temporary name and renamed.
* `base` is the one file to read before adding a publisher; every module here is imported, so registering is enough.
"""

from __future__ import annotations

import importlib
import pkgutil

from sp_plugin.publishers.base import PUBLISHERS

__all__ = ["PUBLISHERS", "load_publishers"]


def load_publishers() -> None:
    """Import every module of this package, so that all publishers are registered."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
