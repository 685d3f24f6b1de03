"""JSON to values and back: real tipsets, Lotus' conventions, and answers that are wrong in every place."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotus_client import codec
from lotus_client.address import Address
from lotus_client.bitfield import BitField
from lotus_client.chain import BlockHeader, HeaderError, TipSet, TipSetKey
from lotus_client.cid import Cid
from lotus_client.errors import LotusDecodeError
from lotus_client.miner_client import sector_status_from_json
from lotus_client.transport.envelope import decode_json
from lotus_client.types import AllocationId, AttoFil, ClaimId
from tests.unit.lotus_client.chain_data import chain4, load

CID = "bafy2bzacea3wsdh6y3a36tb3skempjoxqpuyompjbmfeyf34fi3uy6uue42v4"
PIECE = "baga6ea4seaqhmk73sc4kewlkdwhxlrvr3eyqyvmky7hhr2v2shqjmrlylgk22fi"

# As the node prints them; the first two are real mainnet data from lotus PR #11631.
CLAIM = {"Provider": 1970213, "Client": 1948518, "Data": {"/": PIECE}, "Size": 34359738368, "TermMin": 1512000, "TermMax": 1771200, "TermStart": 2385954, "Sector": 110733}  # fmt: skip
ALLOCATION = {"Client": 215074, "Provider": 1353593, "Data": {"/": PIECE}, "Size": 17179869184, "TermMin": 1463040, "TermMax": 1555200, "Expiration": 2414101}  # fmt: skip
SECTOR = {"SectorNumber": 9, "SealProof": 8, "SealedCID": {"/": CID}, "Activation": 10101, "Expiration": 10102, "DealWeight": "0", "VerifiedDealWeight": "123456789012345678901234567890", "InitialPledge": "7", "ExpectedDayReward": None, "ExpectedStoragePledge": None, "PowerBaseEpoch": 10101, "ReplacedDayReward": None, "SectorKeyCID": None, "Flags": 2, "DailyFee": "5"}  # fmt: skip
MINER_INFO = {"Owner": "t01", "Worker": "t02", "NewWorker": "<empty>", "ControlAddresses": None, "WorkerChangeEpoch": -1, "PeerId": None, "Multiaddrs": None, "WindowPoStProofType": 8, "SectorSize": 34359738368, "WindowPoStPartitionSectors": 2349, "ConsensusFaultElapsed": -1, "PendingOwnerAddress": None, "Beneficiary": "t01", "BeneficiaryTerm": {"Quota": "0", "UsedQuota": "0", "Expiration": 0}, "PendingBeneficiaryTerm": None}  # fmt: skip
POWER = {"MinerPower": {"RawBytePower": "1", "QualityAdjPower": "10"}, "TotalPower": {"RawBytePower": "100", "QualityAdjPower": "1000"}, "HasMinPower": True}  # fmt: skip
ACTOR = {"Code": {"/": CID}, "Head": {"/": CID}, "Nonce": 3, "Balance": "17", "DelegatedAddress": None}  # fmt: skip
RECEIPT = {"ExitCode": 0, "Return": "Ynl0ZSBhcnJheQ==", "GasUsed": 9, "EventsRoot": None}
LOOKUP = {"Message": {"/": CID}, "Receipt": RECEIPT, "ReturnDec": None, "TipSet": [{"/": CID}], "Height": 10101}  # fmt: skip
EVENT = {"entries": [{"Flags": 3, "Key": "$type", "Codec": 81, "Value": "ZWNsYWlt"}], "emitter": "t06", "reverted": False, "height": 10101, "tipsetKey": [{"/": CID}], "msgCid": {"/": CID}}  # fmt: skip
PARAMS = {"NetworkName": "localnet", "BlockDelaySecs": 4, "ConsensusMinerMinPower": "2048", "PreCommitChallengeDelay": 10, "ForkUpgradeParams": {"UpgradeXxHeight": 200}, "Eip155ChainID": 31415926, "GenesisTimestamp": 1700000000}  # fmt: skip
SIGNATURE = {"Type": 1, "Data": "AAEC"}

ROUND_TRIPS: list[tuple[str, Any, Callable[[Any], Any], Callable[[Any], Any]]] = [
    ("claim", CLAIM, lambda raw: codec.claim_from_json(raw, ClaimId(1)), codec.claim_to_json),
    (
        "allocation",
        ALLOCATION,
        lambda raw: codec.allocation_from_json(raw, AllocationId(1)),
        codec.allocation_to_json,
    ),
    ("claims", {"100000": CLAIM}, codec.claims_from_json, codec.claims_to_json),
    ("allocations", {"1": ALLOCATION}, codec.allocations_from_json, codec.allocations_to_json),
    ("sector", SECTOR, codec.sector_from_json, codec.sector_to_json),
    (
        "miner info",
        MINER_INFO,
        codec.miner_info_from_json,
        lambda info: codec.miner_info_to_json(info, 2349, "t"),
    ),
    ("power", POWER, codec.miner_power_from_json, codec.miner_power_to_json),
    (
        "actor",
        ACTOR,
        codec.actor_state_from_json,
        lambda value: codec.actor_state_to_json(value, "t"),
    ),
    ("receipt", RECEIPT, codec.receipt_from_json, codec.receipt_to_json),
    ("lookup", LOOKUP, codec.message_lookup_from_json, codec.message_lookup_to_json),
    (
        "event",
        EVENT,
        codec.actor_event_from_json,
        lambda value: codec.actor_event_to_json(value, "t"),
    ),
    (
        "params",
        PARAMS,
        codec.network_params_from_json,
        lambda value: codec.network_params_to_json(value, 2048),
    ),
    ("signature", SIGNATURE, codec.signature_from_json, codec.signature_to_json),
    ("bitfield", [5, 1, 2, 3], codec.bitfield_from_json, codec.bitfield_to_json),
    (
        "tipset",
        load("tipset_mainnet.json"),
        codec.tipset_from_json,
        lambda value: codec.tipset_to_json(value, "f"),
    ),
    (
        "header",
        load("calibnet_block_3000.json"),
        codec.block_header_from_json,
        lambda value: codec.block_header_to_json(value, "t"),
    ),
]


@pytest.mark.parametrize(
    ("raw", "read", "print_"), [item[1:] for item in ROUND_TRIPS], ids=[r[0] for r in ROUND_TRIPS]
)
def test_what_a_node_prints_is_read_and_printed_the_same(
    raw: Any, read: Callable[[Any], Any], print_: Callable[[Any], Any]
) -> None:
    assert print_(read(raw)) == raw


def test_the_real_mainnet_tipset_hashes_to_its_cids() -> None:
    raw = load("tipset_mainnet.json")
    tipset = codec.tipset_from_json(raw)
    assert [str(block.cid) for block in tipset.blocks] == [cid["/"] for cid in raw["Cids"]]
    assert tipset.height == 4863283


def test_the_real_calibration_header_survives_its_bytes() -> None:
    header = codec.block_header_from_json(load("calibnet_block_3000.json"))
    assert header.height == 3000
    assert BlockHeader.from_cbor(header.to_cbor()) == header


def test_real_headers_survive_cbor_and_json_down_to_the_byte() -> None:
    found = 0
    for cid, block in chain4().items():
        try:
            header = BlockHeader.from_cbor(block)
        except HeaderError:
            continue
        found += 1
        assert header.cid == cid
        again = codec.block_header_from_json(codec.block_header_to_json(header, "f"))
        assert again == header
        tipset = TipSet(TipSetKey((cid,)), (header,), header.height)
        assert codec.tipset_from_json(codec.tipset_to_json(tipset, "t")) == tipset
    assert found == 4


@given(st.integers(0, 893), st.integers(1, 255))
def test_a_flipped_byte_of_a_real_header_is_never_taken_for_the_same_block(
    at: int, flip: int
) -> None:
    cid, block = next((cid, raw) for cid, raw in chain4().items() if len(raw) == 894)
    broken = bytearray(block)
    broken[at] ^= flip
    try:
        header = BlockHeader.from_cbor(bytes(broken))
    except HeaderError:
        return
    assert header.cid != cid


def test_a_tipset_whose_header_was_changed_is_refused_with_the_place() -> None:
    raw = copy.deepcopy(load("tipset_mainnet.json"))
    raw["Blocks"][0]["Timestamp"] += 1
    with pytest.raises(LotusDecodeError, match="hashes to") as caught:
        codec.tipset_from_json(raw, "ChainHead")
    assert caught.value.path == "ChainHead.Blocks[0]"


def places(value: Any) -> list[tuple[Any, ...]]:
    """The key sequences of every member inside a JSON value."""
    out: list[tuple[Any, ...]] = []

    def walk(inner: Any, at: tuple[Any, ...]) -> None:
        keys: Any = inner if isinstance(inner, dict) else range(len(inner)) if isinstance(inner, list) else ()  # fmt: skip
        for key in keys:
            out.append((*at, key))
            walk(inner[key], (*at, key))

    walk(value, ())
    return out


junk = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just([]),
    st.just({}), st.just([[]]), st.just({"/": 1}), st.just("9" * 5000), st.just(1 << 70), st.just(-1),
)  # fmt: skip


@pytest.mark.parametrize(
    ("raw", "read"), [item[1:3] for item in ROUND_TRIPS], ids=[item[0] for item in ROUND_TRIPS]
)
@given(data=st.data())
def test_junk_anywhere_in_an_answer_is_read_or_a_decode_error(
    raw: Any, read: Callable[[Any], Any], data: st.DataObject
) -> None:
    place = data.draw(st.sampled_from(places(raw)))
    broken = copy.deepcopy(raw)
    inner = broken
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = data.draw(junk)
    try:
        read(broken)
    except LotusDecodeError as error:
        assert error.path.startswith("$")  # noqa: PT017


@pytest.mark.parametrize("read", [item[2] for item in ROUND_TRIPS])
@given(raw=st.recursive(junk, lambda inner: st.lists(inner, max_size=3), max_leaves=4))
def test_any_json_is_read_or_a_decode_error(read: Callable[[Any], Any], raw: Any) -> None:
    try:
        read(raw)
    except LotusDecodeError as error:
        assert error.path.startswith("$")  # noqa: PT017


def test_an_error_names_the_whole_path() -> None:
    raw = copy.deepcopy({"7": CLAIM})
    raw["7"]["Data"] = {"/": "not a cid"}
    with pytest.raises(LotusDecodeError) as caught:
        codec.claims_from_json(raw, "StateGetClaims")
    assert caught.value.path == "StateGetClaims.7.Data./"


@pytest.mark.parametrize("size", [0, 127, 129, 1 << 64, 2.0, "2048", True])
def test_a_piece_size_that_is_no_power_of_two_is_refused(size: object) -> None:
    with pytest.raises(LotusDecodeError, match=r"Size"):
        codec.claim_from_json({**CLAIM, "Size": size}, ClaimId(1))


@pytest.mark.parametrize("raw", [None, []])
def test_go_s_null_is_an_empty_list(raw: Any) -> None:
    assert codec.actor_events_from_json(raw) == []
    assert codec.actor_events_to_json([], "t") is None
    assert codec.tipset_key_from_json(raw) == TipSetKey()
    assert codec.bitfield_from_json(raw) == BitField()


@pytest.mark.parametrize(
    ("text", "atto"), [("", 0), ("0", 0), ("-5", -5), ("1" + "0" * 30, 10**30)]
)
def test_big_numbers_are_texts(text: str, atto: int) -> None:
    assert codec.amount_from_json(text) == AttoFil(atto)


@pytest.mark.parametrize(
    "raw", [None, True, 5.0, 1 << 2000, "1.5", "1e3", "٣", "-", "0x10", "9" * 5000]
)
def test_a_big_number_of_another_form_is_refused(raw: object) -> None:
    with pytest.raises(LotusDecodeError):
        codec.amount_from_json(raw)


@pytest.mark.parametrize("raw", [None, "", "<empty>"])
def test_an_undefined_address_is_none(raw: object) -> None:
    assert codec.optional_address_from_json(raw) is None
    assert codec.address_to_json(None, "t") == "<empty>"


def test_either_network_prefix_is_read() -> None:
    assert codec.address_from_json("f06") == codec.address_from_json("t06") == Address.of_id(6)


def test_a_sector_from_before_flags_and_fees_reads_them_as_zero() -> None:
    old = {key: value for key, value in SECTOR.items() if key not in ("Flags", "DailyFee")}
    sector = codec.sector_from_json(old)
    assert (sector.flags, sector.daily_fee) == (0, AttoFil(0))


def test_an_event_filter_has_the_published_form() -> None:
    asked = codec.event_filter_to_json(
        [Address.of_id(6)],
        {"$type": ["claim"], "provider": [1000]},
        from_height=1010,  # type: ignore[arg-type]
        to_height=1020,  # type: ignore[arg-type]
        prefix="f",
    )
    assert asked == {
        "addresses": ["f06"],
        "fields": {
            "$type": [{"codec": 81, "value": "ZWNsYWlt"}],
            "provider": [{"codec": 81, "value": "GQPo"}],
        },
        "fromHeight": 1010,
        "toHeight": 1020,
    }


def test_a_key_without_values_is_refused_since_it_would_match_nothing() -> None:
    with pytest.raises(ValueError, match="provider"):
        codec.event_filter_to_json([], {"provider": []}, from_height=0, to_height=1, prefix="t")  # type: ignore[arg-type]


def test_a_hostile_bitfield_stays_small() -> None:
    field = codec.bitfield_from_json([0, 1 << 62])
    assert field.count == 1 << 62
    assert (1 << 61) in field
    with pytest.raises(LotusDecodeError):
        codec.bitfield_from_json([0, 1 << 63, 1 << 63, 1 << 63])


def test_funds_and_rewards_are_read_from_state_json() -> None:
    state = {"PreCommitDeposits": "1", "LockedFunds": "2", "FeeDebt": "3", "InitialPledge": "4", "ProvingPeriodStart": -5}  # fmt: skip
    funds = codec.miner_funds_from_json({"Balance": "9", "Code": {"/": CID}, "State": state})
    assert (funds.balance, funds.locked_funds, funds.fee_debt) == (AttoFil(9), AttoFil(2), AttoFil(3))  # fmt: skip
    assert funds.proving_period_start == -5
    reward = codec.reward_state_from_json({"State": {"ThisEpochReward": "7", "Epoch": 3, "TotalStoragePowerReward": "8"}})  # fmt: skip
    assert (reward.this_epoch_reward, reward.epoch) == (AttoFil(7), 3)


def test_pieces_of_a_sector_lie_one_behind_the_other_with_fillers_counted() -> None:
    def piece(size: int, deal: Any) -> dict[str, Any]:
        return {"Piece": {"Size": size, "PieceCID": {"/": PIECE}}, "DealInfo": deal}

    ddo = {"DealID": 0, "DealProposal": None, "PieceActivationManifest": {"VerifiedAllocationKey": {"Client": 100, "ID": 7}}}  # fmt: skip
    market = {"DealID": 5432, "DealProposal": {"PieceSize": 2048}, "PieceActivationManifest": None}
    status = sector_status_from_json(
        {
            "SectorID": 9,
            "State": "Proving",
            "CommD": {"/": PIECE},
            "Ticket": {"Value": "Bw==", "Epoch": 1},
            "SealProof": 8,
            "Pieces": [piece(1024, ddo), piece(1024, None), piece(2048, market)],
        }
    )
    assert [found.offset for found in status.pieces] == [0, 1024, 2048]
    assert [found.is_filler for found in status.pieces] == [False, True, False]
    assert [found.allocation for found in status.pieces] == [(100, 7), None, None]
    assert [found.deal_id for found in status.pieces] == [None, None, 5432]
    assert status.ticket == b"\x07"
    assert str(status.comm_d) == PIECE


def test_a_trace_may_nest_as_deep_as_the_fvm_and_an_endless_answer_is_refused() -> None:
    usual = sys.getrecursionlimit()
    deep = '{"Subcalls":[' * 1024 + "]}" * 1024
    traced = decode_json("StateCompute", deep)
    with pytest.raises(LotusDecodeError, match="deeply"):
        decode_json("StateCompute", "[" * 1_000_000)
    assert sys.getrecursionlimit() == usual
    with pytest.raises(LotusDecodeError, match="object of 1"):
        codec.amount_from_json(traced)


def test_what_we_print_is_json_text() -> None:
    for _, raw, read, print_ in ROUND_TRIPS:
        assert json.loads(json.dumps(print_(read(raw)))) == raw


def test_a_cid_prints_as_a_link() -> None:
    assert codec.cid_to_json(Cid.parse(CID)) == {"/": CID}


@pytest.mark.parametrize(("raw", "amount"), [("12", 12), (12, 12), ("", 0), (0, 0), (-3, -3)])
def test_an_amount_may_be_a_bare_number_as_some_nodes_print_it(raw: Any, amount: int) -> None:
    assert codec.At(raw, "$").big() == amount
