"""Databases for tests: SQLite files, or PostgreSQL where `SP_PLUGIN_TEST_POSTGRES` names a server by URL.

In CI the tests that use `database_url` run on both. A server's user must be allowed to make databases; each test gets a new one,
and all go at the end of the test run.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

__all__ = ["database_url"]

_SERVER = os.environ.get("SP_PLUGIN_TEST_POSTGRES")
_made: list[str] = []


def database_url(folder: Path, name: str = "state") -> str:
    """The URL of a new database; on SQLite it is the file `name.db` in the folder, the same at the next call."""
    if not _SERVER:
        return f"sqlite+aiosqlite:///{folder}/{name}.db"
    known = folder / f"{name}.url"
    if not known.exists():
        database = f"sp_test_{uuid4().hex}"
        _run(_execute(f"CREATE DATABASE {database}"))
        if not _made:
            atexit.register(_drop_all)
        _made.append(database)
        url = make_url(_SERVER).set(database=database)
        known.write_text(url.render_as_string(hide_password=False))
    return known.read_text()


async def _execute(*statements: str) -> None:
    assert _SERVER is not None
    engine = create_async_engine(_SERVER, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        for statement in statements:
            await connection.execute(text(statement))
    await engine.dispose()


def _drop_all() -> None:
    _run(_execute(*(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)" for name in _made)))


def _run(work: Coroutine[Any, Any, None]) -> None:
    """To its end, in a thread of its own: this one may have an event loop running."""
    thread = threading.Thread(target=asyncio.run, args=(work,))
    thread.start()
    thread.join()
