"""The denylists that the configuration names, read anew when a file changes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import structlog

from deals.denylist import Denylist, parse_denylist
from sp_plugin.errors import ConfigError, Problem

__all__ = ["Denylists"]

log = structlog.get_logger()

_Stamp = tuple[tuple[int, int, int], ...]


class Denylists:
    """All rules of all files, in the order of the files. Lists are replaced by their makers at any time, so each use looks."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Reads the files.

        Raises:
            ConfigError: one cannot be read.
        """
        self._paths = tuple(paths)
        try:
            self._stamp = self._stamped()
            self._rules = self._read()
        except (OSError, ValueError) as error:
            raise ConfigError([Problem("policy.denylists", str(error))]) from error

    def current(self) -> Denylist:
        """The rules now. While a file cannot be read, those that were read before stay in force."""
        try:
            stamp = self._stamped()
            if stamp != self._stamp:
                self._rules, self._stamp = self._read(), stamp
        except (OSError, ValueError) as error:
            log.warning("denylist_unreadable", error=str(error), rules=len(self._rules))
        return self._rules

    def _stamped(self) -> _Stamp:
        found = [path.stat() for path in self._paths]
        return tuple((one.st_ino, one.st_size, one.st_mtime_ns) for one in found)

    def _read(self) -> Denylist:
        rules = Denylist()
        for path in self._paths:
            with path.open(encoding="utf-8", errors="replace") as lines:
                parse_denylist(lines, path.name, rules)
        for problem in rules.problems:
            log.warning("denylist_line_ignored", where=problem.where, reason=problem.message)
        if self._paths:
            log.info("denylists_read", files=len(self._paths), rules=len(rules))
        return rules
