"""The typed client over a fake transport: exact methods and parameters, paging, probing, and answers it distrusts."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any

import pytest

from lotus_client import codec
from lotus_client.address import Address
from lotus_client.bitfield import BitField
from lotus_client.chain import TipSetKey
from lotus_client.cid import Cid
from lotus_client.client import LotusClient
from lotus_client.crypto import Secp256k1Key
from lotus_client.errors import (
    LotusBadParams,
    LotusDecodeError,
    LotusNotSupported,
    LotusRpcError,
    LotusWrongNetwork,
)
from lotus_client.messages import Message
from lotus_client.miner_client import MinerClient
from lotus_client.node import check_network
from lotus_client.secrets import Secret
from lotus_client.types import ActorId, AllocationId, AttoFil, ClaimId, Epoch, SectorNumber
from tests.unit.lotus_client.chain_data import load
from tests.unit.lotus_client.test_codec import (
    ACTOR,
    ALLOCATION,
    CID,
    CLAIM,
    EVENT,
    LOOKUP,
    MINER_INFO,
    PARAMS,
    POWER,
    RECEIPT,
    SECTOR,
)

TIPSET = load("tipset_mainnet.json")
KEY = codec.tipset_key_from_json(TIPSET["Cids"])
HEAD = codec.tipset_from_json(TIPSET)
WALLET = Secp256k1Key(bytes(range(1, 33)))
MESSAGE = Message(Address.of_id(1000), WALLET.address, nonce=4, value=AttoFil(5))
MESSAGE_JSON = codec.message_to_json(MESSAGE, "t")
SIGNED = MESSAGE.signed_by(WALLET)
SIGNED_JSON = codec.signed_message_to_json(SIGNED, "t")
STATE = {"Balance": "1", "Code": {"/": CID}, "State": {"PreCommitDeposits": "1", "LockedFunds": "2", "FeeDebt": "3", "InitialPledge": "4", "ProvingPeriodStart": 5, "ThisEpochReward": "6", "Epoch": 7, "TotalStoragePowerReward": "8"}}  # fmt: skip


class FakeTransport:
    """Answers from a table, or by a function of the parameters; records what was asked."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.calls: list[tuple[str, list[Any]]] = []
        self.ended = False

    async def call(self, method: str, params: Sequence[Any]) -> Any:
        self.calls.append((method, list(params)))
        name = method.removeprefix("Filecoin.")
        if name not in self.answers:
            raise LotusNotSupported(method, -32601, f"method '{method}' not found")
        if len(params) > 20:  # what no method takes
            raise LotusBadParams(method, -32602, f"wrong param count (method '{method}')")
        answer = self.answers[name]
        return answer(*params) if callable(answer) else answer

    async def subscribe(self, method: str, params: Sequence[Any]) -> AsyncGenerator[Any, None]:
        self.calls.append((method, list(params)))
        try:
            for value in self.answers[method.removeprefix("Filecoin.")]:
                yield value
        finally:
            self.ended = True

    async def close(self) -> None:
        self.ended = True


K = codec.tipset_key_to_json(KEY)
C = {"/": CID}
M = "t01000"
Ask = Callable[[LotusClient], Awaitable[Any]]
CALLS: list[tuple[Ask, str, list[Any], Any]] = [
    (lambda c: c.head(), "ChainHead", [], TIPSET),
    (lambda c: c.finalized_tipset(), "ChainGetFinalizedTipSet", [], TIPSET),
    (lambda c: c.genesis(), "ChainGetGenesis", [], TIPSET),
    (lambda c: c.tipset(KEY), "ChainGetTipSet", [K], TIPSET),
    (lambda c: c.tipset_by_height(Epoch(5), KEY), "ChainGetTipSetByHeight", [5, K], TIPSET),
    (lambda c: c.tipset_after_height(Epoch(5)), "ChainGetTipSetAfterHeight", [5, []], TIPSET),
    (lambda c: c.path(KEY, TipSetKey()), "ChainGetPath", [K, []], [{"Type": "apply", "Val": TIPSET}]),
    (lambda c: c.block(KEY.cids[0]), "ChainGetBlock", [K[0]], TIPSET["Blocks"][0]),
    (lambda c: c.messages_in_tipset(KEY), "ChainGetMessagesInTipset", [K], [{"Cid": C, "Message": MESSAGE_JSON}]),
    (lambda c: c.parent_messages(Cid.parse(CID)), "ChainGetParentMessages", [C], None),
    (lambda c: c.parent_receipts(Cid.parse(CID)), "ChainGetParentReceipts", [C], [RECEIPT]),
    (lambda c: c.events_of(Cid.parse(CID)), "ChainGetEvents", [C], [{"Emitter": 1000, "Entries": EVENT["entries"]}]),
    (lambda c: c.network_name(), "StateNetworkName", [], "localnet"),
    (lambda c: c.network_version(KEY), "StateNetworkVersion", [K], 28),
    (lambda c: c.network_params(), "StateGetNetworkParams", [], PARAMS),
    (lambda c: c.claims(ActorId(1000), KEY), "StateGetClaims", [M, K], {"1": CLAIM}),
    (lambda c: c.claim(ActorId(1000), ClaimId(7)), "StateGetClaim", [M, 7, []], CLAIM),
    (lambda c: c.allocations(ActorId(1000)), "StateGetAllocations", [M, []], {"1": ALLOCATION}),
    (lambda c: c.allocation(ActorId(1000), AllocationId(7)), "StateGetAllocation", [M, 7, []], None),
    (lambda c: c.miner_info(ActorId(1000)), "StateMinerInfo", [M, []], MINER_INFO),
    (lambda c: c.miner_power(ActorId(1000)), "StateMinerPower", [M, []], POWER),
    (lambda c: c.sectors(ActorId(1000)), "StateMinerSectors", [M, None, []], [SECTOR]),
    (lambda c: c.sectors(ActorId(1000), KEY, BitField(((5, 6),))), "StateMinerSectors", [M, [5, 1], K], None),
    (lambda c: c.active_sectors(ActorId(1000)), "StateMinerActiveSectors", [M, []], [SECTOR]),
    (lambda c: c.sector(ActorId(1000), SectorNumber(9)), "StateSectorGetInfo", [M, 9, []], SECTOR),
    (lambda c: c.faults(ActorId(1000)), "StateMinerFaults", [M, []], [0]),
    (lambda c: c.recoveries(ActorId(1000)), "StateMinerRecoveries", [M, []], [5, 1]),
    (lambda c: c.funds(ActorId(1000)), "StateReadState", [M, []], STATE),
    (lambda c: c.available_balance(ActorId(1000)), "StateMinerAvailableBalance", [M, []], "7"),
    (lambda c: c.reward_state(KEY), "StateReadState", ["t02", K], STATE),
    (lambda c: c.actor(ActorId(1000)), "StateGetActor", [M, []], ACTOR),
    (lambda c: c.read_state(ActorId(1000)), "StateReadState", [M, []], STATE),
    (lambda c: c.lookup_id(WALLET.address), "StateLookupID", [str(WALLET.address), []], "t0100"),
    (lambda c: c.account_key(ActorId(1000)), "StateAccountKey", [M, []], str(WALLET.address)),
    (lambda c: c.balance(WALLET.address), "WalletBalance", [str(WALLET.address)], "7"),
    (lambda c: c.compute_state(Epoch(9), KEY), "StateCompute", [9, None, K], {"Root": C, "Trace": None}),
    (lambda c: c.search_msg(Cid.parse(CID)), "StateSearchMsg", [[], C, -1, False], LOOKUP),
    (lambda c: c.search_msg(Cid.parse(CID), allow_replaced=True), "StateSearchMsg", [[], C, -1, True], None),
    (lambda c: c.mpool_push(SIGNED), "MpoolPush", [SIGNED_JSON], {"/": str(SIGNED.cid)}),
    (lambda c: c.mpool_nonce(WALLET.address), "MpoolGetNonce", [str(WALLET.address)], 4),
    (lambda c: c.mpool_pending(), "MpoolPending", [[]], [SIGNED_JSON]),
    (lambda c: c.estimate_gas(MESSAGE), "GasEstimateMessageGas", [MESSAGE_JSON, None, []], {**MESSAGE_JSON, "GasLimit": 9}),
    (lambda c: c.wallet_verify(WALLET.address, b"x", SIGNED.signature), "WalletVerify", [str(WALLET.address), "eA==", SIGNED_JSON["Signature"]], True),
]  # fmt: skip


@pytest.mark.parametrize(
    ("ask", "method", "params", "answer"), CALLS, ids=[f"{n}-{c[1]}" for n, c in enumerate(CALLS)]
)
async def test_a_read_sends_the_exact_method_and_parameters(
    ask: Ask, method: str, params: list[Any], answer: Any
) -> None:
    transport = FakeTransport({method: answer})
    found = await ask(LotusClient(transport))
    assert transport.calls == [(f"Filecoin.{method}", params)]
    assert len(params) == load("parameter_counts.json")[f"Filecoin.{method}"]
    if answer is None:
        assert found in (None, [])
    else:
        assert found is not None


async def test_head_changes_are_values_and_leaving_ends_the_subscription() -> None:
    batch = [{"Type": "current", "Val": TIPSET}]
    transport = FakeTransport({"ChainNotify": [batch, batch]})
    async with aclosing(LotusClient(transport).notify()) as batches:
        (change,) = await anext(batches)
    assert (change.type, change.tipset) == ("current", HEAD)
    assert transport.ended


async def test_a_fee_cap_is_sent_with_the_estimate() -> None:
    transport = FakeTransport({"GasEstimateMessageGas": {**MESSAGE_JSON, "GasLimit": 9}})
    filled = await LotusClient(transport).estimate_gas(MESSAGE, AttoFil(77))
    assert filled.gas_limit == 9
    assert transport.calls[0][1][1]["MaxFee"] == "77"


@pytest.mark.parametrize("change", [{"To": "t01001"}, {"Value": "6"}, {"Nonce": 5}, {"Method": 2}])
async def test_an_estimate_that_changes_the_call_is_refused(change: dict[str, Any]) -> None:
    transport = FakeTransport({"GasEstimateMessageGas": {**MESSAGE_JSON, **change}})
    with pytest.raises(LotusDecodeError, match="more than the gas"):
        await LotusClient(transport).estimate_gas(MESSAGE)


async def test_a_push_that_comes_back_as_another_message_is_refused() -> None:
    with pytest.raises(LotusDecodeError, match="pushed"):
        await LotusClient(FakeTransport({"MpoolPush": C})).mpool_push(SIGNED)


async def test_another_block_than_asked_for_is_refused() -> None:
    with pytest.raises(LotusDecodeError, match="asked for"):
        await LotusClient(FakeTransport({"ChainGetBlock": TIPSET["Blocks"][0]})).block(
            Cid.parse(CID)
        )


def events_node(at_heights: list[int], limit: int) -> Callable[[dict[str, Any]], Any]:
    """A node with one event per listed height and Lotus' two limits."""

    def answer(asked: dict[str, Any]) -> Any:
        low, high = asked["fromHeight"], asked["toHeight"]
        if high - low > 2880:
            raise LotusRpcError("GetActorEventsRaw", 1, "invalid epoch range: too many")
        hits = [height for height in at_heights if low <= height <= high]
        if len(hits) > limit:
            raise LotusRpcError("GetActorEventsRaw", 1, "filter matches too many events")
        return [{**EVENT, "height": height} for height in hits] or None

    return answer


async def test_events_of_a_long_range_come_once_each_and_in_order() -> None:
    heights = [0, 1, 2879, 2880, 2881, 5759, 5760, *range(6000, 6040), 9999, 10_000]
    transport = FakeTransport({"GetActorEventsRaw": events_node(heights, limit=3)})
    found = await LotusClient(transport).actor_events(
        [Address.of_id(6)], {"$type": ["claim"]}, Epoch(0), Epoch(10_000)
    )
    assert [event.height for event in found] == heights
    widths = [call[1][0]["toHeight"] - call[1][0]["fromHeight"] for call in transport.calls]
    assert max(widths) < 2880


async def test_one_epoch_with_too_many_events_is_an_error_not_an_endless_loop() -> None:
    transport = FakeTransport({"GetActorEventsRaw": events_node([7, 7, 7], limit=2)})
    with pytest.raises(LotusRpcError, match="too many"):
        await LotusClient(transport).actor_events([Address.of_id(6)], {}, Epoch(0), Epoch(20))
    assert len(transport.calls) < 12


async def test_switched_off_events_say_how_to_switch_them_on() -> None:
    def refuse(_: Any) -> Any:
        raise LotusNotSupported("GetActorEventsRaw", 1, "module disabled")

    transport = FakeTransport({"GetActorEventsRaw": refuse})
    with pytest.raises(LotusNotSupported, match="EnableActorEventsAPI and"):
        await LotusClient(transport).actor_events([], {}, Epoch(0), Epoch(20))


def a_node(**other: Any) -> FakeTransport:
    return FakeTransport(
        {
            "StateNetworkName": "localnet",
            "ChainGetGenesis": TIPSET,
            "Version": {"Version": "1.36.2", "APIVersion": 131840, "BlockDelay": 4},
            "StateGetNetworkParams": PARAMS,
            "ChainHead": TIPSET,
            "AuthVerify": ["read", "write"],
            "StateNetworkVersion": 28,
            "GetActorEventsRaw": None,
            "ChainGetFinalizedTipSet": TIPSET,
            **other,
        }
    )


async def test_a_probe_finds_out_what_the_node_is() -> None:
    found = await LotusClient(a_node(), token=Secret("t")).probe()
    assert (found.network_name, found.genesis) == ("localnet", KEY.cids[0])
    assert (found.network_version, found.chain_id) == (28, 31415926)
    assert (found.permissions, found.has_actor_events) == (("read", "write"), True)
    assert found.address_prefix == "f"  # the recorded tipset is mainnet's
    assert found.version.version == "1.36.2"


async def test_a_probe_without_a_token_has_read_and_does_not_ask() -> None:
    transport = a_node()
    found = await LotusClient(transport).probe()
    assert found.permissions == ("read",)
    assert "Filecoin.AuthVerify" not in [method for method, _ in transport.calls]


@pytest.mark.parametrize(
    ("error", "expected"),
    [(LotusNotSupported("m", 1, "module disabled"), False), (LotusRpcError("m", 1, "oops"), None)],
)
async def test_a_probe_tells_switched_off_events_from_unknown(
    error: Exception, expected: bool | None
) -> None:
    def refuse(_: Any) -> Any:
        raise error

    found = await LotusClient(a_node(GetActorEventsRaw=refuse)).probe()
    assert found.has_actor_events is expected


async def test_a_node_of_another_network_or_genesis_is_refused() -> None:
    found = await LotusClient(a_node()).probe()
    check_network(found, network_name="localnet", genesis=KEY.cids[0])
    check_network(found)
    with pytest.raises(LotusWrongNetwork, match="calibnet"):
        check_network(found, network_name="calibnet")
    with pytest.raises(LotusWrongNetwork, match="genesis"):
        check_network(found, network_name="localnet", genesis=Cid.parse(CID))


@pytest.mark.parametrize(
    ("asked", "own"), [("calibnet", "calibrationnet"), ("mainnet", "testnetnet"), ("mainnet", "mainnet")]
)  # fmt: skip
async def test_the_usual_name_of_a_network_stands_for_its_own(asked: str, own: str) -> None:
    found = await LotusClient(a_node(StateNetworkName=own)).probe()
    check_network(found, network_name=asked)


async def test_the_miner_client_asks_what_lotus_miner_answers() -> None:
    status = {"SectorID": 9, "State": "Proving", "CommD": None, "Ticket": {"Value": None}, "SealProof": 8, "Pieces": None}  # fmt: skip
    transport = FakeTransport(
        {"ActorAddress": "t01000", "SectorsList": [1, 9], "SectorsStatus": status}
    )
    async with MinerClient(transport) as miner:
        assert await miner.actor_id() == 1000
        assert await miner.sectors() == [1, 9]
        assert (await miner.sector_status(SectorNumber(9))).pieces == ()
    counts = load("parameter_counts.json")
    for method, params in transport.calls:
        assert len(params) == counts[method]
    assert transport.calls[-1] == ("Filecoin.SectorsStatus", [9, False])
