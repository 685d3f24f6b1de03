"""`Paych*`: there are no payment channels here; answered as a Lotus whose payment channel manager is off (error 13).

Off is Lotus' default. Source: Lotus `api/api_errors.go`, `node/impl/paych/paych.go` (DisabledPaych).
"""

from __future__ import annotations

from typing import Any, Final, NoReturn

from devstack.auth import Permission
from devstack.node import FullNode
from devstack.rpc.errors import RpcError
from devstack.rpc.methods import Method
from devstack.rpc.params import ANY

__all__ = ["METHODS", "METHODS_V0"]

_PAYMENT_CHANNELS_DISABLED: Final = 13

# name -> permission, number of parameters (Lotus `api/api_full.go`)
_READ, _WRITE, _SIGN = Permission.READ, Permission.WRITE, Permission.SIGN
_ALIKE: Final = {
    "PaychFund": (_SIGN, 3),
    "PaychGetWaitReady": (_SIGN, 1),
    "PaychAvailableFunds": (_SIGN, 1),
    "PaychAvailableFundsByFromTo": (_SIGN, 2),
    "PaychList": (_READ, 0),
    "PaychStatus": (_READ, 1),
    "PaychSettle": (_SIGN, 1),
    "PaychCollect": (_SIGN, 1),
    "PaychAllocateLane": (_SIGN, 1),
    "PaychNewPayment": (_SIGN, 3),
    "PaychVoucherCheckValid": (_READ, 2),
    "PaychVoucherCheckSpendable": (_READ, 4),
    "PaychVoucherCreate": (_SIGN, 3),
    "PaychVoucherAdd": (_WRITE, 4),
    "PaychVoucherList": (_WRITE, 1),
    "PaychVoucherSubmit": (_SIGN, 4),
}


def _disabled(_node: FullNode, *_params: Any) -> NoReturn:
    raise RpcError(
        _PAYMENT_CHANNELS_DISABLED,
        "payment channels disabled (EnablePaymentChannelManager=false)",
    )


def _rows(table: dict[str, tuple[Permission, int]]) -> tuple[Method[FullNode], ...]:
    return tuple(
        Method(name, permission, (ANY,) * count, _disabled)
        for name, (permission, count) in table.items()
    )


METHODS = _rows(_ALIKE | {"PaychGet": (_SIGN, 4)})
METHODS_V0 = _rows(_ALIKE | {"PaychGet": (_SIGN, 3)})
