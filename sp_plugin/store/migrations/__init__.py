"""Alembic's migrations. Files in `versions` are dated and never edited once shipped; `sp_plugin.store.migrate` runs them."""
