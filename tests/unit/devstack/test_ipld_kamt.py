"""Contract storage against the roots that `filecoin-project/go-kamt-ipld` recorded from the reference (`fixtures/evm-*.json`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from devstack.ipld import Kamt, Linked, word
from lotus_client import cbor
from lotus_client.cid import Cid
from tests.walker import read

_MASK = (1 << 64) - 1


def _key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def _kamt(items: dict[bytes, int]) -> Kamt[int]:
    return Kamt(cbor.encode, items)


def _random_keys(state: int) -> Callable[[], int]:
    """The fixtures' generator: xorshift64*, four words a key."""

    def word64() -> int:
        nonlocal state
        state ^= state >> 12
        state ^= state << 25 & _MASK
        state ^= state >> 27
        return state * 0x2545F4914F6CDD1D & _MASK

    return lambda: int.from_bytes(b"".join(word64().to_bytes(8, "big") for _ in range(4)), "big")


def test_an_empty_map_and_the_smallest_ones() -> None:
    assert str(_kamt({}).cid) == "bafy2bzaceamp42wmmgr2g2ymg46euououzfyck7szknvfacqscohrvaikwfay"
    single = "bafy2bzacedfqf47yqz5zgen7jjubzhqekzhimxoptsnr2p3vdid2pqiazr6z4"
    assert str(_kamt({_key(1): 42}).cid) == single
    zero = "bafy2bzacecifswygv5tlmclpneyqj6xi4k6ypysd6uqchnmvt5vi2rassmiug"
    assert str(_kamt({_key(0): 1, _key(1): 2}).cid) == zero
    deep = "bafy2bzacebtd35gkxxzvbzsbzsgbaq3obvwm24q6tknnuzsuvqt3ngixk7rrc"
    assert str(_kamt({_key(0x10): 1, _key(0x11): 2}).cid) == deep


def test_consecutive_slots() -> None:
    made = _kamt({_key(one): one * 7 for one in range(200)})
    assert str(made.cid) == "bafy2bzacedlijqp3lel2kh26bkh4mdxkdzo4j4vyu4u5rq4m2gqbp6iwhq3ik"


def test_slots_set_deleted_and_set_again() -> None:
    made = (
        _kamt({_key(one): one for one in range(150)})
        .without([_key(one) for one in range(0, 150, 3)])
        .with_({_key(one): one + 1000 for one in range(0, 150, 5)})
    )
    assert str(made.cid) == "bafy2bzaceas5ktbn5wqannfys5vvag7zols26g4f5yvwxppvpk4kpfecpk7ky"


def test_arrays_at_hashed_places() -> None:
    next_key = _random_keys(0xCAFE)
    items = {}
    for base in [next_key() for _ in range(8)]:
        items |= {_key(base + offset): offset for offset in range(20)}
    made = _kamt(items)
    assert str(made.cid) == "bafy2bzacea4e7krd3qf3lv54wuweapdwu5jci6txzk3sjuwvwkqtgdwxiuxw2"
    assert dict(made) == items


def _blocks(root: Linked) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    todo = [root]
    while todo:
        one = todo.pop()
        found[one.cid.raw] = one.block
        todo += one.links()
    return found


def _read(get: Callable[[bytes], bytes], cid: Cid) -> dict[bytes, Any]:
    """All entries below a node, by their written keys."""
    _bits, pointers = read(get, cid)
    found: dict[bytes, Any] = {}
    for pointer in pointers:
        if "l" in pointer:
            child, skipped, path = pointer["l"]
            assert len(path) == (skipped + 7) // 8
            below = _read(get, child)
            assert len(below) > 1, "a child with one entry is no canonical form"
            found |= below
        else:
            ((key, value),) = pointer["v"]
            found[key] = value
    return found


SLOTS = st.one_of(st.integers(0, 40), st.integers(0, 2**256 - 1), st.integers(2**255, 2**255 + 40))


@given(st.lists(st.tuples(SLOTS, st.one_of(st.none(), st.integers(1, 2**256 - 1)))))
def test_any_history_gives_the_map_that_a_fresh_one_would_be(
    operations: list[tuple[int, int | None]],
) -> None:
    model: dict[bytes, bytes] = {}
    made: Kamt[bytes] = Kamt(word)
    for slot, value in operations:
        if value is None:
            model.pop(_key(slot), None)
            made = made.without([_key(slot)])
        else:
            model[_key(slot)] = _key(value)
            made = made.with_({_key(slot): _key(value)})
    assert dict(made) == model
    assert made.cid == Kamt(word, model).cid
    written = {key.lstrip(b"\0"): value.lstrip(b"\0") for key, value in model.items()}
    assert _read(_blocks(made).__getitem__, made.cid) == written
