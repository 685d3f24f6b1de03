"""Bearer tokens of the HTTP API: shown once, kept as SHA-256."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import BigInteger, Column, String, Table, bindparam, delete, insert, select

from lotus_client.secrets import Secret
from sp_plugin.config.sections import Scope
from sp_plugin.store.base import Store, metadata

__all__ = ["TOKEN_PREFIX", "TokenRecord", "TokenRepository", "api_tokens"]

TOKEN_PREFIX: Final = "spt_"  # noqa: S105  what our tokens begin with, so that logs can black them out

api_tokens = Table(
    "api_tokens",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("scopes", String(100), nullable=False),  # separated by blanks
    Column("created_at", BigInteger, nullable=False),  # Unix nanoseconds
)

_FIND: Final = select(api_tokens).where(api_tokens.c.sha256 == bindparam("hash"))
_REMEMBERED_SECONDS: Final = 1.0
_MOST_REMEMBERED: Final = 1000


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """Who holds a token, and what it may do."""

    name: str
    scopes: frozenset[Scope]
    created_at: int


class TokenRepository:
    """The tokens in the store. A token has 256 random bits, so a plain hash of it is enough."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._found: dict[str, tuple[float, TokenRecord]] = {}  # by hash, with when it was read

    async def create(self, name: str, scopes: Iterable[Scope], now: int) -> Secret:
        """A new token; an older one of that name stops working. This is the only time it can be seen."""
        token = Secret(TOKEN_PREFIX + secrets.token_urlsafe(32))
        await self.put(name, token, scopes, now)
        return token

    async def put(self, name: str, token: Secret, scopes: Iterable[Scope], now: int) -> None:
        """Accept this token under this name from now on, in place of the older one."""
        async with self._store.transaction() as connection:
            await connection.execute(delete(api_tokens).where(api_tokens.c.name == name))
            await connection.execute(
                insert(api_tokens).values(
                    name=name,
                    sha256=_hash(token),
                    scopes=" ".join(sorted(set(scopes))),
                    created_at=now,
                )
            )
        self._found.clear()

    async def find(self, token: Secret) -> TokenRecord | None:
        """Whose token this is, or None. One that another process removes is known for a second yet."""
        digest, now = _hash(token), self._clock()
        read_at, known = self._found.get(digest, (0.0, None))
        if known is not None and now - read_at < _REMEMBERED_SECONDS:
            return known
        async with self._store.reading(brief=True) as connection:
            row = (await connection.execute(_FIND, {"hash": digest})).one_or_none()
        self._found.pop(digest, None)
        if row is None:
            return None
        record = _record(row.name, row.scopes, row.created_at)
        self._found[digest] = now, record
        while len(self._found) > _MOST_REMEMBERED:
            self._found.pop(next(iter(self._found)))
        return record

    async def list(self) -> list[TokenRecord]:
        """All tokens by name, without their secrets."""
        async with self._store.reading() as connection:
            rows = (await connection.execute(select(api_tokens).order_by(api_tokens.c.name))).all()
        return [_record(row.name, row.scopes, row.created_at) for row in rows]

    async def remove(self, name: str) -> bool:
        """Whether there was a token of that name; it works no more."""
        async with self._store.transaction() as connection:
            result = await connection.execute(delete(api_tokens).where(api_tokens.c.name == name))
        self._found.clear()
        return bool(result.rowcount)


def _hash(token: Secret) -> str:
    return hashlib.sha256(token.reveal().encode()).hexdigest()


def _record(name: str, scopes: str, created_at: int) -> TokenRecord:
    return TokenRecord(name, frozenset(map(Scope, scopes.split())), created_at)
