"""Market deals on a devnet: published, sealed and read over RPC in Lotus' shapes."""

from __future__ import annotations

import base64
from typing import Any

import aiohttp
import pytest

from devstack.chain import FIL
from devstack.datacap import grant_datacap
from devstack.deals import DealTerms, publish_deal
from devstack.provider import PieceRejected
from devstack.rpc.state_market import METHODS
from devstack.stack import Devstack
from lotus_client import cbor
from lotus_client.actors.methods import MinerMethod
from lotus_client.actors.miner_keys import (
    ChangeBeneficiaryParams,
    ChangeMultiaddrsParams,
    ChangePeerIdParams,
    ChangeWorkerAddressParams,
)
from lotus_client.cid import Cid
from lotus_client.types import AttoFil, PaddedPieceSize
from tests.integration.devstack.conftest import RawRpc
from tests.integration.devstack.openrpc import check_result, load_document

DOCUMENT = load_document("v1-full")
PAYLOAD = b"a deal's bytes" * 500


def test_each_market_method_takes_as_many_parameters_as_lotus() -> None:
    served = {method.name: method for method in METHODS}
    assert {f"Filecoin.{name}" for name in served} <= DOCUMENT.keys()
    for name, method in served.items():
        assert isinstance(method.params, tuple)
        assert len(method.params) == len(DOCUMENT[f"Filecoin.{name}"]["params"])


async def published(net: Devstack, terms: DealTerms) -> int:
    client = net.network.key("alice")
    staged = await net.provider.stage_piece(PAYLOAD)
    commitment = staged.commitment
    size = PaddedPieceSize(commitment.padded_size)
    return await publish_deal(
        net.node, client, net.provider, commitment.piece_cid, size, terms=terms
    )


async def checked(rpc: RawRpc, name: str, *params: Any) -> Any:
    result = await rpc(name, *params)
    check_result(DOCUMENT[f"Filecoin.{name}"], result)
    return result


async def test_a_verified_deal_is_sealed_claimed_and_shown_as_active(
    devnet: Devstack, rpc: RawRpc
) -> None:
    await grant_datacap(devnet.node, devnet.network.key("alice").address, 1 << 20)
    terms = DealTerms(
        verified=True, price_per_epoch=AttoFil(2), provider_collateral=AttoFil(FIL), label="mine"
    )
    number = await published(devnet, terms)
    await devnet.advance(1)
    waiting = await checked(rpc, "StateMarketStorageDeal", number, None)
    assert waiting["State"]["SectorStartEpoch"] == -1
    assert waiting["Proposal"]["Label"] == "mine"
    allocation_id = await checked(rpc, "StateGetAllocationIdForPendingDeal", number, None)
    allocation = await checked(rpc, "StateGetAllocationForPendingDeal", number, None)
    assert (allocation_id, allocation["Provider"]) == (1, 1001)
    balance = await checked(rpc, "StateMarketBalance", "t01001", None)
    assert balance == {"Escrow": str(FIL), "Locked": str(FIL)}
    sector = await devnet.provider.add_piece(PAYLOAD, deal=number)
    await devnet.advance(40)
    active = await checked(rpc, "StateMarketStorageDeal", number, None)
    assert active["State"]["SectorNumber"] == sector.number
    assert active["State"]["SectorStartEpoch"] > 0
    assert await checked(rpc, "StateGetAllocationIdForPendingDeal", number, None) == 0
    assert await rpc("StateGetAllocationForPendingDeal", number, None) is None
    claims = await rpc("StateGetClaims", "t01001", None)
    assert claims["1"]["Sector"] == sector.number
    deals = await checked(rpc, "StateMarketDeals", None)
    assert deals == {str(number): active}
    participants = await checked(rpc, "StateMarketParticipants", None)
    assert participants["t01001"] == balance
    assert (await rpc("StateReadState", "t05", None))["State"]["NextID"] == number + 1


async def test_a_plain_deal_needs_no_datacap(devnet: Devstack, rpc: RawRpc) -> None:
    number = await published(devnet, DealTerms())
    await devnet.provider.add_piece(PAYLOAD, deal=number)
    await devnet.advance(40)
    deal = await checked(rpc, "StateMarketStorageDeal", number, None)
    assert deal["State"]["SectorStartEpoch"] > 0
    assert await rpc("StateGetClaims", "t01001", None) == {}


async def test_only_the_deals_own_payload_is_sealed_for_it(devnet: Devstack) -> None:
    number = await published(devnet, DealTerms())
    with pytest.raises(PieceRejected):
        await devnet.provider.stage_piece(b"other bytes", deal=number)
    with pytest.raises(PieceRejected):
        await devnet.provider.stage_piece(PAYLOAD, deal=77)


async def test_what_there_is_not_is_said_as_lotus_says_it(devnet: Devstack, rpc: RawRpc) -> None:
    answer = await rpc.answer("StateMarketStorageDeal", 5, None)
    assert answer["error"]["code"] == 1
    assert answer["error"]["message"].startswith("deal 5 not found - deal may not have completed")
    assert await rpc("StateMarketDeals", None) == {}
    assert await rpc("StateMarketBalance", "t01001", None) == {"Escrow": "0", "Locked": "0"}
    bounds = await checked(rpc, "StateDealProviderCollateralBounds", 1 << 20, True, None)
    assert bounds == {"Min": "0", "Max": str(2_000_000_000 * FIL)}
    head = devnet.network.head.key.cids[0]
    assert (await checked(rpc, "StateMarketProposalPending", {"/": str(head)}, None)) is False


async def test_the_control_api_publishes_and_seals_a_deal(
    devnet: Devstack, session: aiohttp.ClientSession, rpc: RawRpc
) -> None:
    staged = await devnet.provider.stage_piece(PAYLOAD)
    base = f"http://127.0.0.1:{devnet.api_port}/devstack/v1"
    headers = {"Authorization": f"Bearer {devnet.token()}"}
    body = {
        "client": "alice",
        "piece_cid": str(staged.commitment.piece_cid),
        "padded_size": staged.commitment.padded_size,
        "price": "3",
    }
    async with session.post(f"{base}/publish-deal", json=body, headers=headers) as response:
        assert response.status == 200
        number = (await response.json())["deal"]
    url = f"{base}/add-piece?deal={number}"
    async with session.post(url, data=PAYLOAD, headers=headers) as response:
        assert response.status == 200
    await devnet.advance(40)
    deal = await rpc("StateMarketStorageDeal", number, None)
    assert deal["State"]["SectorStartEpoch"] > 0
    async with session.post(url, data=PAYLOAD, headers=headers) as response:
        assert response.status == 409


async def test_a_node_wallet_holds_bls_keys_that_send_messages(
    devnet: Devstack, rpc: RawRpc
) -> None:
    alice = str(devnet.network.key("alice").address)
    key = await rpc("WalletNew", "bls")
    assert key.startswith("t3")
    pay = {
        "Version": 0, "To": key, "From": alice, "Nonce": 0, "Value": str(FIL), "GasLimit": 0,
        "GasFeeCap": "0", "GasPremium": "0", "Method": 0, "Params": None,
    }  # fmt: skip
    await rpc("MpoolPushMessage", pay, None)
    await devnet.advance(3)
    back = await rpc("MpoolPushMessage", pay | {"To": alice, "From": key, "Value": "5"}, None)
    assert back["Signature"]["Type"] == 2
    assert back["CID"] == back["Message"]["CID"]
    await devnet.advance(1)
    head = devnet.network.head.key.cids[0]
    listed = await rpc("ChainGetBlockMessages", {"/": str(head)})
    assert [message["CID"] for message in listed["BlsMessages"]] == [back["CID"]]
    assert listed["SecpkMessages"] is None or back["CID"] not in listed["Cids"][1:]
    await devnet.advance(2)
    found = await rpc("StateSearchMsg", [], back["CID"], -1, True)
    assert found["Receipt"]["ExitCode"] == 0
    data = base64.b64encode(b"text").decode()
    signature = await rpc("WalletSign", key, data)
    assert await rpc("WalletVerify", key, data, signature) is True
    exported = await rpc("WalletExport", key)
    assert exported["Type"] == "bls"
    await rpc("WalletDelete", key)
    assert await rpc("WalletImport", exported) == key


async def test_pending_changes_of_a_miners_keys_are_shown(devnet: Devstack, rpc: RawRpc) -> None:
    network, miner = devnet.network, devnet.provider.miner
    alice, bob = network.key("alice").address, network.key("bob").address
    peer = bytes((0x12, 0x20)) + bytes(range(32))
    beneficiary = ChangeBeneficiaryParams(alice, AttoFil(FIL), 100_000)
    for method, params in (
        (MinerMethod.CHANGE_WORKER_ADDRESS, ChangeWorkerAddressParams(alice, (bob,))),
        (MinerMethod.CHANGE_PEER_ID, ChangePeerIdParams(peer)),
        (MinerMethod.CHANGE_MULTIADDRS, ChangeMultiaddrsParams((b"\x04\x7f\0\0\x01",))),
        (MinerMethod.CHANGE_BENEFICIARY, beneficiary),
    ):
        network.send("owner-1", miner, method, params.to_cbor())
    owner = cbor.encode(alice.to_bytes())
    network.send("owner-1", miner, MinerMethod.CHANGE_OWNER_ADDRESS, owner)
    await devnet.advance(3)
    info = await rpc("StateMinerInfo", str(miner), None)
    ids = {
        name: await rpc("StateLookupID", str(key), None) for name, key in (("a", alice), ("b", bob))
    }
    assert (info["NewWorker"], info["ControlAddresses"]) == (ids["a"], [ids["b"]])
    assert info["WorkerChangeEpoch"] > 900
    assert info["PeerId"] == str(Cid(peer))
    assert info["Multiaddrs"] == ["BH8AAAE="]
    assert info["PendingOwnerAddress"] == ids["a"]
    pending = info["PendingBeneficiaryTerm"]
    assert (pending["NewBeneficiary"], pending["NewQuota"]) == (ids["a"], str(FIL))
    assert (pending["ApprovedByBeneficiary"], pending["ApprovedByNominee"]) == (True, False)


async def test_money_goes_into_the_escrow_and_out_again(devnet: Devstack, rpc: RawRpc) -> None:
    alice = str(devnet.network.key("alice").address)
    nothing = await rpc("MarketGetReserved", alice)
    assert nothing == "0"
    await rpc("MarketAddBalance", alice, alice, "1000")
    await devnet.advance(3)
    assert await rpc("StateMarketBalance", alice, None) == {"Escrow": "1000", "Locked": "0"}

    assert await rpc("MarketWithdraw", alice, alice, "0") is None
    cid = await rpc("MarketWithdraw", alice, alice, "400")
    found = devnet.network.mine_until(Cid.parse(cid["/"]))
    assert found.receipt.exit_code == 0
    assert await rpc("StateMarketBalance", alice, None) == {"Escrow": "600", "Locked": "0"}


async def test_more_than_the_free_escrow_is_not_withdrawn(devnet: Devstack, rpc: RawRpc) -> None:
    alice = str(devnet.network.key("alice").address)
    await rpc("MarketAddBalance", alice, alice, "1000")
    await devnet.advance(3)
    with pytest.raises(AssertionError, match="insufficient funds for withdrawal of 1001"):
        await rpc("MarketWithdraw", alice, alice, "1001")
