"""Storage market f05: proposals, publishing and balances. Source: builtin-actors `actors/market/src/types.rs`, `deal.rs`."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lotus_client.actors import wire
from lotus_client.actors.wire import ParamsError, Wire
from lotus_client.address import Address
from lotus_client.bitfield import BitField
from lotus_client.cbor import CborValue
from lotus_client.cid import Cid, dag_cbor_cid
from lotus_client.types import AttoFil

__all__ = [
    "ClientDealProposal",
    "DealProposal",
    "MarketBalance",
    "MarketNotifyDealParams",
    "MarketWithdrawParams",
    "PublishStorageDealsParams",
    "PublishStorageDealsReturn",
]

_PROVIDER_FIELD, _CLIENT_FIELD = 4, 3


@dataclass(frozen=True, slots=True)
class DealProposal(Wire):
    """What a client signs: a piece of padded size, kept by a provider from start to end, for a price.

    `label` is text or bytes of the client's own meaning. On chain both addresses are f0.
    """

    piece_cid: Cid
    piece_size: int
    verified_deal: bool
    client: Address
    provider: Address
    label: str | bytes
    start_epoch: int
    end_epoch: int
    storage_price_per_epoch: AttoFil = AttoFil(0)
    provider_collateral: AttoFil = AttoFil(0)
    client_collateral: AttoFil = AttoFil(0)

    @property
    def cid(self) -> Cid:
        """The deal's CID; on chain that of the proposal with f0 addresses."""
        return dag_cbor_cid(self.to_cbor())

    @property
    def duration(self) -> int:
        """Epochs from start to end."""
        return self.end_epoch - self.start_epoch

    @property
    def total_storage_fee(self) -> int:
        """What the client pays over the whole term, in attoFIL."""
        return self.storage_price_per_epoch.value * self.duration

    def with_ids(self, client: Address, provider: Address) -> DealProposal:
        """The proposal as it is kept on chain."""
        return replace(self, client=client, provider=provider)

    def to_value(self) -> object:
        return [
            self.piece_cid,
            self.piece_size,
            self.verified_deal,
            self.client.to_bytes(),
            self.provider.to_bytes(),
            self.label,
            self.start_epoch,
            self.end_epoch,
            wire.big_bytes(self.storage_price_per_epoch),
            wire.big_bytes(self.provider_collateral),
            wire.big_bytes(self.client_collateral),
        ]

    @classmethod
    def from_value(cls, value: CborValue) -> DealProposal:
        piece, size, verified, client, provider, label, start, end, price, theirs, ours = (
            wire.fields(value, 11, "deal proposal")
        )
        if not isinstance(label, (str, bytes)):
            raise ParamsError("a deal's label is text or bytes")
        return cls(
            wire.link(piece),
            wire.unsigned(size),
            wire.boolean(verified),
            wire.address(client),
            wire.address(provider),
            label,
            wire.integer(start),
            wire.integer(end),
            wire.atto(price),
            wire.atto(theirs),
            wire.atto(ours),
        )


@dataclass(frozen=True, slots=True)
class ClientDealProposal(Wire):
    """A proposal with the client's signature over its CBOR, as type byte and data."""

    proposal: DealProposal
    client_signature: bytes

    def to_value(self) -> object:
        return [self.proposal.to_value(), self.client_signature]

    @classmethod
    def from_value(cls, value: CborValue) -> ClientDealProposal:
        proposal, signature = wire.fields(value, 2, "client deal proposal")
        return cls(DealProposal.from_value(proposal), wire.octets(signature))


@dataclass(frozen=True, slots=True)
class PublishStorageDealsParams(Wire):
    """Method 4, from a provider's worker or control address; all deals of one provider."""

    deals: tuple[ClientDealProposal, ...]

    def to_value(self) -> object:
        return [[deal.to_value() for deal in self.deals]]

    @classmethod
    def from_value(cls, value: CborValue) -> PublishStorageDealsParams:
        (deals,) = wire.fields(value, 1, "PublishStorageDeals")
        return cls(wire.items(deals, ClientDealProposal.from_value, "deals"))


@dataclass(frozen=True, slots=True)
class PublishStorageDealsReturn(Wire):
    """The new deals' ids, and which of the given deals they are; the others were dropped."""

    ids: tuple[int, ...]
    valid_deals: BitField

    def to_value(self) -> object:
        return [list(self.ids), self.valid_deals.encode()]

    @classmethod
    def from_value(cls, value: CborValue) -> PublishStorageDealsReturn:
        ids, valid = wire.fields(value, 2, "PublishStorageDeals return")
        return cls(wire.items(ids, wire.unsigned, "deal ids"), wire.bitfield(valid))


@dataclass(frozen=True, slots=True)
class MarketNotifyDealParams(Wire):
    """What f05 tells a deal's client when it is published."""

    proposal: bytes
    deal_id: int

    def to_value(self) -> object:
        return [self.proposal, self.deal_id]

    @classmethod
    def from_value(cls, value: CborValue) -> MarketNotifyDealParams:
        proposal, deal = wire.fields(value, 2, "MarketNotifyDeal")
        return cls(wire.octets(proposal), wire.unsigned(deal))


@dataclass(frozen=True, slots=True)
class MarketWithdrawParams(Wire):
    """Method 3: take free escrow of a client or provider; the return is the bare amount."""

    provider_or_client: Address
    amount: AttoFil

    def to_value(self) -> object:
        return [self.provider_or_client.to_bytes(), wire.big_bytes(self.amount)]

    @classmethod
    def from_value(cls, value: CborValue) -> MarketWithdrawParams:
        who, amount = wire.fields(value, 2, "market WithdrawBalance")
        return cls(wire.address(who), wire.atto(amount))


@dataclass(frozen=True, slots=True)
class MarketBalance(Wire):
    """Escrow of one address, and how much of it is locked in deals."""

    balance: AttoFil
    locked: AttoFil

    def to_value(self) -> object:
        return [wire.big_bytes(self.balance), wire.big_bytes(self.locked)]

    @classmethod
    def from_value(cls, value: CborValue) -> MarketBalance:
        balance, locked = wire.fields(value, 2, "market balance")
        return cls(wire.atto(balance), wire.atto(locked))
