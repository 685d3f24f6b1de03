"""Finding jobs by name and listing them page by page, without reading more than a page holds.

Pages are cut by count and by bytes, since a job may carry megabytes of module. A page goes on behind the last job shown,
not at an offset, so that jobs that come meanwhile neither repeat nor hide others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, and_, bindparam, exists, select, tuple_
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from sp_plugin.jobs.states import JobState
from sp_plugin.store.jobs import JobRecord, job_labels, job_of, jobs

__all__ = ["JobFilter", "JobPage", "LabelTerm", "find_by_prefix", "find_named", "find_page"]

_SHORTEST_PREFIX: Final = 3
_PAGE_BYTES: Final = 16 << 20  # of specifications; one job larger than this is a page of its own
_MOST_JOBS: Final = 10_000
_SHOWN: Final = (
    jobs.c.id,
    jobs.c.spec,
    jobs.c.state,
    jobs.c.message,
    jobs.c.revision,
    jobs.c.created_at,
    jobs.c.modified_at,
)

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
    sizes = _chosen(select(order, jobs.c.id, jobs.c.spec_bytes), wanted).limit(limit + 1)
    found = (await connection.execute(sizes)).all()
    count = _fitting(found[:limit])
    if not count:
        return JobPage((), None)
    rows = (await connection.execute(_chosen(select(*_SHOWN), wanted).limit(count))).all()
    last = found[count - 1]
    after = (last[0], last.id) if len(found) > count else None
    return JobPage(tuple(_text_of(row) for row in rows), after)


def _fitting(found: Sequence[Row[Any]]) -> int:
    size = 0
    for count, row in enumerate(found):
        size += row.spec_bytes
        if count and size > _PAGE_BYTES:
            return count
    return len(found)


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


def _text_of(row: Row[Any]) -> str:
    """The job as clients read it. Its specification is kept as JSON text and not taken apart: lists are long."""
    spec = row.spec[:-1] + "," if len(row.spec) > 2 else "{"
    return (
        f'{spec}"ID":{json.dumps(row.id)},'
        f'"State":{{"StateType":"{row.state}","Message":{json.dumps(row.message)},"Details":{{}}}},'
        f'"Version":1,"Revision":{row.revision},'
        f'"CreateTime":{row.created_at},"ModifyTime":{row.modified_at}}}'
    )
