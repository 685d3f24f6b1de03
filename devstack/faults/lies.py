"""Answers that are well-formed and wrong: nonces, balances, gas, receipts without events.

Each change works on the JSON that the method answers with; a method it does not know it leaves alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from devstack.faults.book import Strike
from devstack.faults.kinds import FaultKind

__all__ = ["LIES", "tell"]

Change = Callable[[Any, Strike], Any]


def _add(value: Any, strike: Strike) -> Any:
    return max(value + strike["add"], 0)


def _percent(value: Any, strike: Strike) -> Any:
    """The same form of number (JSON number, decimal text, hex text), scaled and rounded down."""
    if isinstance(value, str) and value.startswith("0x"):
        return hex(int(value, 16) * strike["percent"] // 100)
    scaled = int(value) * strike["percent"] // 100
    return str(scaled) if isinstance(value, str) else scaled


def _hex_add(value: Any, strike: Strike) -> Any:
    return hex(max(int(value, 16) + strike["add"], 0))


def _member(name: str, change: Change) -> Change:
    def changed(value: Any, strike: Strike) -> Any:
        if not isinstance(value, dict) or value.get(name) is None:
            return value
        return {**value, name: change(value[name], strike)}

    return changed


def _without_root(receipt: Any, _strike: Strike) -> Any:
    return {**receipt, "EventsRoot": None}


def _each_without_root(receipts: Any, strike: Strike) -> Any:
    return None if receipts is None else [_without_root(one, strike) for one in receipts]


def _nothing(_value: Any, _strike: Strike) -> Any:
    return None


def _no_logs(receipt: Any, _strike: Strike) -> Any:
    return receipt if receipt is None else {**receipt, "logs": []}


_LOOKUP: Final = _member("Receipt", _without_root)

LIES: Final[dict[FaultKind, dict[str, Change]]] = {
    FaultKind.WRONG_NONCE: {
        "MpoolGetNonce": _add,
        "StateGetActor": _member("Nonce", _add),
        "EthGetTransactionCount": _hex_add,
    },
    FaultKind.WRONG_BALANCE: {
        "WalletBalance": _percent,
        "StateGetActor": _member("Balance", _percent),
        "StateMinerAvailableBalance": _percent,
        "EthGetBalance": _percent,
    },
    FaultKind.WRONG_GAS: {
        "GasEstimateMessageGas": _member("GasLimit", _percent),
        "GasEstimateGasLimit": _percent,
        "EthEstimateGas": _percent,
    },
    FaultKind.NO_EVENTS: {
        "ChainGetParentReceipts": _each_without_root,
        "StateSearchMsg": _LOOKUP,
        "StateWaitMsg": _LOOKUP,
        "GetActorEventsRaw": _nothing,
        "EthGetTransactionReceipt": _no_logs,
    },
}


def tell(strike: Strike, method: str, result: Any) -> Any:
    """The result as this fault has it."""
    return LIES[strike.fault.kind][method](result, strike)
