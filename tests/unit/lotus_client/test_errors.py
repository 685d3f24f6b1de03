"""Which error a node's answer becomes: callers act by the class."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lotus_client.errors import (
    LotusActorNotFound,
    LotusBadParams,
    LotusDecodeError,
    LotusError,
    LotusExpensiveFork,
    LotusF3NotReady,
    LotusF3Off,
    LotusLookbackRefused,
    LotusNotSupported,
    LotusNullRound,
    LotusPermissionMissing,
    LotusRangeLimit,
    LotusReverted,
    LotusRpcError,
    LotusStatePruned,
    LotusStateUnavailable,
    LotusUnauthorized,
)
from lotus_client.transport.envelope import error_of
from lotus_client.transport.status import retry_after_seconds

# Texts as Lotus v1.36, its gateway and Forest print them; see each class for the source.
CASES: list[tuple[int, str, type[LotusError]]] = [
    (-32601, "method 'Filecoin.X' not found", LotusNotSupported),
    (-32602, "wrong param count (method 'Filecoin.ChainHead'): 1 != 0", LotusBadParams),
    (-32700, "unmarshaling params for 'Filecoin.StateGetActor'", LotusBadParams),
    (-32005, "too many results", LotusRangeLimit),
    (-32002, "refusing explicit call due to state fork at epoch", LotusExpensiveFork),
    (2, "call ran out of gas", LotusRpcError),
    (3, "execution reverted", LotusReverted),
    (4, "f3 is disabled", LotusF3Off),
    (10, "f3 is not ready", LotusF3NotReady),
    (11, "actor not found", LotusActorNotFound),
    (12, "requested epoch was a null round (9)", LotusNullRound),
    (1, "loading address f01: actor not found", LotusActorNotFound),
    (1, "bad tipset: lookbacks of more than 24h0m0s are disallowed", LotusLookbackRefused),
    (1, "failed to load state node: block not found", LotusStatePruned),
    (1, "load state tree: ipld: could not find bafy2bzaceb", LotusStatePruned),
    (-32603, "block not found in blockstore", LotusStatePruned),
    (1, "module disabled, enable with Events.EnableActorEventsAPI", LotusNotSupported),
    (1, "missing permission to invoke 'MpoolPush' (need 'write')", LotusPermissionMissing),
    (1, "something else", LotusRpcError),
    (0, "panic in rpc method", LotusRpcError),
]


@pytest.mark.parametrize(("code", "message", "kind"), CASES)
def test_every_known_answer_has_its_class(code: int, message: str, kind: type[LotusError]) -> None:
    found = error_of("m", {"code": code, "message": message})
    assert type(found) is kind


def test_the_facts_of_an_error_are_typed() -> None:
    missing = error_of("m", {"code": 1, "message": CASES[17][1]})
    assert isinstance(missing, LotusPermissionMissing)
    assert (missing.method, missing.permission) == ("MpoolPush", "write")
    null = error_of("m", {"code": 12, "message": "", "data": 77})
    assert isinstance(null, LotusNullRound)
    assert null.epoch == 77
    reverted = error_of("m", {"code": 3, "message": "", "data": "0x08c379a0"})
    assert isinstance(reverted, LotusReverted)
    assert reverted.return_data == bytes.fromhex("08c379a0")


@pytest.mark.parametrize("data", [None, True, "77", {"x": 1}])
def test_facts_of_another_form_are_not_made_up(data: object) -> None:
    assert error_of("m", {"code": 12, "message": "", "data": data}).epoch is None  # type: ignore[attr-defined]
    assert error_of("m", {"code": 3, "message": "", "data": "0xzz"}).return_data == b""  # type: ignore[attr-defined]


@pytest.mark.parametrize("error", ["x", [], {"code": True, "message": ""}, {"code": 1}])
def test_an_error_that_is_none_is_a_decode_error(error: object) -> None:
    assert isinstance(error_of("m", error), LotusDecodeError)


def test_the_tree_says_what_may_be_answered_by_another_node() -> None:
    for kind in (LotusExpensiveFork, LotusLookbackRefused, LotusStatePruned):
        assert issubclass(kind, LotusStateUnavailable)
    assert issubclass(LotusF3Off, LotusNotSupported)
    assert issubclass(LotusPermissionMissing, LotusUnauthorized)


NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0), (" 0 ", 0.0), (None, None), ("", None), ("soon", None), ("-3", None), ("9" * 11, None),
        ("Thu, 01 Jan 2026 00:01:00 GMT", 60.0), ("Thu, 01 Jan 2015 00:00:00 GMT", 0.0),
    ],
)  # fmt: skip
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(header, NOW) == seconds
