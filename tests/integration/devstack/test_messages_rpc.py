"""Running messages again, on other states and on top of tipsets; lists, gas and checks of messages."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from devstack.stack import Devstack
from lotus_client.types import AttoFil
from tests.integration.devstack.conftest import RawRpc

FIL = 10**18


def transfer(net: Devstack, **changes: Any) -> dict[str, Any]:
    alice, carol = (str(net.network.key(name).address) for name in ("alice", "carol"))
    return {"Version": 0, "To": carol, "From": alice, "Nonce": 0, "Value": "5", "GasLimit": 0,
            "GasFeeCap": "0", "GasPremium": "0", "Method": 0, "Params": None} | changes  # fmt: skip


async def sent(net: Devstack, rpc: RawRpc, **changes: Any) -> dict[str, Any]:
    """A transfer's lookup, after its execution."""
    signed = await rpc("MpoolPushMessage", transfer(net, **changes), None)
    await net.advance(2)
    found: dict[str, Any] = await rpc("StateSearchMsg", [], signed["CID"], -1, True)
    return found


async def test_a_replay_is_the_message_as_it_ran(devnet: Devstack, rpc: RawRpc) -> None:
    found = await sent(devnet, rpc)
    executed = await rpc("ChainGetTipSet", found["TipSet"])
    included = await rpc("ChainGetTipSet", executed["Blocks"][0]["Parents"])
    replayed = await rpc("StateReplay", [], found["Message"])
    assert replayed == await rpc("StateReplay", included["Cids"], found["Message"])
    assert replayed["MsgRct"] == found["Receipt"]
    computed = await rpc("StateCompute", included["Height"], None, included["Cids"])
    assert replayed in computed["Trace"]
    assert computed["Root"] == executed["Blocks"][0]["ParentStateRoot"]
    wrong = await rpc.answer("StateReplay", executed["Cids"], found["Message"])
    assert wrong["error"]["message"] == "given message not found in tipset"
    unknown = await rpc.answer("StateReplay", [], executed["Cids"][0])
    assert "didn't find msg" in unknown["error"]["message"]


async def test_compute_runs_extra_messages_on_top_and_leaves_no_trace(
    devnet: Devstack, rpc: RawRpc
) -> None:
    await devnet.advance(3)
    head = await rpc("ChainHead")
    priced = await rpc("GasEstimateMessageGas", transfer(devnet), None, [])
    second = priced | {"Nonce": 1, "Value": str(10**30)}
    plain = await rpc("StateCompute", head["Height"], None, head["Cids"])
    more = await rpc("StateCompute", head["Height"] + 5, [priced, second], head["Cids"])
    extra = more["Trace"][len(plain["Trace"]) :]
    assert [run["MsgRct"]["ExitCode"] for run in extra] == [0, 6]
    assert extra[0]["GasCost"]["TotalCost"] != "0"
    assert more["Root"] != plain["Root"]
    assert plain == await rpc("StateCompute", head["Height"], None, head["Cids"])
    stale = await rpc("StateCompute", head["Height"], [second], head["Cids"])
    assert stale["Trace"][-1]["MsgRct"]["ExitCode"] == 2  # its nonce is not the next one


async def test_a_call_sees_the_state_before_its_tipset(devnet: Devstack, rpc: RawRpc) -> None:
    carol = str(devnet.network.key("carol").address)
    await devnet.advance(2)
    devnet.network.send("alice", devnet.network.key("carol").address, value=AttoFil(FIL))
    await devnet.advance(1)
    including = (await rpc("ChainHead"))["Cids"]
    await devnet.advance(1)
    spend = transfer(devnet, From=carol, To=carol, Value=str(FIL))
    assert (await rpc("StateCall", spend, including))["MsgRct"][
        "ExitCode"
    ] == 1  # no such actor yet
    assert (await rpc("StateCall", spend, []))["MsgRct"]["ExitCode"] == 0


async def test_messages_are_listed_back_to_a_height(devnet: Devstack, rpc: RawRpc) -> None:
    first = await sent(devnet, rpc)
    second = await sent(devnet, rpc, Value="6")
    alice, carol = (str(devnet.network.key(name).address) for name in ("alice", "carol"))
    both = [second["Message"], first["Message"]]
    assert await rpc("StateListMessages", {"To": carol, "From": alice}, [], 0) == both
    recent = await rpc("StateListMessages", {"To": "", "From": alice}, [], first["Height"])
    assert recent == both[:1]
    assert await rpc("StateListMessages", {"To": alice, "From": carol}, [], 0) is None
    unknown = str(devnet.network.key("nobody").address)
    assert await rpc("StateListMessages", {"To": unknown, "From": ""}, [], 0) is None
    refused = await rpc.answer("StateListMessages", {}, [], 0)
    assert refused["error"]["message"] == "must specify at least To or From in message filter"


async def test_checks_find_what_is_wrong_and_warn_without_stopping(
    devnet: Devstack, rpc: RawRpc
) -> None:
    async def failed(**changes: Any) -> dict[int, str]:
        priced = await rpc("GasEstimateMessageGas", transfer(devnet), None, [])
        (checks,) = await rpc(
            "MpoolCheckMessages", [{"Message": priced | changes, "ValidNonce": True}]
        )
        return {check["Code"]: check["Err"] for check in checks if not check["OK"]}

    assert await failed() == {}
    assert await failed(GasLimit=10) == {4: "GasLimit less than epoch minimum gas"}
    assert await failed(GasFeeCap="99", GasPremium="1") == {
        5: "GasFeeCap less than minimum base fee"
    }
    assert await failed(Nonce=4) == {10: "message nonce doesn't match next nonce (0)"}
    assert await failed(Value=str(10**30)) == {12: "insufficient balance"}
    assert await failed(GasPremium=str(10**12)) == {
        3: "syntactically invalid message: 'GasFeeCap' less than 'GasPremium'"
    }
    stranger = str(devnet.network.key("stranger").address)
    assert await failed(From=stranger) == {9: "error retrieving state nonce: actor not found"}


async def test_checks_of_waiting_messages_and_their_replacements(
    devnet: Devstack, rpc: RawRpc
) -> None:
    alice = str(devnet.network.key("alice").address)
    assert await rpc("MpoolCheckPendingMessages", alice) is None
    first = await rpc("MpoolPushMessage", transfer(devnet), None)
    await rpc("MpoolPushMessage", transfer(devnet), None)
    pending = await rpc("MpoolCheckPendingMessages", alice)
    assert len(pending) == 2
    assert all(check["OK"] for checks in pending for check in checks)
    dear = first["Message"] | {"Value": str(10**30)}
    replaced = await rpc("MpoolCheckReplaceMessages", [dear])
    assert [[check["Code"] for check in one if not check["OK"]] for one in replaced] == [[12], [12]]


async def test_a_batch_is_pushed_in_order_and_stops_at_the_first_bad_one(
    devnet: Devstack, rpc: RawRpc
) -> None:
    messages = [transfer(devnet), transfer(devnet, Value="6")]
    signed = await rpc("MpoolBatchPushMessage", messages, None)
    assert [one["Message"]["Nonce"] for one in signed] == [0, 1]
    await rpc("MpoolClear", True)
    assert await rpc("MpoolBatchPush", signed) == [one["CID"] for one in signed]
    third = await rpc("WalletSignMessage", signed[0]["Message"]["From"],
                      signed[0]["Message"] | {"Nonce": 2})  # fmt: skip
    refused = await rpc.answer("MpoolBatchPush", [third, signed[0]])
    assert "already in mpool" in refused["error"]["message"]
    assert len(await rpc("MpoolPending", [])) == 3


async def test_the_mempool_follows_its_configuration(devnet: Devstack, rpc: RawRpc) -> None:
    config = await rpc("MpoolGetConfig")
    usual = await rpc("GasEstimateMessageGas", transfer(devnet), None, [])
    used = await rpc("GasEstimateGasLimit", transfer(devnet), [])
    assert usual["GasLimit"] == int(used * 1.25)
    await rpc("MpoolSetConfig", config | {"GasLimitOverestimation": 2.0})
    doubled = await rpc("GasEstimateMessageGas", transfer(devnet), None, [])
    assert doubled["GasLimit"] == used * 2
    for name, value, problem in (
        ("GasLimitOverestimation", 0.5, "'GasLimitOverestimation' cannot be less than 1"),
        ("ReplaceByFeeRatio", 1.0, "'ReplaceByFeeRatio' is less than required 1.000000 < 1.100000"),
    ):
        refused = await rpc.answer("MpoolSetConfig", config | {name: value})
        assert refused["error"] == {"code": 1, "message": problem}
    assert (await rpc("MpoolGetConfig"))["GasLimitOverestimation"] == 2.0


async def test_fees_follow_the_sender_wishes_and_the_last_blocks(
    devnet: Devstack, rpc: RawRpc
) -> None:
    assert devnet.network.head.height == 0  # no messages yet, so the floors hold
    assert await rpc("GasEstimateGasPremium", 1, "", 0, []) == "200000"
    assert await rpc("GasEstimateGasPremium", 2, "", 0, []) == "150000"
    assert await rpc("GasEstimateGasPremium", 10, "", 0, []) == "100000"
    await devnet.advance(5)
    assert await rpc("GasEstimateFeeCap", transfer(devnet, GasPremium="7"), 20, []) == "1061"
    capped = await rpc("GasEstimateMessageGas", transfer(devnet), {"MaxFee": "1000000000"}, [])
    assert int(capped["GasFeeCap"]) * capped["GasLimit"] <= 10**9
    assert int(capped["GasPremium"]) <= int(capped["GasFeeCap"])
    spec = {"MaxFee": str(10**15), "MaximizeFeeCap": True}
    maximal = await rpc("GasEstimateMessageGas", transfer(devnet), spec, [])
    assert int(maximal["GasFeeCap"]) == 10**15 // maximal["GasLimit"]
    await sent(devnet, rpc, GasPremium="900000", GasFeeCap="1000000")
    assert int(await rpc("GasEstimateGasPremium", 1, "", 0, [])) >= 900_000


async def test_setting_the_head_back_returns_messages_and_can_be_undone(
    devnet: Devstack, rpc: RawRpc, session: aiohttp.ClientSession
) -> None:
    await devnet.advance(5)
    before = await rpc("ChainHead")
    found = await sent(devnet, rpc)
    after = await rpc("ChainHead")
    url = f"ws://127.0.0.1:{devnet.api_port}/rpc/v1"
    async with session.ws_connect(url) as socket:
        await socket.send_json(
            {"jsonrpc": "2.0", "id": 1, "method": "Filecoin.ChainNotify", "params": []}
        )
        await socket.receive_json()
        await socket.receive_json()
        await rpc("ChainSetHead", before["Cids"])
        batch = (await socket.receive_json())["params"][1]
    assert {change["Type"] for change in batch} == {"revert"}
    assert await rpc("ChainHead") == before
    assert await rpc("StateSearchMsg", [], found["Message"], -1, True) is None
    assert [one["CID"] for one in await rpc("MpoolPending", [])] == [found["Message"]]
    assert int(await rpc("ChainTipSetWeight", after["Cids"])) > int(
        await rpc("ChainTipSetWeight", [])
    )
    await rpc("ChainSetHead", after["Cids"])
    assert await rpc("StateSearchMsg", [], found["Message"], -1, True) == found
    assert await rpc("MpoolPending", []) is None
    await devnet.advance(2)


@pytest.mark.parametrize("method", ["StateSearchMsgLimited", "StateWaitMsgLimited"])
async def test_v1_does_not_know_what_only_v0_has(method: str, rpc: RawRpc) -> None:
    assert (await rpc.answer(method))["error"]["code"] == -32601


async def test_shutdown_is_asked_of_whoever_started_the_node(devnet: Devstack, rpc: RawRpc) -> None:
    assert not devnet.node.shutdown_asked.is_set()
    await rpc("Shutdown")
    assert devnet.node.shutdown_asked.is_set()


async def test_discover_describes_every_served_method(rpc: RawRpc) -> None:
    document = await rpc("Discover")
    names = [method["name"] for method in document["methods"]]
    assert names == sorted(names)
    described = {method["name"]: method for method in document["methods"]}
    assert [p["description"] for p in described["Filecoin.StateGetActor"]["params"]] == [
        "address.Address", "types.TipSetKey",
    ]  # fmt: skip
    assert described["Filecoin.MpoolPush"]["summary"] == "Perms: write"
    assert "Filecoin.Discover" in described
