"""Roots of the arrays that block headers and receipts commit to.

Message lists and receipts use the first AMT layout (root `[height, count, node]`, 8 slots a node), event lists the
third (root `[bit width, height, count, node]`). Node = `[bitmap, links, values]`.
Source: go-amt-ipld v2 and v4; the first is checked against a real chain's blocks in the tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from lotus_client import cbor
from lotus_client.cid import Cid, dag_cbor_cid

__all__ = ["array_root", "event_array_root", "message_meta"]

_LIST_BITS = 3
_EVENT_BITS = 5
_EMPTY_LIST = dag_cbor_cid(cbor.encode([0, 0, [b"\x00", [], []]]))


def array_root(values: Sequence[object]) -> Cid:
    """The root of a message or receipt list."""
    if not values:
        return _EMPTY_LIST
    height, node = _tree(values, _LIST_BITS)
    return dag_cbor_cid(cbor.encode([height, len(values), node]))


def event_array_root(values: Sequence[object]) -> Cid:
    """The root of a receipt's events."""
    height, node = _tree(values, _EVENT_BITS)
    return dag_cbor_cid(cbor.encode([_EVENT_BITS, height, len(values), node]))


@lru_cache(maxsize=1)
def _no_messages() -> Cid:
    return dag_cbor_cid(cbor.encode([array_root([]), array_root([])]))


def message_meta(bls: Sequence[Cid], secp: Sequence[Cid]) -> Cid:
    """A header's `messages`: the roots of the two message lists."""
    if not bls and not secp:
        return _no_messages()
    return dag_cbor_cid(cbor.encode([array_root(bls), array_root(secp)]))


def _tree(values: Sequence[object], bits: int) -> tuple[int, list[object]]:
    """Height, and the root's node."""
    width = 1 << bits
    nodes = [
        _node(values[at : at + width], bits, leaf=True) for at in range(0, len(values), width)
    ] or [_node([], bits, leaf=True)]
    height = 0
    while len(nodes) > 1:
        links = [dag_cbor_cid(cbor.encode(node)) for node in nodes]
        nodes = [
            _node(links[at : at + width], bits, leaf=False) for at in range(0, len(links), width)
        ]
        height += 1
    return height, nodes[0]


def _node(items: Sequence[object], bits: int, *, leaf: bool) -> list[object]:
    bitmap = ((1 << len(items)) - 1).to_bytes((1 << bits) // 8, "little")
    return [bitmap, [], list(items)] if leaf else [bitmap, list(items), []]
