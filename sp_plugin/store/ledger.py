"""The ledger's table and repository: append-only, one hash chain."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Column, Integer, LargeBinary, RowMapping, String, Table, Text, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from lotus_client.types import AttoFil, Epoch
from sp_plugin.ledger.accounts import Account
from sp_plugin.ledger.check import LedgerReport, Problem, WalletOnChain, check_ledger
from sp_plugin.ledger.entries import (
    Draft,
    Entry,
    EntryKind,
    LedgerError,
    Posting,
    Ref,
    RefKind,
    balances_of,
    chain_entry,
)
from sp_plugin.store.base import Store, metadata

__all__ = ["LedgerRepository", "ledger_entries"]

ledger_entries = Table(
    "ledger_entries",
    metadata,
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("key", String(200), nullable=False, unique=True),
    Column("kind", String(20), nullable=False, index=True),
    Column("epoch", Integer, nullable=False, index=True),
    Column("content", Text, nullable=False),  # the canonical JSON that the hash covers
    Column("previous", LargeBinary(32), nullable=False),
    Column("hash", LargeBinary(32), nullable=False),
)

_PAGE: Final = 1_000


class LedgerRepository:
    """The ledger in the store. Entries are appended, never changed or removed."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def append(self, drafts: Sequence[Draft]) -> tuple[Entry, ...]:
        """The entries of `drafts`, all written in one transaction; those already there are returned as they are.

        Raises:
            LedgerError: a key is there with other content.
        """
        async with self._store.transaction() as connection:
            return await append_in(connection, drafts)

    async def last(self) -> Entry | None:
        """The newest entry, `None` in an empty ledger."""
        async with self._store.reading() as connection:
            return await _last(connection)

    async def get(self, key: str) -> Entry | None:
        """The entry of a key."""
        async with self._store.reading() as connection:
            return (await _by_keys(connection, [key])).get(key)

    async def pages(self) -> AsyncIterator[list[Entry]]:
        """All entries in order, at most a thousand at a time."""
        after = 0
        while page := await self._page(after):
            yield page
            after = page[-1].sequence

    async def _page(self, after: int) -> list[Entry]:
        query = (
            select(ledger_entries)
            .where(ledger_entries.c.sequence > after)
            .order_by(ledger_entries.c.sequence)
            .limit(_PAGE)
        )
        async with self._store.reading() as connection:
            return [_entry(row) for row in (await connection.execute(query)).mappings()]

    async def entries(self, kind: EntryKind | None = None) -> list[Entry]:
        """All entries in order, or those of one kind."""
        query = select(ledger_entries).order_by(ledger_entries.c.sequence)
        if kind is not None:
            query = query.where(ledger_entries.c.kind == kind.value)
        async with self._store.reading() as connection:
            return [_entry(row) for row in (await connection.execute(query)).mappings()]

    async def check(self, wallet: WalletOnChain | None = None) -> LedgerReport:
        """What `check_ledger` says of all entries; an entry that cannot even be read is a problem too."""
        entries: list[Entry] = []
        try:
            async for page in self.pages():
                entries.extend(page)
        except LedgerError as error:
            report = check_ledger(entries)
            return replace(report, problems=(*report.problems, Problem("ledger", str(error))))
        return check_ledger(entries, wallet)

    async def balances(self, *, up_to: Epoch | None = None) -> dict[Account, AttoFil]:
        """The balance of every account, of entries up to an epoch or of all."""
        sums: dict[Account, AttoFil] = {}
        async for page in self.pages():
            for account, amount in balances_of(page, up_to=up_to).items():
                sums[account] = sums.get(account, AttoFil(0)) + amount
        return sums


async def append_in(connection: AsyncConnection, drafts: Sequence[Draft]) -> tuple[Entry, ...]:
    """As `LedgerRepository.append`, inside the caller's transaction.

    Two writers cannot take the same place: the sequence is the primary key, so that the later commit fails.
    """
    there = await _by_keys(connection, [draft.key for draft in drafts])
    last = await _last(connection)
    written, rows = [], []
    for draft in drafts:
        entry = there.get(draft.key)
        if entry is None:
            last = entry = there[draft.key] = chain_entry(draft, last)
            rows.append(_row(entry))
        elif entry.draft != draft:
            raise LedgerError(
                f"entry {draft.key!r} is already in the ledger with other content; "
                "what is booked is never changed"
            )
        written.append(entry)
    if rows:
        await connection.execute(insert(ledger_entries), rows)
    return tuple(written)


async def balance_in(connection: AsyncConnection, account: Account) -> AttoFil:
    """The balance of a payee's `payable:` account, inside the caller's transaction."""
    kinds = [kind.value for kind in (EntryKind.RELEASE, EntryKind.PAYOUT, EntryKind.REVERSAL)]
    query = select(ledger_entries).where(ledger_entries.c.kind.in_(kinds))
    rows = (await connection.execute(query)).mappings()
    postings = (posting for row in rows for posting in _entry(row).draft.postings)
    return AttoFil(sum(p.amount.value for p in postings if p.account == account))


async def has_entries(connection: AsyncConnection, kind: EntryKind) -> bool:
    """Whether there is an entry of `kind`, inside the caller's transaction."""
    query = select(ledger_entries.c.sequence).where(ledger_entries.c.kind == kind.value).limit(1)
    return (await connection.execute(query)).first() is not None


async def _by_keys(connection: AsyncConnection, keys: Sequence[str]) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for first in range(0, len(keys), _PAGE):
        some = keys[first : first + _PAGE]
        query = select(ledger_entries).where(ledger_entries.c.key.in_(some))
        for row in (await connection.execute(query)).mappings():
            found[row["key"]] = _entry(row)
    return found


def _row(entry: Entry) -> dict[str, Any]:
    return {
        "sequence": entry.sequence,
        "key": entry.draft.key,
        "kind": entry.draft.kind.value,
        "epoch": entry.draft.epoch,
        "content": entry.draft.canonical_bytes().decode(),
        "previous": entry.previous,
        "hash": entry.hash,
    }


async def _last(connection: AsyncConnection) -> Entry | None:
    query = select(ledger_entries).order_by(ledger_entries.c.sequence.desc()).limit(1)
    row = (await connection.execute(query)).mappings().first()
    return None if row is None else _entry(row)


def _entry(row: RowMapping) -> Entry:
    try:
        draft = _draft(json.loads(row["content"]))
    except (ValueError, KeyError, TypeError) as error:
        raise LedgerError(f"entry {row['sequence']} cannot be read: {error}") from error
    # The columns are what is searched by; the hash covers the content.
    if (row["key"], row["kind"], row["epoch"]) != (draft.key, draft.kind.value, draft.epoch):
        raise LedgerError(f"entry {row['sequence']}: its columns are not those of its content")
    return Entry(row["sequence"], draft, row["previous"], row["hash"])


def _draft(content: dict[str, object]) -> Draft:
    postings, refs = content["postings"], content["refs"]
    assert isinstance(postings, list)
    assert isinstance(refs, list)
    return Draft(
        key=str(content["key"]),
        kind=EntryKind(str(content["kind"])),
        epoch=Epoch(int(str(content["epoch"]))),
        postings=tuple(Posting(Account(name), AttoFil.parse(amount)) for name, amount in postings),
        refs=tuple(Ref(RefKind(kind), value) for kind, value in refs),
        memo=str(content["memo"]),
    )
