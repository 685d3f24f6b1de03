"""The list of served methods in `docs/devstack-methods.md`; run as `python -m tests.unit.devstack.method_listing` to renew it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from devstack.rpc.methods import MethodTable
from devstack.rpc.miner import table_miner
from devstack.rpc.tables import table_v0, table_v1, table_v2

PAGE = Path(__file__).parents[3] / "docs" / "devstack-methods.md"
BEGIN = "<!-- methods: made by tests/unit/devstack/method_listing.py -->"
END = "<!-- end of methods -->"

_GROUPS = (
    "Auth", "Beacon", "Chain", "Eth", "F3", "Gas", "Market", "Miner", "Mpool", "Msig", "Net", "Paych", "State", "Sync",
    "Wallet", "Sector", "Storage", "Actor", "Worker",
)  # fmt: skip


def listing() -> str:
    """The tables between the marks."""
    v0, v1 = names(table_v0()), names(table_v1())
    return "\n".join(
        [
            BEGIN,
            "",
            "| group | on `/rpc/v1`; those in italics on `/rpc/v0` too | only on `/rpc/v0` |",
            "|---|---|---|",
            *(
                f"| {group} | {_joined((_marked(n, v0) for n in here), ' ')} | {_joined(only, ' ')} |"
                for group, here, only in _rows(v1, v0 - v1)
            ),
            "",
            f"`/rpc/v2`: {_joined(sorted(names(table_v2())))}.",
            "",
            "| group | on the miner node's `/rpc/v0` |",
            "|---|---|",
            *(
                f"| {group} | {_joined(here, ' ')} |"
                for group, here, _ in _rows(names(table_miner()), set())
            ),
            "",
            END,
        ]
    )


def names(table: MethodTable[Any]) -> set[str]:
    """The methods of a table, without their aliases."""
    return {method.name for method in table.by_name.values()}


def section(text: str) -> str:
    """What stands between the marks of the page."""
    found = re.search(f"{re.escape(BEGIN)}.*{re.escape(END)}", text, re.DOTALL)
    return found.group() if found else ""


def _rows(here: set[str], elsewhere: set[str]) -> list[tuple[str, list[str], list[str]]]:
    groups: dict[str, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    for index, some in enumerate((here, elsewhere)):
        for name in sorted(some):
            groups[_group(name)][index].append(name)
    return [(group, *lists) for group, lists in sorted(groups.items())]


def _group(name: str) -> str:
    return next((group for group in _GROUPS if name.startswith(group)), "others")


def _marked(name: str, on_v0: set[str]) -> str:
    return f"*{name}*" if name in on_v0 else name


def _joined(words: Iterable[str], by: str = ", ") -> str:
    return by.join(words)


if __name__ == "__main__":
    page = PAGE.read_text()
    PAGE.write_text(page.replace(section(page), listing()))
