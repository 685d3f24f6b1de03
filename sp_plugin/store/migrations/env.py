"""How Alembic meets our database: on the connection it is handed (`sp_plugin.store.migrate`)."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context
from sqlalchemy import TypeDecorator

from sp_plugin.store.base import metadata
from sp_plugin.store.tables import all_tables


def _plain_type(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    """Our column types as what they are in the database, so that old migrations never need their classes."""
    if kind == "type" and isinstance(item, TypeDecorator):
        return f"sa.{item.impl!r}"
    return False


def _run() -> None:
    all_tables()
    connection = context.config.attributes["connection"]
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
        compare_server_default=True,
        render_item=_plain_type,
    )
    with context.begin_transaction():
        context.run_migrations()


_run()
