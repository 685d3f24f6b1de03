"""Imports every module that defines tables, so that `metadata` is whole. A new table module is found by itself."""

from __future__ import annotations

import importlib
import pkgutil

import sp_plugin.store
from sp_plugin.store.base import metadata

__all__ = ["all_tables"]

_NOT_TABLES = frozenset({"migrate", "migrations", "tables"})


def all_tables() -> tuple[str, ...]:
    """The names of all tables, with every module of the package imported."""
    for module in pkgutil.iter_modules(sp_plugin.store.__path__):
        if module.name not in _NOT_TABLES:
            importlib.import_module(f"sp_plugin.store.{module.name}")
    return tuple(sorted(metadata.tables))
