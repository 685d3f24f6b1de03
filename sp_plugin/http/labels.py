"""Kubernetes' label selectors, as `bacalhau job list` sends them: `a=b,c!=d,e in (x,y),f,!g`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from sp_plugin.errors import BadInput

__all__ = ["parse_selector"]

Labels = Mapping[str, str]

_KEY: Final = r"[A-Za-z0-9./_-]+"
_TERM: Final = re.compile(
    rf"\s*(?:(?P<not>!)\s*(?P<absent>{_KEY})"
    rf"|(?P<key>{_KEY})\s*(?:(?P<op>==|=|!=)\s*(?P<value>[A-Za-z0-9._-]*)"
    rf"|\s(?P<set>in|notin)\s*\((?P<values>[^()]*)\))?)\s*(?:,|$)"
)


def parse_selector(text: str) -> Callable[[Labels], bool]:
    """A test for labels. A missing label satisfies `!=` and `notin`, as in Kubernetes.

    Raises:
        BadInput: not a selector.
    """
    terms: list[Callable[[Labels], bool]] = []
    position = 0
    text = text[:4096].strip()
    while position < len(text):
        match = _TERM.match(text, position)
        if match is None or match.end() == position:
            raise BadInput(f"cannot be read from {text[position:][:40]!r} on", field="labels")
        terms.append(_term(match))
        position = match.end()
    return lambda labels: all(term(labels) for term in terms)


def _term(match: re.Match[str]) -> Callable[[Labels], bool]:
    if absent := match["absent"]:
        return lambda labels: absent not in labels
    key, value = match["key"], match["value"]
    if match["op"] in ("=", "=="):
        return lambda labels: labels.get(key) == value
    if match["op"] == "!=":
        return lambda labels: labels.get(key) != value
    if match["set"]:
        values = {part.strip() for part in match["values"].split(",")}
        inside = match["set"] == "in"
        return lambda labels: (labels.get(key) in values) is inside
    return lambda labels: key in labels
