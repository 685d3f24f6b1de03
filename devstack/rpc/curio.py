"""Curio's own RPC on `/rpc/v0`, as far as it concerns storage; it has no sectors, no deals and no tokens to make.

`AllocatePieceToSector` is in Curio's API and answers that it is not implemented. What changes Curio's set-up (StorageInit,
StorageAddLocal, LogSetLevel, …) is left out. Source: Curio `api/api_curio.go`, `cmd/curio/rpc/rpc.go`.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from devstack.auth import Permission
from devstack.miner_node import MinerNode
from devstack.rpc.errors import RpcError
from devstack.rpc.methods import Method, MethodTable, Param
from devstack.rpc.params import ADDRESS, UINT64, decode_object
from devstack.rpc.storage_index import STORAGE_METHODS, STORAGE_STAT

__all__ = ["CurioState", "curio_methods", "table_curio"]

Json = dict[str, Any]

# Curio `build/version.go` BuildVersionArray of the release whose API document the tests use.
_VERSION: Final = (1, 28, 4)


@dataclass(slots=True)
class CurioState:
    """What Curio keeps of its machine in its database. `unschedulable` is switched by Cordon and Uncordon."""

    started: datetime
    unschedulable: bool = False


def _version(_node: MinerNode) -> list[int]:
    return list(_VERSION)


def _allocate(_node: MinerNode, *_params: Any) -> None:
    raise RpcError(1, "not implemented")


def curio_methods(state: CurioState) -> tuple[Method[MinerNode], ...]:
    """The methods that need the machine's state."""

    def info(node: MinerNode) -> Json:
        return {
            "ID": 1,
            "CPU": os.cpu_count() or 1,
            "RAM": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "GPU": 0,
            "HostPort": urlsplit(node.remote_url).netloc,
            "LastContact": _time(datetime.now(UTC)),
            "Unschedulable": state.unschedulable,
            "Name": _text(platform.node()),
            "StartupTime": {"Time": _time(state.started), "Valid": True},
            "Tasks": _text(""),
            "Layers": _text("base"),
            "Miners": _text(str(node.provider.miner)),
        }

    def cordon(_node: MinerNode) -> None:
        state.unschedulable = True

    def uncordon(_node: MinerNode) -> None:
        state.unschedulable = False

    return (
        Method("Info", _READ, (), info),
        Method("Cordon", _ADMIN, (), cordon),
        Method("Uncordon", _ADMIN, (), uncordon),
    )


def _text(value: str) -> Json:
    """Go's sql.NullString in JSON."""
    return {"String": value, "Valid": True}


def _time(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


_READ: Final = Permission.READ
_ADMIN: Final = Permission.ADMIN
_OBJECT: Final = Param("piece.PieceDealInfo", decode_object)


def table_curio(state: CurioState) -> MethodTable[MinerNode]:
    """What Curio serves on `/rpc/v0`."""
    deal = (ADDRESS, _OBJECT, UINT64, _OBJECT, _OBJECT)
    return MethodTable(
        (
            Method("Version", _ADMIN, (), _version),
            Method("AllocatePieceToSector", Permission.WRITE, deal, _allocate),
            *curio_methods(state),
            *STORAGE_METHODS,
            STORAGE_STAT,
        )
    )
