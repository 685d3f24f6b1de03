"""`F3*`: this node runs without fast finality, and says so as a Lotus with F3 switched off (error 4)."""

from __future__ import annotations

from typing import Any, Final, NoReturn

from devstack.auth import Permission
from devstack.node import FullNode
from devstack.rpc.errors import RpcError
from devstack.rpc.methods import Method, Param
from devstack.rpc.params import ADDRESS, STRING, TIPSET_KEY, UINT64

__all__ = ["METHODS"]

# Lotus `api/api_errors.go` EF3Disabled
_F3_DISABLED: Final = 4


def _disabled(_node: FullNode, *_params: Any) -> NoReturn:
    raise RpcError(_F3_DISABLED, "f3 is disabled")


def _row(name: str, *params: Param, permission: Permission = Permission.READ) -> Method[FullNode]:
    return Method(name, permission, params, _disabled)


METHODS: tuple[Method[FullNode], ...] = (
    _row("F3IsRunning"),
    _row("F3GetManifest"),
    _row("F3GetProgress"),
    _row("F3GetLatestCertificate"),
    _row("F3GetCertificate", UINT64),
    _row("F3GetECPowerTable", TIPSET_KEY),
    _row("F3GetF3PowerTable", TIPSET_KEY),
    _row("F3GetPowerTableByInstance", UINT64),
    _row("F3ListParticipants"),
    _row("F3Participate", STRING, permission=Permission.SIGN),
    _row("F3GetOrRenewParticipationTicket", ADDRESS, STRING, UINT64, permission=Permission.SIGN),
)
