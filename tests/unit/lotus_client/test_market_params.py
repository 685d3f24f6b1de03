"""Golden bytes of the market's and the miner's newer params: layouts of builtin-actors v18, invented values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotus_client import cbor
from lotus_client.actors import (
    datacap,
    events,
    market,
    market_sectors,
    miner_keys,
    miner_updates,
    multisig,
)
from lotus_client.actors.methods import MarketMethod, MinerMethod, PowerMethod, frc42_method
from lotus_client.actors.miner import (
    DataActivationNotification,
    PieceActivationManifest,
    VerifiedAllocationKey,
)
from lotus_client.actors.wire import BatchReturn, ParamsError, Wire
from lotus_client.address import Address
from lotus_client.bitfield import BitField
from lotus_client.types import AttoFil
from tests.unit.lotus_client.test_actors import PIECE, PIECE_HEX, SEALED, SEALED_HEX

FIL = AttoFil(10**18)
PROPOSAL = market.DealProposal(
    PIECE, 1 << 20, True, Address.of_id(101), Address.of_id(1000), "label", 2000, 520400
)
PROPOSAL_HEX = f"8b{PIECE_HEX}1a00100000f54200654300e807656c6162656c1907d01a0007f0d0404040"

GOLDEN: list[tuple[Wire, str]] = [
    (PROPOSAL, PROPOSAL_HEX),
    (market.PublishStorageDealsReturn((0,), BitField.from_ints([0])), "828100410c"),
    (
        market.PublishStorageDealsParams((market.ClientDealProposal(PROPOSAL, b"\x01\xaa"),)),
        f"818182{PROPOSAL_HEX}4201aa",
    ),
    (market.MarketWithdrawParams(Address.of_id(101), FIL), "8242006549000de0b6b3a7640000"),
    (market.MarketBalance(FIL, AttoFil(0)), "8249000de0b6b3a764000040"),
    (market.MarketNotifyDealParams(b"\xaa", 7), "8241aa07"),
    (
        market_sectors.SettleDealPaymentsReturn(
            BatchReturn(1), (market_sectors.DealSettlement(AttoFil(0), completed=False),)
        ),
        "82820180818240f4",
    ),
    (
        market_sectors.SectorContentChangedParams(
            (
                market_sectors.SectorChanges(
                    7, 1555200, (market_sectors.PieceChange(PIECE, 1 << 20, b"\x18\x2a"),)
                ),
            )
        ),
        f"8183071a0017bb008183{PIECE_HEX}1a0010000042182a",
    ),
    (market_sectors.SectorContentChangedReturn(((True,),)), "8181f5"),
    (
        market_sectors.VerifyDealsForActivationParams(
            (market_sectors.SectorDeals(7, 5, 1555200, (1, 2)),)
        ),
        "81818407051a0017bb00820102",
    ),
    (market_sectors.VerifyDealsForActivationReturn((PIECE, None)), f"8182{PIECE_HEX}f6"),
    (
        market_sectors.BatchActivateDealsParams(
            (market_sectors.SectorDeals(7, 5, 1555200, ()),), compute_cid=True
        ),
        "82818407051a0017bb0080f5",
    ),
    (
        market_sectors.BatchActivateDealsReturn(
            BatchReturn(1),
            (
                market_sectors.SectorDealActivation(
                    (market_sectors.ActivatedDeal(101, 0, PIECE, 128),), None
                ),
            ),
        ),
        f"8282018081828184186500{PIECE_HEX}1880f6",
    ),
    (market_sectors.OnMinerSectorsTerminateParams(9, BitField.from_ints([1])), "82094118"),
    (
        miner_keys.ChangeBeneficiaryParams(Address.of_id(102), FIL, 200000),
        "8342006649000de0b6b3a76400001a00030d40",
    ),
    (miner_keys.ChangeWorkerAddressParams(Address.of_id(101)), "8242006580"),
    (miner_keys.ChangePeerIdParams(b"\xaa"), "8141aa"),
    (miner_keys.ChangeMultiaddrsParams((b"\xaa",)), "818141aa"),
    (
        miner_keys.GetBeneficiaryReturn(
            miner_keys.ActiveBeneficiary(Address.of_id(101), AttoFil(0), AttoFil(0), 0)
        ),
        "8282420065" + "83404000" + "f6",
    ),
    (
        miner_updates.ProveReplicaUpdatesParams(
            (
                miner_updates.SectorUpdateManifest(
                    7,
                    3,
                    0,
                    SEALED,
                    (PieceActivationManifest(PIECE, 1 << 20, VerifiedAllocationKey(101, 1)),),
                ),
            ),
            (b"\xaa\xbb",),
            update_proofs_type=5,
            require_activation_success=True,
        ),
        f"878185070300{SEALED_HEX}8184{PIECE_HEX}1a0010000082186501808142aabb4005f6f5f4",
    ),
    (
        miner_updates.ExtendSectorExpirationParams(
            (
                miner_updates.ExpirationExtension(
                    3,
                    0,
                    BitField.from_ints([1]),
                    (miner_updates.SectorClaim(7, (1,), ()),),
                    1600000,
                ),
            )
        ),
        "818185030041188183078101801a00186a00",
    ),
    (multisig.AddSignerParams(Address.of_id(101), change=True), "82420065f5"),
    (multisig.SwapSignerParams(Address.of_id(101), Address.of_id(102)), "82420065420066"),
    (multisig.ChangeThresholdParams(2), "8102"),
    (multisig.LockBalanceParams(5, 10, FIL), "83050a49000de0b6b3a7640000"),
    (
        datacap.TransferFromParams(Address.of_id(101), Address.of_id(6), 10**18, b"\xaa"),
        "8442006542000649000de0b6b3a764000041aa",
    ),
    (
        datacap.TransferFromReturn(0, 10**18, 0, b""),
        "844049000de0b6b3a76400004040",
    ),
    (datacap.AllowanceQuery(Address.of_id(101), Address.of_id(5)), "82420065420005"),
    (datacap.AllowanceChange(Address.of_id(5), 0), "8242000540"),
    (datacap.RevokeAllowanceParams(Address.of_id(5)), "81420005"),
    (datacap.BurnFromParams(Address.of_id(101), 0), "8242006540"),
    (datacap.BurnFromReturn(0, 0), "824040"),
]


@pytest.mark.parametrize(("value", "encoded"), GOLDEN, ids=lambda one: type(one).__name__)
def test_params_and_returns_have_the_actors_bytes(value: Wire, encoded: str) -> None:
    assert value.to_cbor().hex() == encoded
    assert type(value).from_cbor(bytes.fromhex(encoded)) == value


@pytest.mark.parametrize(("value", "encoded"), GOLDEN, ids=lambda one: type(one).__name__)
def test_cut_bytes_are_refused(value: Wire, encoded: str) -> None:
    with pytest.raises(ParamsError):
        type(value).from_cbor(bytes.fromhex(encoded)[:-1])


def test_a_deal_has_the_cid_of_its_proposal() -> None:
    expected = "0171a0e402203736614375382a9a9ba310b4ebbff07d9d39836e9a12c892aefa36acb6d0ddff"
    assert PROPOSAL.cid.raw.hex() == expected


def test_a_manifest_may_tell_the_market_of_its_deal() -> None:
    notice = DataActivationNotification(Address.of_id(5), bytes.fromhex("182a"))
    piece = PieceActivationManifest(PIECE, 1 << 20, None, (notice,))
    assert piece.to_cbor().hex() == f"84{PIECE_HEX}1a00100000f6818242000542182a"


@pytest.mark.parametrize("enum", [MarketMethod, MinerMethod, PowerMethod])
def test_exported_numbers_are_hashes_of_their_names(enum: type[MarketMethod]) -> None:
    for method in enum:
        if method >= 1 << 24:
            words = method.name.removesuffix("_EXPORTED").split("_")
            name = "".join(word.capitalize() for word in words).replace("PeerId", "PeerID")
            assert frc42_method(name) == method


@given(st.one_of(st.text(max_size=40), st.binary(max_size=40)), st.integers(0, 10**27))
def test_labels_of_text_and_bytes_stay_what_they_are(label: str | bytes, price: int) -> None:
    deal = market.DealProposal(
        PIECE, 128, False, Address.of_id(1), Address.of_id(2), label, 1, 2, AttoFil(price)
    )
    assert market.DealProposal.from_cbor(deal.to_cbor()) == deal


def test_a_deal_event_has_the_actors_bytes() -> None:
    entries = events.entries_value(events.deal_event("deal-published", 42, 101, 1000))
    assert cbor.encode(entries).hex() == (
        "84" "840365247479706518514f6e6465616c2d7075626c6973686564"
        "840362696418514218" "2a" "840366636c69656e741851421865"
        "84036870726f7669646572185143" "1903e8"
    )  # fmt: skip
