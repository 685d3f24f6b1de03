"""Where programs of strangers run: one executor for each engine, each in processes that can be killed.

Design notes
------------
* The sidecar never runs a guest in its own process. A runtime's bug, a flood or an endless sleep ends a child or a
  container, not the service.
* All ways to end are told apart by `base.OutcomeKind`; a non-zero exit code is a finished run with results.
* Inputs are read-only, outputs are fresh directories, there is no network, and the environment holds only what the job
  set. Limits are enforced here and again when outputs are collected (`sp_plugin.jobs.outputs`).
* `base` is the one file to read before adding an executor; every module here is imported, so registering is enough.
"""

from __future__ import annotations

import importlib
import pkgutil

from sp_plugin.executors.base import EXECUTORS, ExecutorSettings, make_executors

__all__ = ["EXECUTORS", "ExecutorSettings", "load_executors", "make_executors"]


def load_executors() -> None:
    """Import every module of this package, so that all executors are registered."""
    for module in pkgutil.iter_modules(__path__):
        if not module.name.endswith("_child"):
            importlib.import_module(f"{__name__}.{module.name}")
