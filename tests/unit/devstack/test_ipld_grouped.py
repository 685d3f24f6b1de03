"""A map of maps is read by id, and written as the actors' `MapMap` writes it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from devstack.chain.table import signed_varint
from devstack.ipld import Bits, Grouped, GroupedKind, Hamt
from lotus_client import cbor
from lotus_client.varint import encode_uvarint
from tests.walker import bits, read_hamt

# items are (group, text)
KIND: GroupedKind[tuple[int, str]] = GroupedKind(lambda one: one[0], cbor.encode)


def _get(made: Grouped[tuple[int, str]]) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    todo: list[object] = [made]
    while todo:
        one = todo.pop()
        found[one.cid.raw] = one.block  # type: ignore[attr-defined]
        todo += one.links()  # type: ignore[attr-defined]
    return found


@given(
    st.lists(st.tuples(st.integers(0, 40), st.one_of(st.none(), st.text(max_size=3)))),
)
def test_any_history_reads_back_by_id_and_by_group(
    operations: list[tuple[int, str | None]],
) -> None:
    model: dict[int, tuple[int, str]] = {}
    made = Grouped(KIND)
    for key, text in operations:
        if text is None:
            model.pop(key, None)
            made = made.without([key, 1000])
        else:
            model[key] = (key % 3, text)
            made = made.with_({key: model[key]})
    assert dict(made) == model
    assert list(made) == sorted(model)
    blocks = _get(made)
    read = {}
    for group, inner in read_hamt(blocks.__getitem__, made.cid).items():
        items = read_hamt(blocks.__getitem__, inner)
        assert items, "a group without items is not there"
        assert all(encode_uvarint(item[0]) == group for item in items.values())
        read |= items
    assert read == {encode_uvarint(key): list(item) for key, item in model.items()}
    for group in range(3):
        assert dict(made.of(group)) == {key: one for key, one in model.items() if one[0] == group}


def test_setting_one_item_leaves_the_other_groups_nodes_alone() -> None:
    before = Grouped(KIND, {key: (key % 3, "x") for key in range(30)})
    after = before.with_({31: (1, "y")})
    assert after.of(0) is before.of(0)
    assert after.get(31) == (1, "y")
    assert before.get(31) is None


def test_a_changed_map_shares_every_node_off_the_path() -> None:
    numbers: Hamt[int, tuple[int, str]] = Hamt(KIND.inner, dict.fromkeys(range(5000), (0, "")))
    old = _nodes(numbers)
    new = _nodes(numbers.with_({77: (0, "changed")}))
    assert len(old) > 100
    assert len(new - old) <= 5


def _nodes(root: Hamt[int, tuple[int, str]]) -> set[int]:
    todo, found = list(root.links()), set()
    while todo:
        one = todo.pop()
        found.add(id(one))
        todo += one.links()
    return found


@given(st.frozensets(st.integers(0, 2**40)))
def test_a_set_of_numbers_is_one_byte_string(numbers: frozenset[int]) -> None:
    made = Bits(numbers)
    assert bits(cbor.decode(made.block)) == numbers
    assert set(made) == numbers
    assert Bits().with_(numbers).cid == made.cid


def test_signed_keys_are_those_of_builtin_actors_test() -> None:
    # actors/power/src/state.rs epoch_key_test
    assert [signed_varint(epoch).hex() for epoch in (101, 102, 103, -1)] == [
        "ca01", "cc01", "ce01", "01",
    ]  # fmt: skip
