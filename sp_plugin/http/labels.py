"""Kubernetes' label selectors, as `bacalhau job list` sends them: `a=b,c!=d,e in (x,y),f,!g`."""

from __future__ import annotations

import re
from typing import Final

from sp_plugin.errors import BadInput
from sp_plugin.store.job_lists import LabelTerm

__all__ = ["parse_selector"]

_MOST_TERMS: Final = 32
_KEY: Final = r"[A-Za-z0-9./_-]+"
_TERM: Final = re.compile(
    rf"\s*(?:(?P<not>!)\s*(?P<absent>{_KEY})"
    rf"|(?P<key>{_KEY})\s*(?:(?P<op>==|=|!=)\s*(?P<value>[A-Za-z0-9._-]*)"
    rf"|\s(?P<set>in|notin)\s*\((?P<values>[^()]*)\))?)\s*(?:,|$)"
)


def parse_selector(text: str) -> tuple[LabelTerm, ...]:
    """The terms that a job's labels must fulfil. A missing label satisfies `!=` and `notin`, as in Kubernetes.

    Raises:
        BadInput: not a selector, or too long a one.
    """
    terms: list[LabelTerm] = []
    position = 0
    text = text.strip()
    if len(text) > 4096:
        raise BadInput("is longer than 4096 characters", field="labels")
    while position < len(text):
        match = _TERM.match(text, position)
        if match is None or match.end() == position:
            raise BadInput(f"cannot be read from {text[position:][:40]!r} on", field="labels")
        terms.append(_term(match))
        position = match.end()
    if len(terms) > _MOST_TERMS:
        raise BadInput(f"has more than {_MOST_TERMS} terms", field="labels")
    return tuple(terms)


def _term(match: re.Match[str]) -> LabelTerm:
    if absent := match["absent"]:
        return LabelTerm(absent, None, negated=True)
    key = match["key"]
    if match["op"]:
        return LabelTerm(key, (match["value"],), negated=match["op"] == "!=")
    if match["set"]:
        values = tuple(sorted({part.strip() for part in match["values"].split(",")}))
        return LabelTerm(key, values, negated=match["set"] == "notin")
    return LabelTerm(key, None, negated=False)
