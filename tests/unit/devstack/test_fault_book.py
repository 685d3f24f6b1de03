"""Which calls a fault strikes, and for how long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devstack.faults import Fault, FaultBook, FaultKind, Scope

ALL = tuple(FaultKind)


def struck(book: FaultBook, calls: int, method: str = "ChainHead", endpoint: str = "node") -> str:
    return "".join("x" if book.strike(ALL, endpoint, method) else "." for _ in range(calls))


def test_a_fault_strikes_every_matching_call_until_it_is_cleared() -> None:
    book = FaultBook()
    fault = book.add("timeout", Scope(method="Chain*"))
    assert struck(book, 3) == "xxx"
    assert struck(book, 2, method="MpoolPush") == ".."
    assert book.entries() == [(fault, 3, 3)]
    assert book.clear(fault.id) == 1
    assert struck(book, 2) == ".."
    with pytest.raises(ValueError, match="no fault 1"):
        book.clear(1)


def test_skip_count_and_calls_bound_a_fault() -> None:
    book = FaultBook()
    book.add("drop", Scope(skip=2, count=2))
    assert struck(book, 6) == "..xx.."
    book.add("drop", Scope(calls=3, skip=1))
    assert struck(book, 5) == ".xx.."
    assert not book


def test_an_endpoint_pattern_tells_nodes_apart() -> None:
    book = FaultBook()
    book.add("drop", Scope(endpoint="node[12]"))
    assert struck(book, 1, endpoint="node") == "."
    assert struck(book, 1, endpoint="node2") == "x"


@given(st.integers(0, 1 << 40), st.floats(0.05, 0.95))
def test_the_same_seed_strikes_the_same_calls(seed: int, probability: float) -> None:
    runs = []
    for _ in range(2):
        book = FaultBook()
        book.add("latency", Scope(probability=probability, seed=seed), ms=5)
        runs.append(struck(book, 200))
    assert runs[0] == runs[1]


def test_probability_is_about_as_asked() -> None:
    book = FaultBook()
    book.add("status", Scope(probability=0.25, seed=4))
    assert 200 < struck(book, 1000).count("x") < 300


def test_an_action_is_undone_when_its_fault_ends_in_any_way() -> None:
    book, done = FaultBook(), list[str]()

    def act(fault: Fault) -> object:
        done.append(f"did {fault.id}")
        return lambda: done.append(f"undid {fault.id}")

    book.on(FaultKind.STALE_HEAD, act)  # type: ignore[arg-type]
    book.add("stale-head", Scope(calls=1))
    book.add("stale-head")
    assert struck(book, 1) == "x"
    assert done == ["did 1", "did 2", "undid 1"]
    book.clear()
    assert done[-1] == "undid 2"


@pytest.mark.parametrize(
    ("kind", "params", "why"),
    [
        ("earthquake", {}, "no fault is called"),
        ("latency", {"seconds": 1}, "takes no seconds"),
        ("latency", {"ms": -1}, "ms is a whole number"),
        ("latency", {"ms": True}, "ms is a whole number"),
        ("status", {"status": 404}, "500 to 599"),
        ("token-revoked", {"token": 5}, "is text"),
    ],
)
def test_what_a_fault_cannot_be_is_refused(kind: str, params: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        FaultBook().add(kind, **params)


@pytest.mark.parametrize("scope", [{"probability": 0.0}, {"probability": 1.5}, {"skip": -1}])
def test_a_scope_out_of_range_is_refused(scope: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"probability|negative"):
        Scope(**scope)  # type: ignore[arg-type]
