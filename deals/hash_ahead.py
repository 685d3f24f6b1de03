"""Blocks hashed in a second thread while the next ones are read, and given out in their order.

Reading a block and hashing it take different parts of a machine, and both let go of the interpreter's lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

from deals.blocks import BadBlock, UnknownHash

__all__ = ["hashed_ahead"]

K = TypeVar("K")

# Handing a group over costs about as much as hashing some 50 KiB, so that a block alone is not worth it.
_GROUP: Final = 1 << 20


def hashed_ahead(
    blocks: Iterator[tuple[K, bytes]],
    check: Callable[[K, bytes], None],
    again: Callable[[K, Exception], bytes],
) -> Iterator[tuple[K, bytes]]:
    """The same blocks, each given out after `check` found nothing wrong with it; at most two groups of 1 MiB and a block wait.

    Where `check` raised BadBlock or UnknownHash, `again` is asked for other bytes, which it has checked, or to raise. `check`
    runs in another thread; `blocks` and `again` in the caller's. What `blocks` raises is raised behind the blocks before it.
    """
    groups = _groups(blocks)
    group, failure = next(groups)
    if failure is not None or sum(len(data) for _, data in group) < _GROUP:  # it is the only one
        yield from _good(group, _first_bad(group, check), check, again)
        if failure is not None:
            raise failure
        return
    with ThreadPoolExecutor(1, "hash") as pool:
        waiting: tuple[list[tuple[K, bytes]], Future[_Bad]] = (
            group,
            pool.submit(_first_bad, group, check),
        )
        for group, ended_by in groups:
            failure = ended_by
            before, waiting = waiting, (group, pool.submit(_first_bad, group, check))
            yield from _good(before[0], before[1].result(), check, again)
        yield from _good(waiting[0], waiting[1].result(), check, again)
    if failure is not None:
        raise failure


# The place in its group of a block that is not right, and what is wrong; the ones behind it were not looked at.
_Bad = tuple[int, Exception] | None


def _groups(
    blocks: Iterator[tuple[K, bytes]],
) -> Iterator[tuple[list[tuple[K, bytes]], Exception | None]]:
    """At least one group, also if it is empty; the last one with what ended the blocks, if that was an error."""
    group: list[tuple[K, bytes]] = []
    size = 0
    try:
        for key, data in blocks:
            group.append((key, data))
            size += len(data)
            if size >= _GROUP:
                yield group, None
                group, size = [], 0
    except Exception as error:  # noqa: BLE001 - raised by who takes the groups, in its turn
        yield group, error
        return
    yield group, None


def _first_bad(
    group: list[tuple[K, bytes]], check: Callable[[K, bytes], None], start: int = 0
) -> _Bad:
    for number in range(start, len(group)):
        try:
            check(*group[number])
        except (BadBlock, UnknownHash) as error:
            return number, error
    return None


def _good(
    group: list[tuple[K, bytes]],
    bad: _Bad,
    check: Callable[[K, bytes], None],
    again: Callable[[K, Exception], bytes],
) -> Iterator[tuple[K, bytes]]:
    start = 0
    while bad is not None:
        number, error = bad
        yield from group[start:number]
        key = group[number][0]
        yield key, again(key, error)
        start = number + 1
        bad = _first_bad(group, check, start)
    yield from group[start:]
