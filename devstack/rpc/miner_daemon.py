"""The miner daemon itself: what runs in it, its control addresses and alerts. Source: Lotus `node/impl/storminer.go`."""

from __future__ import annotations

from typing import Any

from devstack.auth import Permission
from devstack.miner_node import MinerNode
from devstack.rpc.daemon import alerts
from devstack.rpc.encode import cid_json, tipset_json
from devstack.rpc.errors import RpcError
from devstack.rpc.methods import Method, Param
from devstack.rpc.misc import AUTH_METHODS, time_json
from devstack.rpc.params import decode_int, decode_list
from lotus_client.types import SectorNumber

__all__ = ["METHODS"]

Json = dict[str, Any]


def _subsystems(_node: MinerNode) -> list[str]:
    return ["Mining", "Sealing", "SectorStorage"]


def _start_time(node: MinerNode) -> str:
    return time_json(node.started_at)


def _address_config(_node: MinerNode) -> Json:
    return {
        "PreCommitControl": None,
        "CommitControl": None,
        "TerminateControl": None,
        "DealPublishControl": None,
        "DisableOwnerFallback": False,
        "DisableWorkerFallback": False,
    }


def _mining_base(node: MinerNode) -> Json:
    return tipset_json(node.network.head)


def _workers(_node: MinerNode) -> Json:
    return {}  # nothing is sealed, so there is no sealing worker, not even the daemon's own


async def _pledge(node: MinerNode) -> Json:
    sector = await node.provider.add_sector()
    return {"Miner": node.provider.miner.actor_id, "Number": sector.number}


def _recover(node: MinerNode, numbers: list[SectorNumber]) -> list[Json]:
    try:
        return [cid_json(node.provider.declare_recovered(numbers))]
    except ValueError as error:
        raise RpcError(1, str(error)) from error


_READ, _WRITE, _ADMIN = Permission.READ, Permission.WRITE, Permission.ADMIN
_NUMBERS = Param(
    "[]abi.SectorNumber", lambda value: decode_list(value, lambda one: decode_int(one, 0))
)
_VERIFY = next(method for method in AUTH_METHODS if method.name == "AuthVerify")

METHODS: tuple[Method[MinerNode], ...] = (
    Method("ActorAddressConfig", _READ, (), _address_config),
    Method("LogAlerts", _ADMIN, (), alerts),
    Method("MiningBase", _READ, (), _mining_base),
    Method("PledgeSector", _WRITE, (), _pledge),
    Method("RecoverFault", _ADMIN, (_NUMBERS,), _recover),
    Method("RuntimeSubsystems", _READ, (), _subsystems),
    Method("StartTime", _READ, (), _start_time),
    Method("StorageAuthVerify", _READ, _VERIFY.params, _VERIFY.handler),
    Method("WorkerJobs", _ADMIN, (), _workers),
    Method("WorkerStats", _ADMIN, (), _workers),
)
