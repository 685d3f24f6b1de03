"""Finding jobs by name and listing them page by page, without reading more than a page holds.

Pages are cut by count and by bytes, since a job may carry megabytes of module. A page goes on behind the last job shown,
not at an offset, so that jobs that come meanwhile neither repeat nor hide others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, reduce
from typing import Any, Final

from sqlalchemy import (
    Column,
    ColumnElement,
    Select,
    Text,
    and_,
    bindparam,
    cast,
    exists,
    func,
    literal,
    select,
    tuple_,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from sp_plugin.jobs.states import JobState
from sp_plugin.store.job_tables import job_labels, jobs
from sp_plugin.store.jobs import JobRecord, job_of

__all__ = ["JobFilter", "JobPage", "LabelTerm", "find_by_prefix", "find_named", "find_page"]

_SHORTEST_PREFIX: Final = 3
_PAGE_BYTES: Final = 16 << 20  # of specifications; one job larger than this is a page of its own
_MOST_JOBS: Final = 10_000
_BY_NAME: Final = (
    select(jobs)
    .where(jobs.c.name == bindparam("wanted"))
    .order_by(jobs.c.created_at.desc())
    .limit(1)
)
_BY_ID: Final = select(jobs).where(jobs.c.id == bindparam("wanted"))


@dataclass(frozen=True, slots=True)
class LabelTerm:
    """One term of a label selector: the label is there (with one of `values`, unless None), or, negated, that is not so."""

    key: str
    values: tuple[str, ...] | None
    negated: bool

    def fits(self, labels: Mapping[str, str]) -> bool:
        """Whether labels fulfil it; the database asks the same of jobs."""
        found = self.key in labels and (self.values is None or labels[self.key] in self.values)
        return found is not self.negated


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Which jobs, in which order; `after` is the order's value and the ID of the last job seen."""

    namespace: str | None = None
    labels: Sequence[LabelTerm] = ()
    states: Sequence[JobState] = ()
    order_by: str = "created_at"  # or modified_at, id
    newest_first: bool = False
    after: tuple[int | str, str] | None = None
    limit: int = _MOST_JOBS


@dataclass(frozen=True, slots=True)
class JobPage:
    """Jobs as JSON texts in the wire shape; `after` is where the next page begins, None at the end."""

    items: tuple[str, ...]
    after: tuple[int | str, str] | None


async def find_named(connection: AsyncConnection, wanted: str) -> JobRecord | None:
    """The job with this name (the newest of several), else with this ID."""
    for query in (_BY_NAME, _BY_ID):
        if (row := (await connection.execute(query, {"wanted": wanted})).first()) is not None:
            return job_of(row)
    return None


async def find_by_prefix(connection: AsyncConnection, prefix: str) -> list[JobRecord]:
    """The jobs, at most two, whose IDs begin so; none for fewer than three characters."""
    if len(prefix) < _SHORTEST_PREFIX:
        return []
    query = select(jobs).where(jobs.c.id.startswith(prefix, autoescape=True)).limit(2)
    return [job_of(row) for row in await connection.execute(query)]


async def find_page(connection: AsyncConnection, wanted: JobFilter) -> JobPage:
    """One page of the jobs wanted."""
    order = jobs.c[wanted.order_by]
    limit = min(wanted.limit, _MOST_JOBS)
    count, goes_on = await _fitting(connection, wanted, limit)
    if not count:
        return JobPage((), None)
    rest = _rest(connection.dialect.name)
    query = _chosen(select(jobs.c.spec, rest, order, jobs.c.id), wanted).limit(count)
    rows = (await connection.execute(query)).all()
    after = (rows[-1][2], rows[-1][3]) if goes_on and rows else None
    return JobPage(tuple([_joined(row[0], row[1]) for row in rows]), after)


async def _fitting(connection: AsyncConnection, wanted: JobFilter, limit: int) -> tuple[int, bool]:
    """How many jobs fit one page, at most `limit`, and whether others follow."""
    sizes = _chosen(select(jobs.c.spec_bytes), wanted).limit(limit + 1)
    inner = sizes.subquery()
    whole = select(func.count(), func.coalesce(func.sum(inner.c.spec_bytes), 0))
    found, size = (await connection.execute(whole.select_from(inner))).one()
    if size <= _PAGE_BYTES:
        return min(int(found), limit), int(found) > limit
    each = (await connection.execute(sizes)).scalars().all()
    used = 0
    for count, one in enumerate(each[:limit]):
        used += one
        if count and used > _PAGE_BYTES:
            return count, True
    return min(len(each), limit), len(each) > limit


def _chosen(query: Select[Any], wanted: JobFilter) -> Select[Any]:
    order = jobs.c[wanted.order_by]
    place = tuple_(order, jobs.c.id)
    if wanted.namespace is not None:
        query = query.where(jobs.c.namespace == wanted.namespace)
    if wanted.states:
        query = query.where(jobs.c.state.in_([state.value for state in wanted.states]))
    for term in wanted.labels:
        query = query.where(_has(term))
    if wanted.after is not None:
        last = tuple_(*wanted.after)
        query = query.where(place < last if wanted.newest_first else place > last)
    if wanted.newest_first:
        return query.order_by(order.desc(), jobs.c.id.desc())
    return query.order_by(order, jobs.c.id)


def _has(term: LabelTerm) -> ColumnElement[bool]:
    test = and_(job_labels.c.job_id == jobs.c.id, job_labels.c.key == term.key)
    if term.values is not None:
        test = and_(test, job_labels.c.value.in_(term.values))
    found = exists().where(test)
    return ~found if term.negated else found


def _joined(spec: str, rest: str) -> str:
    """The job as clients read it. Its specification is kept as JSON text and not taken apart: lists are long."""
    return f"{spec[:-1]},{rest}" if len(spec) > 2 else f"{{{rest}"


@cache
def _rest(dialect: str) -> ColumnElement[str]:
    """What the server adds to a specification, put together by the database."""

    def quoted(column: Column[Any]) -> ColumnElement[str]:
        if dialect == "sqlite":
            return func.json_quote(column, type_=Text)
        return cast(func.to_json(column), Text)

    def number(column: Column[Any]) -> ColumnElement[str]:
        return cast(column, Text)

    parts: list[ColumnElement[str] | str] = [
        '"ID":',
        quoted(jobs.c.id),
        ',"State":{"StateType":"',
        jobs.c.state,
        '","Message":',
        quoted(jobs.c.message),
        ',"Details":{}},"Version":1,"Revision":',
        number(jobs.c.revision),
        ',"CreateTime":',
        number(jobs.c.created_at),
        ',"ModifyTime":',
        number(jobs.c.modified_at),
        ',"Signer":"',
        func.coalesce(jobs.c.signer, "", type_=Text),  # an address needs no quoting
        '"}',
    ]
    columns = [literal(part, Text) if isinstance(part, str) else part for part in parts]
    return reduce(lambda left, right: left + right, columns)
