"""Blocks over RPC: what tools that walk the state themselves ask for."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from devstack.stack import Devstack
from lotus_client import cbor
from lotus_client.cid import DAG_CBOR, Cid
from tests.integration.devstack.conftest import RawRpc, unbase64
from tests.walker import read_hamt

UNKNOWN = "bafy2bzacea3wsdh6y3a36tb3skempjoxqpuyompjbmfeyf34fi3uy6uue42v4"


async def _root(rpc: RawRpc) -> str:
    head = await rpc("ChainHead")
    root: str = head["Blocks"][0]["ParentStateRoot"]["/"]
    return root


async def test_an_actors_head_is_read_and_is_the_block_of_its_cid(
    devnet: Devstack, rpc: RawRpc
) -> None:
    await devnet.advance(3)
    for address in ("t00", "t01", "t02", "t03", "t04", "t05", "t06", "t07", "t080", "t01000"):
        actor = await rpc("StateGetActor", address, [])
        block = unbase64(await rpc("ChainReadObj", actor["Head"]))
        assert {"/": str(_cid_of(block))} == actor["Head"]
        assert await rpc("ChainHasObj", actor["Head"]) is True


def _cid_of(block: bytes) -> Cid:
    digest = hashlib.blake2b(block, digest_size=32).digest()
    return Cid.of_digest(DAG_CBOR, 0xB220, digest)


async def test_what_is_not_there_is_lotus_error(rpc: RawRpc) -> None:
    assert await rpc("ChainHasObj", {"/": UNKNOWN}) is False
    answer = await rpc.answer("ChainReadObj", {"/": UNKNOWN})
    assert answer["error"]["message"] == f"blockstore get: ipld: could not find {UNKNOWN}"
    answer = await rpc.answer("ChainStatObj", {"/": UNKNOWN}, None)
    assert answer["error"]["message"].endswith(f"ipld: could not find {UNKNOWN}")
    sealed = "bagboea4b5abcatlxechwbp7kjpjguna6r6q7ejrhe6mdp3lf34pmswn27pkkiekz"
    assert await rpc("ChainHasObj", {"/": sealed}) is False


async def test_a_walk_with_chain_read_obj_finds_what_state_get_actor_shows(
    devnet: Devstack, rpc: RawRpc
) -> None:
    await devnet.advance(2)
    blocks: dict[bytes, bytes] = {}

    async def fetch(cid: Cid) -> None:
        blocks[cid.raw] = unbase64(await rpc("ChainReadObj", {"/": str(cid)}))
        node = cbor.decode(blocks[cid.raw])
        for pointer in node[1]:  # type: ignore[index]
            if isinstance(pointer, Cid):
                await fetch(pointer)

    root = cbor.decode(unbase64(await rpc("ChainReadObj", {"/": (await _root(rpc))})))
    await fetch(root[1])  # type: ignore[index]
    found = read_hamt(blocks.__getitem__, root[1])  # type: ignore[index]
    listed = await rpc("StateListActors", [])
    assert len(listed) == len(found)
    actor = await rpc("StateGetActor", "t01000", [])
    assert {"/": str(found[b"\x00\xe8\x07"][1])} == actor["Head"]


async def test_the_size_of_a_state_counts_each_block_once(devnet: Devstack, rpc: RawRpc) -> None:
    await devnet.advance(2)
    actor = await rpc("StateGetActor", "t07", [])
    block = unbase64(await rpc("ChainReadObj", actor["Head"]))
    # the token's state, and one empty map that is both its balances and its allowances
    stat = await rpc("ChainStatObj", actor["Head"], None)
    assert stat == {"Size": len(block) + 3, "Links": 2}
    assert await rpc("ChainStatObj", actor["Head"], actor["Head"]) == {"Size": 0, "Links": 0}


async def test_a_path_leads_through_maps_and_states(devnet: Devstack, rpc: RawRpc) -> None:
    await devnet.advance(2)
    actors = f"/ipfs/{await _root(rpc)}/1"
    record = await rpc("ChainGetNode", f"{actors}/@Ha:t01000")
    actor = await rpc("StateGetActor", "t01000", [])
    assert record["Obj"][:3] == [actor["Code"], actor["Head"], actor["Nonce"]]
    state = await rpc("ChainGetNode", f"{actors}/@Ha:t01000/@state")
    shown = await rpc("StateReadState", "t01000", [])
    assert state["Obj"] == shown["State"]
    sector = await rpc("ChainGetNode", f"{actors}/@Ha:t01000/1/9/@A:5")
    listed = await rpc("StateMinerSectors", "t01000", [5, 1], [])
    assert sector["Obj"][2] == listed[0]["SealedCID"]
    named = await rpc("ChainGetNode", f"{actors}/@Ha:t01000/@state/Sectors")
    assert named["Cid"] == shown["State"]["Sectors"]
    block = unbase64(await rpc("ChainReadObj", shown["State"]["Sectors"]))
    assert named["Obj"][0] == cbor.decode(block)[0] == 5  # type: ignore[index]
    manifest = await rpc("StateActorManifestCID", 28)
    node = await rpc("ChainGetNode", f"{manifest['/']}/1")
    assert dict(node["Obj"]) == await rpc("StateActorCodeCIDs", 28)


async def test_bytes_in_a_node_are_base64(rpc: RawRpc) -> None:
    node = await rpc("ChainGetNode", f"{await _root(rpc)}/1")
    bitfield, _pointers = node["Obj"]
    assert base64.b64decode(bitfield)


async def test_a_path_to_nowhere_says_why(devnet: Devstack, rpc: RawRpc) -> None:
    await devnet.advance(1)
    root = await _root(rpc)

    async def message(path: str) -> str:
        answer: dict[str, Any] = await rpc.answer("ChainGetNode", path)
        text: str = answer["error"]["message"]
        return text

    assert (await message("/pstate/1")).startswith("parsing path: ")
    assert await message(f"/ipfs/{root}/1/@Ha:t09999") == "resolve hamt: not found"
    assert (await message(f"/ipfs/{root}/1/@Ha:nobody")).startswith("parsing addr: ")
    assert await message(f"/ipfs/{root}/9") == "array index out of range"
    assert await message(f"/ipfs/{root}/0") == "non-link found at given path"
    assert await message(f"/ipfs/{root}/0/0") == (
        "tried to resolve through object that had no links"
    )
    assert await message(f"/ipfs/{root}/1/@A:1") == "load amt: the block is no AMT root"
    assert (await message(f"/ipfs/{UNKNOWN}")).endswith(f"could not find {UNKNOWN}")


async def test_code_cids_are_known_for_the_networks_own_version_only(rpc: RawRpc) -> None:
    cids = await rpc("StateActorCodeCIDs", 28)
    actor = await rpc("StateGetActor", "t01000", [])
    assert cids["storageminer"] == actor["Code"]
    assert len(cids) == 16
    answer = await rpc.answer("StateActorCodeCIDs", 27)
    assert answer["error"]["message"].startswith(
        "could not find cids for network version 27, actors version 17"
    )
    assert "error" in await rpc.answer("StateActorManifestCID", 99)


async def test_every_kind_of_state_shows_lotus_keys_in_lotus_order(
    devnet: Devstack, rpc: RawRpc
) -> None:
    await devnet.advance(2)
    expected = {
        "t00": "BuiltinActors",
        "t01": "AddressMap NextID NetworkName",
        "t02": "CumsumBaseline CumsumRealized EffectiveNetworkTime EffectiveBaselinePower ThisEpochReward"
        " ThisEpochRewardSmoothed ThisEpochBaselinePower Epoch TotalStoragePowerReward SimpleTotal BaselineTotal",
        "t03": "Entries",
        "t04": "TotalRawBytePower TotalBytesCommitted TotalQualityAdjPower TotalQABytesCommitted"
        " TotalPledgeCollateral ThisEpochRawBytePower ThisEpochQualityAdjPower ThisEpochPledgeCollateral"
        " ThisEpochQAPowerSmoothed MinerCount MinerAboveMinPowerCount RampStartEpoch RampDurationEpochs"
        " CronEventQueue FirstCronEpoch Claims ProofValidationBatch",
        "t05": "Proposals States PendingProposals EscrowTable LockedTable NextID DealOpsByEpoch LastCron"
        " TotalClientLockedCollateral TotalProviderLockedCollateral TotalClientStorageFee"
        " PendingDealAllocationIds ProviderSectors",
        "t06": "RootKey Verifiers RemoveDataCapProposalIDs Allocations NextAllocationId Claims",
        "t07": "Governor Token",
        "t080": "Signers NumApprovalsThreshold NextTxnID InitialBalance StartEpoch UnlockDuration PendingTxns",
        "t0100": "Address",
        "t01000": "Info PreCommitDeposits LockedFunds VestingFunds FeeDebt InitialPledge PreCommittedSectors"
        " PreCommittedSectorsCleanUp AllocatedSectors Sectors ProvingPeriodStart CurrentDeadline Deadlines"
        " EarlyTerminations DeadlineCronActive",
    }
    for address, keys in expected.items():
        shown = await rpc("StateReadState", address, [])
        assert list(shown) == ["Balance", "Code", "State"]
        assert list(shown["State"]) == keys.split(), address
