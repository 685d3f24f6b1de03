"""The sidecar's database: one set of tables and queries for SQLite (default) and PostgreSQL (by URL).

Design notes
------------
* SQLAlchemy Core, not the ORM: rows are facts, and the values they become are frozen dataclasses of their own package.
* Each subject keeps its tables and its repository in one module of this package (`chain`, `jobs`, `ledger` …).
* Amounts of money are decimal text (`AttoFilType`): SQLite's integers end at 2**63, attoFIL do not.
* A transaction that must survive a crash is committed before the act that follows it; SQLite runs in WAL mode with
  `synchronous=FULL`, so a commit is on the disk when it returns.
* Migrations (`migrations/versions`) are dated and never edited once shipped.
"""
