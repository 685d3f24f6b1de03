"""Where jobs' inputs come from: held pieces first, and small things a job brings along.

Design notes
------------
* A source answers two questions apart: what the input *is* (signed by approvers) and where its bytes are (needed by a run).
* A source gets an `InputContext` and nothing else: no configuration, no store.
* `base` is the one file to read before adding a source; every module here is imported, so registering is enough.
"""

from __future__ import annotations

import importlib
import pkgutil

from sp_plugin.inputs.base import SOURCES

__all__ = ["SOURCES", "load_sources"]


def load_sources() -> None:
    """Import every module of this package, so that all sources are registered."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
