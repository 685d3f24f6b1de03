"""Printing: JSON for programs, tables and key-value lists for people, errors to standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

__all__ = ["fail", "print_fields", "print_gaps", "print_json", "print_rows"]

# What an operator misses of such epochs, by `deals.gaps.GapKind`.
_UNKNOWN: Final = {
    "chain": "blocks won, and what happened to pieces except claims",
    "events": "pieces without a claim, and where in its sector each piece is",
}


def print_json(value: Any) -> None:
    """`value` as JSON with sorted keys left as they are; the only thing on standard output."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def print_fields(fields: Mapping[str, Any]) -> None:
    """One `key  value` line each."""
    width = max(map(len, fields), default=0)
    for key, value in fields.items():
        sys.stdout.write(f"{key.ljust(width)}  {_text(value)}\n")


def print_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], empty: str) -> None:
    """A table of some keys of the rows; as wide as needed when the output is no terminal."""
    if not rows:
        sys.stdout.write(f"{empty}\n")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(_text(row.get(column)) for column in columns))
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        console = Console(markup=False, highlight=False, width=240)
    console.print(table)


def print_gaps(gaps: Sequence[Mapping[str, Any]]) -> None:
    """What an answer cannot know, to standard error, so that no list is taken for complete that is not."""
    for gap in gaps:
        sys.stderr.write(
            f"not known for epochs {gap['from_epoch']} to {gap['to_epoch'] - 1}: "
            f"{_UNKNOWN.get(gap['unknown'], gap['unknown'])} ({gap['reason']})\n"
        )
    if gaps:
        sys.stderr.write(
            "what is shown may lack these; /health/readyz says under `refill` whether they can be read\n"
        )


def fail(error: BaseException, exit_code: int) -> int:
    """Print an error for a person; gives back the exit code."""
    for line in str(error).splitlines() or [type(error).__name__]:
        sys.stderr.write(f"error: {line}\n")
    return int(exit_code)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value)) or "-"
    return str(value)
