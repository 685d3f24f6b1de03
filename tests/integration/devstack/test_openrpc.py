"""Every served method is called on a devnet with content and held to Lotus' OpenRPC documents, and to Forest's.

A new method needs a case in `cases.py` where it takes parameters, and nothing else if Lotus' documents know it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema
import pytest

from devstack.rpc.methods import Method, MethodTable, RawParams
from devstack.rpc.miner import table_miner
from devstack.rpc.tables import table_v0, table_v1, table_v2
from devstack.stack import Devstack
from tests.integration.devstack.cases import ERRORS, FULL, LAST, MINER, V0, V2, Params
from tests.integration.devstack.conftest import RawRpc
from tests.integration.devstack.openrpc import (
    check_forest,
    check_params,
    check_result,
    load_document,
    load_forest,
)
from tests.integration.devstack.undocumented import (
    ELSEWHERE,
    EMPTY,
    FOREST_DIFFERS,
    UNDOCUMENTED,
    V0_DIFFERS,
)
from tests.integration.devstack.world import World, build_world

_V1 = load_document("v1-full")
# v0 is v1 in older forms; only its gateway's part still has a document of its own.
_V0 = {
    name: method for name, method in _V1.items() if name.removeprefix("Filecoin.") not in V0_DIFFERS
} | load_document("v0-gateway")
_OTHER_SHAPES = UNDOCUMENTED | V0_DIFFERS


@dataclass(frozen=True, slots=True)
class ServedPath:
    """One path of the devnet: what it serves, how to call that, and what describes it."""

    name: str
    table: MethodTable[Any]
    cases: dict[str, Params]
    lotus: dict[str, dict[str, Any]]
    forest: dict[str, dict[str, Any]]

    def rows(self) -> list[tuple[str, Method[Any]]]:
        """Full names and methods without their aliases, those that disturb the others last."""
        rows = {
            name: method
            for name, method in self.table.by_name.items()
            if name == f"Filecoin.{method.name}"
        }
        return sorted(rows.items(), key=lambda row: _order(row[1].name))

    def forest_describes(self, name: str) -> bool:
        """Whether Forest's description of the method holds for Lotus too."""
        return name not in FOREST_DIFFERS and f"{self.name}:{name}" not in FOREST_DIFFERS

    def parameters(self, method: Method[Any], world: World) -> list[Any]:
        """What to call the method with; KeyError when it takes parameters and has no case."""
        if method.name not in self.cases:
            count = 1 if isinstance(method.params, RawParams) else len(method.params)
            if count and method.name not in ERRORS:
                raise KeyError(method.name)
            return [None] * count
        return self.cases[method.name](world)


def _order(name: str) -> tuple[int, str]:
    return (LAST.index(name) if name in LAST else -1, name)


PATHS = {
    "v0": ServedPath("v0", table_v0(), V0, _V0, load_forest(0)),
    "v1": ServedPath("v1", table_v1(), FULL, _V1, load_forest(1)),
    "v2": ServedPath("v2", table_v2(), V2, load_document("v2-full"), load_forest(2)),
    "miner": ServedPath("miner", table_miner(), MINER, load_document("miner"), {}),
}


@pytest.fixture
async def world(devnet: Devstack) -> World:
    return await build_world(devnet)


def _caller(path: str, net: Devstack, session: aiohttp.ClientSession) -> RawRpc:
    if path == "miner":
        token = net.miner_api_info.partition(":")[0]
        return RawRpc(session, f"http://127.0.0.1:{net.miner_port}/rpc/v0", token)
    return RawRpc(session, f"http://127.0.0.1:{net.api_port}/rpc/{path}", net.token())


def _is_called_elsewhere(path: ServedPath, method: Method[Any]) -> bool:
    """Whether another test is said to call a method that has parameters and no case; it must name it then."""
    file = next((file for start, file in ELSEWHERE.items() if method.name.startswith(start)), None)
    if file is None or method.name in path.cases or method.params == ():
        return False
    assert f'"{method.name}"' in Path(__file__).with_name(file).read_text(), method.name
    return True


def _has_content(result: Any, name: str, described: dict[str, Any] | None) -> bool:
    if name in EMPTY or (described and described["result"]["name"] == "Null"):
        return True
    nobody = [[0]] if name.startswith("StateMiner") else []  # an empty bitfield
    return result not in (None, [], {}, *nobody)


@pytest.mark.parametrize("path", PATHS)
async def test_every_method_answers_in_the_shape_of_lotus_document(
    path: str, world: World, session: aiohttp.ClientSession
) -> None:
    rpc, wrong = _caller(path, world.net, session), []
    for name, method in PATHS[path].rows():
        if method.channel or _is_called_elsewhere(PATHS[path], method):
            continue
        try:
            await _check(PATHS[path], method, world, rpc)
        except (AssertionError, KeyError, jsonschema.ValidationError) as error:
            reason = getattr(error, "message", None) or repr(error)
            where = list(getattr(error, "absolute_path", []))
            wrong.append(f"{name} {where}: {reason[:300]}")
    assert not wrong, "\n".join(wrong)


async def _check(path: ServedPath, method: Method[Any], world: World, rpc: RawRpc) -> None:
    params = path.parameters(method, world)
    answer = await rpc.answer(method.name, *params)
    described = path.lotus.get(f"Filecoin.{method.name}")
    if described is not None and not isinstance(method.params, RawParams):
        if method.name in ERRORS:
            assert len(params) == len(described["params"]) or method.name == "PaychGet"  # 3 on v0
        else:
            check_params(described, params)
    if method.name in ERRORS:
        code, text = ERRORS[method.name]
        assert answer.get("error") == {"code": code, "message": text}
        return
    assert "error" not in answer, answer["error"]
    result = answer["result"]
    assert _has_content(result, method.name, described), "nothing to look at"
    if described is not None:
        check_result(described, result)
    else:
        schema, _reason = _OTHER_SHAPES[method.name]
        jsonschema.validate(result, schema)
    forest = path.forest.get(f"Filecoin.{method.name}")
    if forest is not None and path.forest_describes(method.name):
        check_forest(forest, params, result)


def test_no_exception_outlives_its_reason() -> None:
    served = {method.name for path in PATHS.values() for _, method in path.rows()}
    excepted = {
        *ERRORS,
        *_OTHER_SHAPES,
        *LAST,
        *(name.rpartition(":")[2] for name in FOREST_DIFFERS),
    }
    assert not excepted - served, "these are not served (any more): take them out of the tables"
    assert not _V1.keys() & {f"Filecoin.{name}" for name in UNDOCUMENTED}, "Lotus describes these"


async def test_channel_methods_need_a_websocket(
    world: World, session: aiohttp.ClientSession
) -> None:
    channels = {
        method.name for path in PATHS.values() for _, method in path.rows() if method.channel
    }
    assert channels == {"ChainNotify", "Closing", "MpoolSub", "SubscribeActorEventsRaw"}
    rpc = _caller("v1", world.net, session)
    for name in channels:
        refused = await rpc.answer(name, *([{}] if name.startswith("Sub") else []))
        assert refused["error"]["code"] == -32601
        assert "no out channel support" in refused["error"]["message"]


async def test_mpool_sub_tells_what_comes_and_goes(
    world: World, session: aiohttp.ClientSession
) -> None:
    url = f"ws://127.0.0.1:{world.net.api_port}/rpc/v1?token={world.net.token()}"
    async with session.ws_connect(url) as socket:
        await socket.send_json(
            {"jsonrpc": "2.0", "id": 1, "method": "Filecoin.MpoolSub", "params": []}
        )
        assert (await socket.receive_json())["result"] == 1
        world.net.network.send("alice", world.net.network.key("bob").address)
        added = (await socket.receive_json())["params"][1]
        await world.net.advance(2)
        removed = [(await socket.receive_json())["params"][1] for _ in range(2)]
    check_result(_V1["Filecoin.MpoolPushMessage"], added["Message"])
    assert (added["Type"], [one["Type"] for one in removed]) == (0, [1, 1])
    assert added in [one | {"Type": 0} for one in removed]


async def test_what_is_not_served_answers_as_an_unknown_method(rpc: RawRpc) -> None:
    for method in ("ClientStartDeal", "ChainPrune", "NetConnect"):
        refused = await rpc.answer(method)
        assert refused["error"] == {
            "code": -32601,
            "message": f"method 'Filecoin.{method}' not found",
        }
