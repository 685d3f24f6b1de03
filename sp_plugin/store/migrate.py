"""Bringing a database to the tables this version knows, and refusing one that a newer version wrote.

`python -m sp_plugin.store.migrate new "what changes"` writes the next migration from the difference between the tables
in the code and the migrations so far.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from sp_plugin.errors import StoreError, StoreTooNew
from sp_plugin.store.base import Store, metadata
from sp_plugin.store.tables import all_tables

if TYPE_CHECKING:
    from alembic.config import Config as AlembicConfig

__all__ = ["differences", "migrate", "open_store", "write_migration"]

_MIGRATIONS: Final = Path(__file__).with_name("migrations")


async def open_store(url: str) -> Store:
    """The store at `url`, migrated to this version.

    Raises:
        StoreTooNew: a newer version wrote it.
        StoreError: it cannot be opened.
    """
    try:
        store = Store(url)
    except (ArgumentError, ImportError) as error:
        raise StoreError(f"database.url cannot be used: {error}") from error
    try:
        await migrate(store)
    except (SQLAlchemyError, OSError) as error:
        await store.close()
        raise StoreError(f"the database cannot be used: {_first_line(error)}") from error
    except BaseException:
        await store.close()
        raise
    return store


async def migrate(store: Store) -> None:
    """Run the migrations that are missing, in one transaction; none is fine."""
    async with store.reading() as connection:
        if await connection.run_sync(_is_current):
            return
    async with store.transaction() as connection:
        await connection.run_sync(_upgrade)


async def differences(store: Store) -> list[Any]:
    """What the tables in the code have that the database has not, and the reverse; empty when they agree."""
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    all_tables()
    async with store.transaction() as connection:
        return await connection.run_sync(
            lambda sync: list(
                compare_metadata(
                    MigrationContext.configure(sync, opts={"compare_type": True}), metadata
                )
            )
        )


def _is_current(connection: Connection) -> bool:
    """Whether the newest migration is the last one done: then Alembic, slow to import, is not needed."""
    if not inspect(connection).has_table("alembic_version"):
        return False
    newest = max(path.name for path in _MIGRATIONS.glob("versions/[0-9]*.py"))
    done = connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all()
    return done == [newest.partition("_")[0]]


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = _config(connection)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    present = MigrationContext.configure(connection).get_current_heads()
    if unknown := [revision for revision in present if revision not in known]:
        raise StoreTooNew(
            f"the database is at revision {unknown[0]}, which this version does not know: "
            "it was used by a newer sp-plugin. Upgrade sp-plugin, or restore a backup"
        )
    command.upgrade(config, "head")


def _config(connection: Connection) -> AlembicConfig:
    from alembic.config import Config as AlembicConfig

    config = AlembicConfig()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    return config


async def write_migration(message: str) -> Path | None:
    """The new migration file, or None if nothing differs."""
    with TemporaryDirectory() as directory:
        store = Store(f"sqlite+aiosqlite:///{directory}/scratch.db")
        try:
            if list(_MIGRATIONS.glob("versions/[0-9]*.py")):
                await migrate(store)
            if not await differences(store):
                return None
            async with store.transaction() as connection:
                return await connection.run_sync(lambda sync: _write(sync, message))
        finally:
            await store.close()


def _write(connection: Connection, message: str) -> Path:
    from alembic import command

    now = datetime.now(UTC)
    script = command.revision(
        _config(connection), message=message, autogenerate=True, rev_id=now.strftime("%Y%m%d%H%M")
    )
    assert script is not None
    assert not isinstance(script, list)
    return Path(script.path)


def _first_line(error: BaseException) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0]


if __name__ == "__main__":
    if sys.argv[1:2] != ["new"] or len(sys.argv) != 3:
        sys.exit('usage: python -m sp_plugin.store.migrate new "what changes"')
    path = asyncio.run(write_migration(sys.argv[2]))
    sys.stdout.write(f"{path or 'nothing differs'}\n")
