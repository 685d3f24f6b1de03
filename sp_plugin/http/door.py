"""A door for callers without a token: few at a time, and not again and again from where nothing good came."""

from __future__ import annotations

import ipaddress
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from lotus_client.errors import LotusError
from sp_plugin.errors import TooMany

__all__ = ["Door"]

_MOST_AT_ONCE: Final = 8  # each may hold a body of `http.max_body_bytes` and what was read from it
_MOST_OF_ONE: Final = 4  # so that one address cannot keep all others out by sending slowly
_MOST_FAILURES: Final = 20  # of one address in a minute
_MINUTE: Final = 60.0
_MOST_KNOWN: Final = 1024  # addresses remembered; the oldest are forgotten first


class Door:
    """Who is inside, and who failed of late. An IPv6 network of 64 bits counts as one address. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._inside: Counter[str] = Counter()
        self._failures: dict[str, tuple[float, int]] = {}  # since when, how many

    @contextmanager
    def open(self, remote: str | None) -> Iterator[None]:
        """Let a caller in; that it ends with an exception, but for the node's, is a failure of its address.

        Raises:
            TooMany: too many are inside, or this one failed too often within a minute.
        """
        name = _network(remote)
        since, count = self._failures.get(name, (0.0, 0))
        if count >= _MOST_FAILURES and self._clock() - since < _MINUTE:
            raise TooMany(
                f"{count} requests from this address within a minute failed or brought nothing new; try again in a minute"
            )
        if self._inside[name] >= _MOST_OF_ONE or self._inside.total() >= _MOST_AT_ONCE:
            raise TooMany("too many requests without a token are being looked at; try again")
        self._inside[name] += 1
        try:
            yield
        except LotusError:
            raise
        except BaseException:  # also one who leaves before the answer
            self._note_failure(name)
            raise
        finally:
            self._inside[name] -= 1
            self._inside += Counter()  # drops those who are at zero

    def note_idle(self, remote: str | None) -> None:
        """Count a call that changed nothing as a failure of its address."""
        self._note_failure(_network(remote))

    def _note_failure(self, name: str) -> None:
        now = self._clock()
        since, count = self._failures.pop(name, (now, 0))
        if now - since >= _MINUTE:
            since, count = now, 0
        self._failures[name] = since, count + 1
        while len(self._failures) > _MOST_KNOWN:
            self._failures.pop(next(iter(self._failures)))


def _network(remote: str | None) -> str:
    try:
        address = ipaddress.ip_address(remote or "")
    except ValueError:
        return "unknown"
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((int(address), 64), strict=False))
