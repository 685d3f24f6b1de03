"""How Alembic meets our database: on the connection it is handed (`sp_plugin.store.migrate`)."""

from __future__ import annotations

from alembic import context

from sp_plugin.store.base import metadata
from sp_plugin.store.tables import all_tables


def _run() -> None:
    all_tables()
    connection = context.config.attributes["connection"]
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
        compare_server_default=True,
        user_module_prefix="base.",
    )
    with context.begin_transaction():
        context.run_migrations()


_run()
