"""A devnet with something in every corner, and the names of what is there, for calls that answer with content."""

from __future__ import annotations

import base64
import uuid
from dataclasses import dataclass
from typing import Any

from devstack.chain.states import CODE_CIDS
from devstack.datacap import allocate_piece, grant_datacap
from devstack.deals import DealTerms, publish_deal
from devstack.stack import Devstack
from lotus_client import cbor
from lotus_client.actors.methods import (
    INIT,
    MARKET,
    InitMethod,
    MarketMethod,
    MinerMethod,
    MultisigMethod,
)
from lotus_client.actors.miner import SectorDeclaration, SectorDeclarations
from lotus_client.actors.multisig import ConstructorParams, ProposeParams
from lotus_client.actors.system import CreatedActor, ExecParams
from lotus_client.address import Address
from lotus_client.bitfield import BitField
from lotus_client.cbor import encode
from lotus_client.chain import TipSetKey
from lotus_client.cid import Cid, dag_cbor_cid
from lotus_client.messages import Message, SignedMessage
from lotus_client.types import AttoFil, Epoch, PaddedPieceSize, SectorNumber

FIL = 10**18


def link(cid: Cid) -> dict[str, str]:
    """A CID as JSON."""
    return {"/": str(cid)}


def links(key: TipSetKey) -> list[dict[str, str]]:
    """A tipset key as JSON."""
    return [link(cid) for cid in key]


def text64(data: bytes) -> str:
    """Bytes as JSON."""
    return base64.b64encode(data).decode()


@dataclass(frozen=True, slots=True)
class World:
    """What the calls of the cases name. Tipset keys and CIDs are JSON already."""

    net: Devstack
    client: str
    claim: int
    pending_allocation: int
    sector: int  # committed, with the claim
    precommitted: int  # not yet proven
    faulty: int  # of the genesis miner
    msig: str
    commit: dict[str, str]  # the ProveCommitSectors3 message
    commit_params: str
    propose: dict[str, str]
    executed: list[dict[str, str]]  # the tipset whose state has the commit's effects
    included: list[dict[str, str]]  # the one that includes it
    height: Epoch  # of `included`
    events_root: dict[str, str]
    deal: int  # verified, published, not active: its allocation is pending
    deal_cid: dict[str, str]

    @property
    def head(self) -> list[dict[str, str]]:
        """The head's key, now."""
        return links(self.net.network.head.key)

    @property
    def miner(self) -> str:
        """The provider's miner actor."""
        return str(self.net.provider.miner)

    @property
    def genesis_miner(self) -> str:
        """The miner of the first blocks."""
        return str(self.net.network.genesis_miner)

    def account(self, name: str) -> str:
        """An account's key address."""
        return str(self.net.network.key(name).address)

    def message(self, nonce: int = 0, **changes: Any) -> dict[str, Any]:
        """An unsigned transfer from alice to bob."""
        return {
            "Version": 0, "To": self.account("bob"), "From": self.account("alice"), "Nonce": nonce, "Value": "1",
            "GasLimit": 0, "GasFeeCap": "0", "GasPremium": "0", "Method": 0, "Params": None,
        } | changes  # fmt: skip

    def signed(self, sender: str = "bob", ahead: int = 0) -> dict[str, Any]:
        """A signed transfer that the mempool takes now, `ahead` nonces behind the next one."""
        network = self.net.network
        key = network.key(sender)
        message = Message(
            to=network.key("alice").address,
            from_=key.address,
            nonce=network.mpool.next_nonce(key.address) + ahead,
            value=AttoFil(1),
        )
        return signed_json(network.estimate_gas(message).signed_by(key))


def signed_json(signed: SignedMessage) -> dict[str, Any]:
    """A signed message as it is pushed."""
    message = signed.message
    return {
        "Message": {
            "Version": 0, "To": str(message.to), "From": str(message.from_), "Nonce": message.nonce,
            "Value": str(message.value), "GasLimit": message.gas_limit,
            "GasFeeCap": str(message.gas_fee_cap), "GasPremium": str(message.gas_premium),
            "Method": message.method, "Params": text64(message.params) if message.params else None,
        },
        "Signature": {"Type": int(signed.signature.type), "Data": text64(signed.signature.data)},
    }  # fmt: skip


async def build_world(net: Devstack) -> World:
    """Claims, allocations, sectors in each stage, faults, a multisig with a waiting call, waiting messages."""
    network, provider = net.network, net.provider
    alice = network.key("alice")
    await grant_datacap(net.node, alice.address, 1 << 30)
    claimed, waiting = [
        await allocate_piece(
            net.node,
            alice,
            provider.miner,
            piece.commitment.piece_cid,
            PaddedPieceSize(piece.commitment.padded_size),
        )
        for piece in [await provider.stage_piece(data * 1000) for data in (b"first", b"second")]
    ]
    sector = await provider.add_piece(b"first" * 1000, claimed)
    msig, propose = _make_msig(net)
    await net.advance(60)
    faulty, _ = _declare_faults(net)
    await net.advance(3)
    precommitted = await provider.add_sector()
    await net.advance(5)
    found = network.search_message(sector.messages["commit"])
    assert found is not None
    executed = network.tipset(found.tipset)
    included = network.tipset(executed.parents)
    assert found.receipt.events_root is not None
    deal, deal_cid = await _publish_deal(net)
    network.send("alice", network.key("bob").address, value=AttoFil(1))
    commit = network.message(sector.messages["commit"]).message
    return World(
        net,
        str(alice.address),
        claimed,
        waiting,
        sector.number,
        precommitted.number,
        faulty,
        str(msig),
        link(sector.messages["commit"]),
        text64(commit.params),
        link(propose),
        links(executed.key),
        links(included.key),
        included.height,
        link(found.receipt.events_root),
        deal,
        link(deal_cid),
    )


async def _publish_deal(net: Devstack) -> tuple[int, Cid]:
    """A verified market deal of alice's with money on both sides; its id and its proposal's CID."""
    piece = (await net.provider.stage_piece(b"dealt" * 1000)).commitment
    terms = DealTerms(
        verified=True, price_per_epoch=AttoFil(3), provider_collateral=AttoFil(FIL), label="a deal"
    )
    bob = net.network.key("bob").address
    escrow = cbor.encode(bob.to_bytes())
    net.network.send("bob", MARKET, MarketMethod.ADD_BALANCE, escrow, AttoFil(1000))
    number = await publish_deal(
        net.node,
        net.network.key("alice"),
        net.provider,
        piece.piece_cid,
        PaddedPieceSize(piece.padded_size),
        terms=terms,
    )
    await net.advance(1)
    proposal, _ = net.network.state().market.deal(number)
    return number, dag_cbor_cid(proposal.to_cbor())


def _make_msig(net: Devstack) -> tuple[Address, Cid]:
    """A 2-of-2 multisig with vesting money, and calls that wait for bob; its f0 address and the first Propose message.

    Waiting are 0: money for carol, 1: carol as another signer, 2: carol in bob's place.
    """
    network = net.network
    signers = tuple(network.key(name).address for name in ("alice", "bob"))
    constructor = ConstructorParams(signers, 2, unlock_duration=100_000)
    params = ExecParams(CODE_CIDS["multisig"], constructor.to_cbor())
    made = network.mine_until(
        network.send("alice", INIT, InitMethod.EXEC, params.to_cbor(), AttoFil(10 * FIL))
    )
    msig = CreatedActor.from_cbor(made.receipt.return_).id_address
    carol, bob = (network.key(name).address for name in ("carol", "bob"))
    add, swap = encode([carol.to_bytes(), False]), encode([bob.to_bytes(), carol.to_bytes()])
    sent = [
        network.send("alice", msig, MultisigMethod.PROPOSE, call.to_cbor())
        for call in (
            ProposeParams(carol, AttoFil(FIL // 1000), 0, b""),
            ProposeParams(msig, AttoFil(0), 5, add),
            ProposeParams(msig, AttoFil(0), 7, swap),
        )
    ]
    assert not any(network.mine_until(cid).receipt.exit_code for cid in sent)
    return msig, sent[0]


def _declare_faults(net: Devstack) -> list[SectorNumber]:
    """Make two sectors of the genesis miner faulty whose deadlines are far enough away, and the second recovering."""
    network, miner = net.network, net.network.genesis_miner
    state = network.state()
    now = state.proving_deadline(miner).index
    places = {number: state.sector_place(miner, number) for number in state.active_sectors(miner)}
    chosen = [
        (number, place)
        for number, place in places.items()
        if place is not None and 5 < (place.deadline - now) % 48 < 40
    ][:2]
    for method, some in (
        (MinerMethod.DECLARE_FAULTS, chosen),
        (MinerMethod.DECLARE_FAULTS_RECOVERED, chosen[1:]),
    ):
        declarations = SectorDeclarations(
            tuple(
                SectorDeclaration(place.deadline, place.partition, BitField.from_ints([number]))
                for number, place in some
            )
        )
        cid = network.send("genesis-worker", miner, method, declarations.to_cbor())
        assert network.mine_until(cid).receipt.exit_code == 0
    return [number for number, _ in chosen]


def fresh_uuid() -> str:
    """A new UUID."""
    return str(uuid.uuid4())
