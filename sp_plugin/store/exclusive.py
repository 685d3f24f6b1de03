"""One sidecar per database, wherever it runs: the lock on `data_dir` says nothing about a database named by URL.

That nobody is paid twice does not hang on this lock: a payout's nonce and state are constraints of the tables. It keeps
two sidecars from splitting, planning and halting against each other, also when a PostgreSQL is shared by two machines.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from sqlalchemy import func, select

from sp_plugin.errors import Conflict
from sp_plugin.store.base import Store

__all__ = ["held_alone"]

_SIDECAR: Final = 0x5350_5347  # names the advisory lock, nothing else
_IN_USE: Final = "another sidecar works with this database; each needs its own"


@asynccontextmanager
async def held_alone(store: Store) -> AsyncIterator[None]:
    """The database for as long as no other sidecar has it; the lock ends with the process, whatever ends it.

    Raises:
        Conflict: another one has it.
    """
    if store.engine.dialect.name == "postgresql":
        options = {"isolation_level": "AUTOCOMMIT"}  # a lock of the session, not of a transaction
        async with store.engine.connect() as connection:
            session = await connection.execution_options(**options)
            if not await session.scalar(select(func.pg_try_advisory_lock(_SIDECAR))):
                raise Conflict(_IN_USE)
            try:
                yield
            finally:
                await session.execute(select(func.pg_advisory_unlock(_SIDECAR)))
        return
    database = store.engine.url.database
    if database in (None, "", ":memory:"):
        yield
        return
    handle = os.open(f"{database}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(_IN_USE) from error
        yield
    finally:
        os.close(handle)
