"""Storage deals on a devnet, by the real messages: escrow, and a proposal that the provider publishes.

Sealing the deal's piece is `SealingProvider.add_piece(payload, deal=…)`; the miner then tells f05, which activates it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from devstack.datacap import settle
from devstack.node import FullNode
from devstack.provider import SealingProvider
from lotus_client import cbor
from lotus_client.actors.market import (
    ClientDealProposal,
    DealProposal,
    PublishStorageDealsParams,
    PublishStorageDealsReturn,
)
from lotus_client.actors.methods import MARKET, MarketMethod
from lotus_client.address import Address
from lotus_client.cid import Cid
from lotus_client.crypto import SigningKey
from lotus_client.types import EPOCHS_PER_DAY, AttoFil, Epoch, PaddedPieceSize

__all__ = ["DealTerms", "publish_deal"]

_START: Final = Epoch(2 * EPOCHS_PER_DAY)  # from now: sealing takes some tens of epochs here
_DURATION: Final = Epoch(200 * EPOCHS_PER_DAY)


@dataclass(frozen=True, slots=True)
class DealTerms:
    """What client and provider agree on. `starts_in` counts from the present head; amounts are attoFIL."""

    verified: bool = False
    starts_in: Epoch = _START
    duration: Epoch = _DURATION
    price_per_epoch: AttoFil = AttoFil(0)
    provider_collateral: AttoFil = AttoFil(0)
    client_collateral: AttoFil = AttoFil(0)
    label: str = ""


async def publish_deal(
    node: FullNode,
    client: SigningKey,
    provider: SealingProvider,
    piece_cid: Cid,
    size: PaddedPieceSize,
    *,
    terms: DealTerms = DealTerms(),
) -> int:
    """Put the money of both sides into escrow and publish the deal; its id. Mines.

    A verified deal spends the client's DataCap. `size` is padded bytes.

    Raises:
        MessageFailed: e.g. 16 when the proposal is not acceptable or the DataCap does not suffice.
    """
    start = Epoch(node.network.head.height + terms.starts_in)
    proposal = DealProposal(
        piece_cid,
        size,
        terms.verified,
        client.address,
        provider.miner,
        terms.label,
        start,
        start + terms.duration,
        terms.price_per_epoch,
        terms.provider_collateral,
        terms.client_collateral,
    )
    needed = AttoFil(proposal.total_storage_fee) + terms.client_collateral
    await _fund(node, client, client.address, needed)
    await _fund(node, provider.worker, provider.miner, terms.provider_collateral)
    signed = ClientDealProposal(proposal, client.sign(proposal.to_cbor()).to_bytes())
    params = PublishStorageDealsParams((signed,)).to_cbor()
    cid = node.network.send(provider.worker, MARKET, MarketMethod.PUBLISH_STORAGE_DEALS, params)
    found = await settle(node, cid, f"publishing a deal for {piece_cid}")
    return PublishStorageDealsReturn.from_cbor(found.receipt.return_).ids[0]


async def _fund(node: FullNode, payer: SigningKey, whose: Address, needed: AttoFil) -> None:
    if not needed:
        return
    params = cbor.encode(whose.to_bytes())
    cid = node.network.send(payer, MARKET, MarketMethod.ADD_BALANCE, params, needed)
    await settle(node, cid, f"escrow of {whose}")
