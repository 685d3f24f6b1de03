from __future__ import annotations

from devstack.rpc.v0_names import V0_NAMES
from tests.unit.devstack.method_listing import PAGE, listing, names, section, table_v0


def test_the_page_lists_the_methods_that_are_served() -> None:
    assert section(PAGE.read_text()) == listing(), (
        "docs/devstack-methods.md lists other methods: python -m tests.unit.devstack.method_listing"
    )


def test_v0_serves_nothing_that_lotus_v0_does_not_know() -> None:
    assert names(table_v0()) <= V0_NAMES
