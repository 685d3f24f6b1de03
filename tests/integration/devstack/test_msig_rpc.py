"""Multisigs over RPC: v1 hands out messages to push, v0 pushes them itself."""

from __future__ import annotations

from typing import Any

import aiohttp

from devstack.stack import Devstack
from lotus_client.actors.multisig import ProposeReturn
from lotus_client.actors.system import CreatedActor
from tests.integration.devstack.conftest import RawRpc, unbase64

FIL = 10**18


async def pushed(rpc: RawRpc, net: Devstack, prototype: dict[str, Any]) -> dict[str, Any]:
    """What became of a prototype: checked as the tools do, pushed, and executed."""
    assert prototype["ValidNonce"] is False
    ready = await rpc("GasEstimateMessageGas", prototype["Message"], None, [])
    (checks,) = await rpc("MpoolCheckMessages", [{"Message": ready, "ValidNonce": False}])
    assert all(check["OK"] for check in checks), checks
    signed = await rpc("MpoolPushMessage", prototype["Message"], None)
    await net.advance(2)
    found: dict[str, Any] = await rpc("StateWaitMsg", signed["CID"], 0, -1, True)
    assert found["Receipt"]["ExitCode"] == 0
    return found


async def test_a_multisig_is_made_and_pays_once_both_have_signed(
    devnet: Devstack, rpc: RawRpc
) -> None:
    alice, bob = (str(devnet.network.key(name).address) for name in ("alice", "bob"))
    payee = str(devnet.network.key("carol").address)
    made = await pushed(
        rpc, devnet, await rpc("MsigCreate", 0, [alice, bob], 0, str(5 * FIL), alice, "0")
    )
    created = CreatedActor.from_cbor(unbase64(made["Receipt"]["Return"]))
    msig = str(created.id_address)
    assert made["ReturnDec"] == {"IDAddress": msig, "RobustAddress": str(created.robust_address)}
    assert await rpc("MsigGetAvailableBalance", msig, []) == str(5 * FIL)
    proposed = await pushed(rpc, devnet, await rpc("MsigPropose", msig, payee, "7", alice, 0, None))
    assert proposed["ReturnDec"] == {"TxnID": 0, "Applied": False, "Code": 0, "Ret": None}
    (waiting,) = await rpc("MsigGetPending", msig, [])
    assert waiting == {
        "ID": 0, "To": payee, "Value": "7", "Method": 0, "Params": None,
        "Approved": [await rpc("StateLookupID", alice, [])],
    }  # fmt: skip
    wrong = await rpc(
        "MsigApproveTxnHash", msig, 0, alice, payee, "8", bob, 0, None
    )  # another amount
    refused = await rpc.answer("MpoolPushMessage", wrong["Message"], None)
    assert "exit 16" in refused["error"]["message"]
    right = await rpc("MsigApproveTxnHash", msig, 0, alice, payee, "7", bob, 0, None)
    approved = await pushed(rpc, devnet, right)
    assert approved["ReturnDec"] == {"Applied": True, "Code": 0, "Ret": None}
    await devnet.advance(1)
    assert await rpc("WalletBalance", payee) == "7"
    assert await rpc("MsigGetPending", msig, []) == []


async def test_v0_pushes_and_answers_with_the_cid(
    devnet: Devstack, session: aiohttp.ClientSession
) -> None:
    rpc = RawRpc(session, f"http://127.0.0.1:{devnet.api_port}/rpc/v0", devnet.token())
    alice, bob = (str(devnet.network.key(name).address) for name in ("alice", "bob"))
    cid = await rpc("MsigCreate", 2, [alice, bob], 0, "0", alice, "0")
    await devnet.advance(2)
    found = await rpc("StateWaitMsg", cid, 0)
    msig = found["ReturnDec"]["IDAddress"]
    cid = await rpc("MsigPropose", msig, bob, "0", alice, 0, None)
    await devnet.advance(2)
    receipt = await rpc("StateGetReceipt", cid, [])
    assert ProposeReturn.from_cbor(unbase64(receipt["Return"])).txn_id == 0
    cid = await rpc("MsigCancel", msig, 0, bob, "0", alice, 0, None)
    await devnet.advance(2)
    assert (await rpc("StateSearchMsg", cid))["Receipt"]["ExitCode"] == 0
    assert await rpc("MsigGetPending", msig, []) == []


async def test_what_a_multisig_call_lacks_is_said_in_lotus_words(
    devnet: Devstack, rpc: RawRpc
) -> None:
    alice = str(devnet.network.key("alice").address)
    for method, params, problem in (
        ("MsigCreate", [3, [alice], 0, "0", alice, "0"],
         "cannot require signing of more addresses than provided for multisig"),
        ("MsigPropose", ["t080", alice, "-1", alice, 0, None],
         "must provide a non-negative amount for proposed send"),
        ("MsigPropose", ["<empty>", alice, "1", alice, 0, None],
         "must provide a multisig address for proposal"),
        ("MsigApprove", ["t080", 0, "<empty>"], "must provide source address"),
    ):  # fmt: skip
        assert (await rpc.answer(method, *params))["error"] == {"code": 1, "message": problem}


async def test_locked_money_vests_by_the_epoch(devnet: Devstack, rpc: RawRpc) -> None:
    alice = str(devnet.network.key("alice").address)
    prototype = await rpc("MsigCreate", 1, [alice], 1000, str(FIL), alice, "0")
    made = await pushed(rpc, devnet, prototype)
    msig = made["ReturnDec"]["IDAddress"]
    start = await rpc("ChainHead")
    await devnet.advance(100)
    end = await rpc("ChainHead")
    schedule = await rpc("MsigGetVestingSchedule", msig, [])
    assert (schedule["InitialBalance"], schedule["UnlockDuration"]) == (str(FIL), 1000)
    vested = int(await rpc("MsigGetVested", msig, start["Cids"], end["Cids"]))
    assert vested == FIL * (end["Height"] - start["Height"]) // 1000
    free = int(await rpc("MsigGetAvailableBalance", msig, end["Cids"]))
    assert free == FIL * (end["Height"] - schedule["StartEpoch"]) // 1000
