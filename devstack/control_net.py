"""The control API's second half: forks, several nodes, faults, sectors that go wrong, saving. See `devstack.control`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from devstack.chain import ForkShape
from devstack.control_body import (
    Action,
    changes_json,
    flag,
    head_json,
    integer,
    integers,
    route,
    text,
)
from devstack.faults.kinds import Fault, Scope
from lotus_client.chain import TipSetKey
from lotus_client.cid import Cid
from lotus_client.state import MessageLookup

if TYPE_CHECKING:
    from devstack.stack import Devstack

__all__ = ["add_net_routes", "fork_shape"]

Json = dict[str, Any]

_MANY = 1_000_000


def fork_shape(body: Json) -> ForkShape:
    """The shape of a fork as a body describes it; ValueError for a bad one."""
    return ForkShape(
        null_rounds=integer(body, "null_rounds", 0, _MANY, 0),
        reinclude=flag(body, "reinclude"),
        length=integer(body, "length", 0, _MANY, 0),
    )


def add_net_routes(app: web.Application, net: Devstack) -> None:
    """Serve these actions on the first node's port."""
    control = _NetControl(net)
    actions: dict[str, Action] = {
        "fork": control.fork,
        "adopt": control.adopt,
        "set-head": control.set_head,
        "partition": control.partition,
        "heal": control.heal,
        "fault-add": control.fault_add,
        "fault-list": control.fault_list,
        "fault-clear": control.fault_clear,
        "sector-fault": control.sector_fault,
        "sector-recover": control.sector_recover,
        "sector-terminate": control.sector_terminate,
        "skip-post": control.skip_post,
        "save": control.save,
    }
    for name, action in actions.items():
        app.router.add_post(f"/devstack/v1/{name}", route(net.node, action))


class _NetControl:
    def __init__(self, net: Devstack) -> None:
        self._net = net

    async def fork(self, body: Json) -> Json:
        depth = integer(body, "depth", 1, _MANY)
        shape = fork_shape({"length": 1, **body})
        tip = self._net.network.forks.side_chain(depth, shape)
        return head_json(tip)

    async def adopt(self, body: Json) -> Json:
        network = self._net.network
        tip = network.forks.grow(network.tipset(_key(body)), integer(body, "grow", 0, _MANY, 0))
        changes = network.forks.adopt(tip)
        self._net.node.heads.flush()
        return changes_json(changes, network.head)

    async def set_head(self, body: Json) -> Json:
        changes = self._net.network.set_head(_key(body))
        self._net.node.heads.flush()
        return changes_json(changes, self._net.network.head)

    async def partition(self, body: Json) -> Json:
        groups = body.get("groups")
        if not isinstance(groups, list):
            raise ValueError("groups is a list of lists of nodes")  # noqa: TRY004 -- a bad body
        split = [integers({"group": group}, "group") for group in groups]
        self._net.partition(*split, shares=integers(body, "shares") if "shares" in body else None)
        return {"groups": self._net.swarm.groups}

    async def heal(self, _body: Json) -> Json:
        return {"refused": self._net.heal(), **head_json(self._net.network.head)}

    async def fault_add(self, body: Json) -> Json:
        scope, params = body.get("scope", {}), body.get("params", {})
        if not isinstance(scope, dict) or not isinstance(params, dict):
            raise ValueError("scope and params are JSON objects")  # noqa: TRY004 -- a bad body
        return _fault_json(self._net.faults.add(text(body, "kind"), _scope(scope), **params))

    async def fault_list(self, _body: Json) -> Json:
        return {
            "faults": [
                {**_fault_json(fault), "seen": seen, "struck": struck}
                for fault, seen, struck in self._net.faults.entries()
            ]
        }

    async def fault_clear(self, body: Json) -> Json:
        number = None if body.get("id") is None else integer(body, "id", 1, _MANY)
        return {"cleared": self._net.faults.clear(number)}

    async def sector_fault(self, body: Json) -> Json:
        return _lookup_json(await self._net.sector_faults.fault(*_sectors(body)))

    async def sector_recover(self, body: Json) -> Json:
        return _lookup_json(await self._net.sector_faults.recover(*_sectors(body)))

    async def sector_terminate(self, body: Json) -> Json:
        return _lookup_json(await self._net.sector_faults.terminate(*_sectors(body)))

    async def skip_post(self, body: Json) -> Json:
        windows = integer(body, "windows", 1, _MANY, 1)
        self._net.sector_faults.skip_posts(windows, integer(body, "miner", 0, 99, 0))
        return {"windows": windows}

    async def save(self, body: Json) -> Json:
        path = Path(text(body, "path"))
        return {"path": str(path), "bytes": await self._net.save(path)}


def _key(body: Json) -> TipSetKey:
    cids = body.get("tipset")
    if isinstance(cids, list) and cids and all(isinstance(cid, str) for cid in cids):
        return TipSetKey(tuple(Cid.parse(cid) for cid in cids))
    raise ValueError("tipset is a list of block CIDs")


def _sectors(body: Json) -> tuple[list[int], int]:
    return integers(body, "sectors"), integer(body, "miner", 0, 99, 0)


def _lookup_json(found: MessageLookup) -> Json:
    return {"cid": str(found.message), "height": found.height}


def _scope(body: Json) -> Scope:
    unknown = body.keys() - set(Scope.__dataclass_fields__)
    if unknown:
        raise ValueError(f"a scope has no {min(unknown)}")
    probability = body.get("probability", 1.0)
    if isinstance(probability, bool) or not isinstance(probability, int | float):
        raise ValueError("probability is a number")  # noqa: TRY004 -- a bad body
    return Scope(
        endpoint=text(body, "endpoint", "*"),
        method=text(body, "method", "*"),
        skip=integer(body, "skip", 0, _MANY, 0),
        probability=float(probability),
        seed=integer(body, "seed", 0, 1 << 62, 0),
        count=integer(body, "count", 0, _MANY, 0),
        calls=integer(body, "calls", 0, _MANY, 0),
    )


def _fault_json(fault: Fault) -> Json:
    scope = {name: getattr(fault.scope, name) for name in Scope.__dataclass_fields__}
    return {"id": fault.id, "kind": str(fault.kind), "scope": scope, "params": fault.params}
