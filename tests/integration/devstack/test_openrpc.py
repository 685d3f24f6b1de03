"""Every served method answers in the shape of Lotus' own OpenRPC document, and takes as many parameters."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from devstack.datacap import allocate_piece, grant_datacap
from devstack.rpc.methods import MethodTable, RawParams
from devstack.rpc.miner import table_miner
from devstack.rpc.tables import table_v0, table_v1, table_v2
from devstack.stack import Devstack
from lotus_client.types import PaddedPieceSize
from tests.integration.devstack.conftest import RawRpc
from tests.integration.devstack.openrpc import check_result, load_document

V1 = load_document("v1-full")
V2 = load_document("v2-full")
MINER = load_document("miner")


@pytest.mark.parametrize(
    ("table", "document"), [(table_v1(), V1), (table_v2(), V2), (table_miner(), MINER)]
)
def test_each_method_takes_as_many_parameters_as_lotus(
    table: MethodTable[Any], document: dict[str, Any]
) -> None:
    for name, method in table.by_name.items():
        if name in document and not isinstance(method.params, RawParams):
            assert len(method.params) == len(document[name]["params"]), name


def test_v0_serves_what_v1_serves() -> None:
    assert table_v0().by_name.keys() == table_v1().by_name.keys()


class Samples:
    """Arguments that make every read of the API answer with something in it."""

    def __init__(self, net: Devstack, claim: int, pending: int, client: str) -> None:
        self.net = net
        network = net.network
        self.miner = str(net.provider.miner)
        self.client = client
        self.claim = claim
        self.pending = pending
        self.head = [{"/": str(cid)} for cid in network.head.key]
        sector = next(iter(net.provider.sectors.values()))
        self.sector = sector.number
        self.commit = {"/": str(sector.messages["commit"])}
        found = network.search_message(sector.messages["commit"])
        assert found is not None
        self.executed = [{"/": str(cid)} for cid in found.tipset]
        self.events_root = {"/": str(found.receipt.events_root)}
        executed = network.tipset(found.tipset)
        self.included = [{"/": str(cid)} for cid in executed.parents]
        self.state_root = {"/": str(network.head.blocks[0].parent_state_root)}
        self.height = network.tipset(executed.parents).height
        self.alice = str(network.key("alice").address)
        self.message = {
            "Version": 0, "To": str(network.key("bob").address), "From": self.alice, "Nonce": 0, "Value": "1",
            "GasLimit": 0, "GasFeeCap": "0", "GasPremium": "0", "Method": 0, "Params": None,
        }  # fmt: skip
        self.genesis = [{"/": str(cid)} for cid in network.genesis.key]
        self.verifier = str(network.key("verifier-1").address)

    def calls(self) -> dict[str, list[Any]]:
        """Parameters by method."""
        data = base64.b64encode(b"to sign").decode()
        signature = self.net.node.wallet.sign(self.net.network.key("alice").address, b"to sign")
        signed = {"Type": 1, "Data": base64.b64encode(signature.data).decode()}
        event_filter = {"addresses": ["t06"], "fromHeight": 0}
        head, miner, sector = self.head, self.miner, self.sector
        return {
            "ChainGetTipSet": [head],
            "ChainGetTipSetByHeight": [1, head],
            "ChainGetTipSetAfterHeight": [1, head],
            "ChainGetPath": [self.executed, self.included],
            "ChainGetBlock": [self.executed[0]],
            "ChainGetBlockMessages": [self.included[0]],
            "ChainGetMessage": [self.commit],
            "ChainGetMessagesInTipset": [self.included],
            "ChainGetParentMessages": [self.executed[0]],
            "ChainGetParentReceipts": [self.executed[0]],
            "ChainGetEvents": [self.events_root],
            "GetActorEventsRaw": [event_filter],
            "StateNetworkVersion": [head],
            "StateGetActor": [self.alice, head],
            "StateLookupID": [self.alice, head],
            "StateAccountKey": [self.alice, head],
            "StateReadState": [miner, head],
            "StateListMiners": [head],
            "StateListActors": [head],
            "StateActorCodeCIDs": [28],
            "StateActorManifestCID": [28],
            "ChainReadObj": [self.state_root],
            "ChainHasObj": [self.state_root],
            "ChainStatObj": [self.state_root, None],
            "ChainGetNode": [f"/ipfs/{self.state_root['/']}/1/@Ha:{miner}/@state"],
            "StateCirculatingSupply": [head],
            "StateGetAllocations": [self.client, head],
            "StateGetAllocation": [self.client, self.pending, head],
            "StateGetAllAllocations": [head],
            "StateGetClaims": [miner, head],
            "StateGetClaim": [miner, self.claim, head],
            "StateGetAllClaims": [head],
            "StateVerifiedClientStatus": [self.client, head],
            "StateVerifierStatus": [self.verifier, head],
            "StateVerifiedRegistryRootKey": [head],
            "StateMinerInfo": [miner, head],
            "StateMinerPower": [miner, head],
            "StateMinerSectors": [miner, None, head],
            "StateMinerActiveSectors": [miner, head],
            "StateMinerFaults": [miner, head],
            "StateMinerRecoveries": [miner, head],
            "StateMinerSectorCount": [miner, head],
            "StateMinerProvingDeadline": [miner, head],
            "StateMinerAvailableBalance": [miner, head],
            "StateSectorGetInfo": [miner, sector, head],
            "StateSectorExpiration": [miner, sector, head],
            "StateSectorPartition": [miner, sector, head],
            "StateCompute": [self.height, None, self.included],
            "StateCall": [self.message, head],
            "StateSearchMsg": [head, self.commit, -1, False],
            "StateWaitMsg": [self.commit, 0, -1, True],
            "MpoolPushMessage": [self.message, None],
            "MpoolGetNonce": [self.alice],
            "MpoolPending": [head],
            "GasEstimateMessageGas": [self.message, None, head],
            "GasEstimateGasLimit": [self.message, head],
            "GasEstimateFeeCap": [self.message, 10, head],
            "GasEstimateGasPremium": [2, self.alice, 1_000_000, head],
            "WalletNew": ["secp256k1"],
            "WalletHas": [self.alice],
            "WalletBalance": [self.alice],
            "WalletSign": [self.alice, data],
            "WalletSignMessage": [self.alice, self.message],
            "WalletVerify": [self.alice, data, signed],
            "WalletSetDefault": [self.alice],
            "WalletExport": [self.alice],
            "WalletValidateAddress": [self.alice],
            "NodeStatus": [True],
        }


@pytest.fixture
async def samples(devnet: Devstack) -> Samples:
    net = devnet
    client = net.network.key("alice")
    await grant_datacap(net.node, client.address, 1 << 30)
    first = await net.provider.stage_piece(b"first" * 1000)
    claimed, pending = [
        await allocate_piece(
            net.node,
            client,
            net.provider.miner,
            piece.commitment.piece_cid,
            PaddedPieceSize(piece.commitment.padded_size),
        )
        for piece in (first, await net.provider.stage_piece(b"second" * 1000))
    ]
    await net.provider.add_piece(b"first" * 1000, claimed)
    await net.advance(60)
    return Samples(net, claimed, pending, str(client.address))


# Answers without a schema in the document, or whose schema says nothing: checked elsewhere.
SKIPPED = {"Filecoin.WalletImport", "Filecoin.WalletDelete", "Filecoin.MpoolPush"}


async def test_every_v1_answer_has_the_shape_of_lotus_document(
    samples: Samples, rpc: RawRpc
) -> None:
    calls = samples.calls()
    assert calls.keys() | {name.removeprefix("Filecoin.") for name in SKIPPED} >= {
        name.removeprefix("Filecoin.") for name, method in V1.items() if method["params"]
    }, "a served method has no sample call"
    for name, method in V1.items():
        if name in SKIPPED:
            continue
        result = await rpc(name.removeprefix("Filecoin."), *calls.get(name[9:], []))
        check_result(method, result)


async def test_the_miner_and_v2_answers_have_the_shape_of_lotus_documents(
    samples: Samples, devnet: Devstack, miner_rpc: RawRpc, session: Any
) -> None:
    storage_id = devnet.provider.storage.id
    miner_id = devnet.provider.miner.actor_id
    calls: dict[str, list[Any]] = {
        "ActorSectorSize": [samples.miner],
        "SectorsListInStates": [["Proving"]],
        "SectorsStatus": [samples.sector, True],
        "StorageInfo": [storage_id],
        "StorageFindSector": [{"Miner": miner_id, "Number": samples.sector}, 1, 0, False],
    }
    for name, method in MINER.items():
        result = await miner_rpc(name[9:], *calls.get(name[9:], []))
        assert result, name
        check_result(method, result)
    v2 = RawRpc(session, f"http://127.0.0.1:{devnet.api_port}/rpc/v2", "")
    selectors = [
        {"tag": "latest"}, {"tag": "safe"}, {"tag": "finalized"}, {"key": samples.head},
        {"height": {"at": 3, "previous": True, "anchor": {"tag": "latest"}}},
    ]  # fmt: skip
    for selector in selectors:
        check_result(V2["Filecoin.ChainGetTipSet"], await v2("ChainGetTipSet", selector))
    check_result(
        V2["Filecoin.StateGetActor"], await v2("StateGetActor", samples.alice, {"tag": "latest"})
    )
    await v2("ChainGetTipSetFinalityStatus")
    refused = await v2.answer("ChainGetTipSet", {"tag": "latest", "key": samples.head})
    assert refused["error"]["code"] == 1


async def test_what_is_not_served_answers_as_an_unknown_method(rpc: RawRpc) -> None:
    for method in ("ClientStartDeal", "F3GetManifest", "eth_sendTransaction"):
        assert (await rpc.answer(method))["error"]["code"] == -32601
