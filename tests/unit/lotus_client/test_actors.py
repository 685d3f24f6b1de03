from __future__ import annotations

import pytest

from lotus_client import cbor
from lotus_client.actors import (
    ParamsError,
    datacap,
    events,
    methods,
    miner,
    multisig,
    system,
    verifreg,
)
from lotus_client.actors.wire import BatchReturn, Wire
from lotus_client.address import Address
from lotus_client.bitfield import BitField
from lotus_client.cid import (
    FIL_COMMITMENT_SEALED,
    FIL_COMMITMENT_UNSEALED,
    POSEIDON_BLS12_381_A2_FC1,
    SHA2_256_TRUNC254_PADDED,
    Cid,
)
from lotus_client.types import AttoFil

# Bytes come from builtin-actors' own tests (MIT/Apache-2.0) or follow its layouts with invented values.
PIECE = Cid.of_digest(FIL_COMMITMENT_UNSEALED, SHA2_256_TRUNC254_PADDED, bytes(range(32)))
PIECE_HEX = "d82a5828000181e203922020" + bytes(range(32)).hex()
SEALED = Cid.of_digest(FIL_COMMITMENT_SEALED, POSEIDON_BLS12_381_A2_FC1, bytes(range(32)))
SEALED_HEX = "d82a5829000182e20381e80220" + bytes(range(32)).hex()


def short_cid(digest: str) -> Cid:
    return Cid(bytes.fromhex("0181e203922001" + digest))


REQUEST = verifreg.AllocationRequest(1000, PIECE, 1 << 20, 518400, 5256000, 100000)
REQUESTS_HEX = f"8281861903e8{PIECE_HEX}1a001000001a0007e9001a005033401a000186a080"
ADD_VERIFIER = bytes.fromhex("82420065480004000000000000")
CALL = multisig.ProposeParams(Address.of_id(6), AttoFil(0), 2, ADD_VERIFIER)

GOLDEN: list[tuple[Wire, str]] = [
    (verifreg.DatacapParams(Address.of_id(101), 1 << 50), ADD_VERIFIER.hex()),
    (CALL, "8442000640024d82420065480004000000000000"),
    (multisig.TxnIdParams(0), "820040"),
    (multisig.ProposeReturn(0, False, 0, b""), "8400f40040"),
    (multisig.ProposeReturn(0, True, 0, b""), "8400f50040"),
    (multisig.ApproveReturn(True, 0, b""), "83f50040"),
    (multisig.ApproveReturn(False, 0, b""), "83f40040"),
    (
        multisig.ConstructorParams((Address.of_id(100), Address.of_id(101)), 2),
        "8482420064420065020000",
    ),
    (verifreg.RemoveExpiredParams(101, (1,)), "8218658101"),
    (verifreg.RemoveExpiredParams(101), "82186580"),
    (
        verifreg.RemoveExpiredAllocationsReturn((1,), BatchReturn(1), 1 << 20),
        "8381018201804400100000",
    ),
    (
        verifreg.ExtendClaimTermsParams((verifreg.ClaimTerm(1000, 1, 5256000),)),
        "8181831903e8011a00503340",
    ),
    (BatchReturn(1), "820180"),
    (BatchReturn(0, ((0, 16),)), "820081820010"),
    (
        verifreg.ClaimAllocationsParams(
            (
                verifreg.SectorAllocationClaims(
                    101,
                    202,
                    (
                        verifreg.AllocationClaim(303, 401, short_cid("01"), 505),
                        verifreg.AllocationClaim(606, 707, short_cid("01"), 808),
                    ),
                ),
                verifreg.SectorAllocationClaims(303, 404, ()),
            ),
            True,
        ),
        "82828318651 8ca82".replace(" ", "")
        + "8419012f190191d82a49000181e2039220010119 01f9".replace(" ", "")
        + "8419025e1902c3d82a49000181e20392200101190328"
        + "8319012f19019480f5",
    ),
    (verifreg.ClaimAllocationsParams((), False), "8280f4"),
    (
        verifreg.ClaimAllocationsParams((verifreg.SectorAllocationClaims(101, 202, ()),), True),
        "828183186518ca80f5",
    ),
    (verifreg.ClaimAllocationsReturn(BatchReturn(1), (1 << 20,)), "82820180814400100000"),
    (verifreg.AllocationRequests((REQUEST,)), REQUESTS_HEX),
    (
        datacap.TransferParams(Address.of_id(6), 2**20 * 10**18, bytes.fromhex(REQUESTS_HEX)),
        f"834200064b00de0b6b3a7640000000005847{REQUESTS_HEX}",
    ),
    (
        verifreg.AllocationsResponse(BatchReturn(1), BatchReturn(0), (1,)),
        "838201808200808101",
    ),
    (
        datacap.TransferReturn(0, 2**20 * 10**18, bytes.fromhex("838201808200808101")),
        "83404b00de0b6b3a76400000000049838201808200808101",
    ),
    (
        datacap.ReceiverParams(101, 6, 101, 2**20 * 10**18, bytes.fromhex(REQUESTS_HEX)),
        "821a85223bdf585c8618650618654b00de0b6b3a7640000000005847" + REQUESTS_HEX + "40",
    ),
    (
        miner.ProveCommitSectorsParams(
            (
                miner.SectorActivationManifest(
                    7,
                    (
                        miner.PieceActivationManifest(
                            PIECE, 1 << 20, miner.VerifiedAllocationKey(101, 1)
                        ),
                        miner.PieceActivationManifest(
                            PIECE,
                            1 << 20,
                            notify=(
                                miner.DataActivationNotification(Address.of_id(5), b"\x18\x2a"),
                            ),
                        ),
                    ),
                ),
            ),
            (b"\xaa\xbb",),
            require_activation_success=True,
        ),
        f"868182078284{PIECE_HEX}1a001000008218650180"
        f"84{PIECE_HEX}1a00100000f681824200054218 2a8142aabb40f6f5f4".replace(" ", ""),
    ),
    (
        miner.SubmitWindowedPoStParams(
            3, (miner.PoStPartition(0),), ((10, b"\xaa\xbb"),), 1200, bytes(32)
        ),
        "85038182004081820a42aabb1904b05820" + bytes(32).hex(),
    ),
    (
        miner.SectorDeclarations((miner.SectorDeclaration(3, 0, BitField.from_ints([1])),)),
        "81818303004118",
    ),
    (miner.WithdrawBalanceParams(AttoFil(10**18)), "8149000de0b6b3a7640000"),
    (miner.ApplyRewardsParams(AttoFil(10**18), AttoFil(0)), "8249000de0b6b3a764000040"),
    (
        system.AwardBlockRewardParams(Address.of_id(1000), AttoFil(0), AttoFil(12345), 1),
        "844300e807404300303901",
    ),
]
EXPIRY = 0x17BB00
GOLDEN += [
    (
        miner.PreCommitSectorBatchParams(
            (miner.SectorPreCommitInfo(5, 7, SEALED, 900, EXPIRY, PIECE),)
        ),
        f"8181870507{SEALED_HEX}190384801a0017bb00{PIECE_HEX}",
    ),
    (
        miner.PreCommitSectorBatchParams(
            (miner.SectorPreCommitInfo(5, 7, SEALED, 900, EXPIRY, None),)
        ),
        f"8181870507{SEALED_HEX}190384801a0017bb00f6",
    ),
]


@pytest.mark.parametrize(("value", "wire"), GOLDEN)
def test_params_encode_and_decode_as_the_actors_do(value: Wire, wire: str) -> None:
    assert value.to_cbor().hex() == wire
    assert type(value).from_cbor(bytes.fromhex(wire)) == value


@pytest.mark.parametrize(("value", "wire"), GOLDEN)
def test_a_missing_or_extra_field_is_refused(value: Wire, wire: str) -> None:
    decoded = cbor.decode(bytes.fromhex(wire))
    assert isinstance(decoded, list)
    for broken in (decoded[:-1], [*decoded, 0], None, 7):
        with pytest.raises(ParamsError):
            type(value).from_cbor(cbor.encode(broken))
    with pytest.raises(ParamsError):
        type(value).from_cbor(bytes.fromhex(wire) + b"\x00")


def test_the_proposal_hash_is_the_multisigs() -> None:
    expected = "5a38784ac218f05c537780df2907fb20cabb05bdedb1c9571be2eb2ed3975ebd"
    assert multisig.proposal_hash(Address.of_id(100), CALL).hex() == expected


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (methods.DatacapMethod.TRANSFER, "Transfer"),
        (methods.DatacapMethod.BALANCE, "Balance"),
        (methods.DatacapMethod.MINT, "Mint"),
        (methods.DatacapMethod.BURN, "Burn"),
        (methods.DatacapMethod.NAME, "Name"),
        (methods.VerifregMethod.RECEIVE, "Receive"),
        (methods.VerifregMethod.ADD_VERIFIED_CLIENT_EXPORTED, "AddVerifiedClient"),
        (methods.VerifregMethod.EXTEND_CLAIM_TERMS_EXPORTED, "ExtendClaimTerms"),
        (methods.MinerMethod.WITHDRAW_BALANCE_EXPORTED, "WithdrawBalance"),
        (methods.MarketMethod.SECTOR_CONTENT_CHANGED, "SectorContentChanged"),
        (methods.PowerMethod.CREATE_MINER_EXPORTED, "CreateMiner"),
        (methods.FRC46_TOKEN, "FRC46"),
    ],
)
def test_exported_method_numbers_follow_frc42(number: int, name: str) -> None:
    assert methods.frc42_method(name) == number


def test_the_verifier_balance_event_has_the_actors_bytes() -> None:
    entries = events.entries_value(events.verifier_balance_event(101, 1 << 50, 102))
    assert cbor.encode([6, entries]).hex() == (
        "82068484036524747970651851517076657269666965722d62616c616e636584036876657269666965721851"
        "42186584016762616c616e6365185149480004000000000000840366636c69656e741851421866"
    )


def test_sector_events_list_pieces_in_pairs_and_null_without_data() -> None:
    entries = events.sector_content_event("sector-activated", 7, None, [(PIECE, 2048)])
    assert [entry.key for entry in entries] == [
        "$type", "sector", "unsealed-cid", "piece-cid", "piece-size",
    ]  # fmt: skip
    assert [entry.flags for entry in entries] == [3, 3, 3, 3, 1]
    assert entries[2].value == b"\xf6"


@pytest.mark.parametrize(
    ("numbers", "wire"),
    [
        ([], ""), ([0], "0c"), ([1], "18"), ([0, 1], "54"), ([0, 1, 2, 3], "94"), ([5], "b002"),
        ([100], "802c"),
    ],
)  # fmt: skip
def test_declared_sectors_have_their_rle_plus_bytes(numbers: list[int], wire: str) -> None:
    field = BitField.from_ints(numbers)
    declared = miner.SectorDeclarations((miner.SectorDeclaration(0, 0, field),))
    assert declared.to_cbor().hex().endswith(wire)
    assert miner.SectorDeclarations.from_cbor(declared.to_cbor()) == declared


def test_a_bitfield_that_ends_in_a_zero_byte_is_refused() -> None:
    with pytest.raises(ParamsError, match="zero byte"):
        miner.SectorDeclarations.from_cbor(cbor.encode([[[0, 0, b"\x0c\x00"]]]))
