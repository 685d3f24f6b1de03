"""Storage market f05: what miners tell it of sectors that hold deals, and the settling of payments.

Source: builtin-actors `actors/market/src/types.rs`, `ext.rs`.
"""

from __future__ import annotations

from dataclasses import dataclass

from lotus_client.actors import wire
from lotus_client.actors.wire import BatchReturn, Wire
from lotus_client.bitfield import BitField
from lotus_client.cbor import CborValue
from lotus_client.cid import Cid
from lotus_client.types import AttoFil

__all__ = [
    "ActivatedDeal",
    "BatchActivateDealsParams",
    "BatchActivateDealsReturn",
    "DealSettlement",
    "OnMinerSectorsTerminateParams",
    "PieceChange",
    "SectorChanges",
    "SectorContentChangedParams",
    "SectorContentChangedReturn",
    "SectorDealActivation",
    "SectorDeals",
    "SettleDealPaymentsReturn",
    "VerifyDealsForActivationParams",
    "VerifyDealsForActivationReturn",
]


@dataclass(frozen=True, slots=True)
class SectorDeals(Wire):
    """A sector with the deals that it shall hold."""

    sector_number: int
    sector_type: int
    sector_expiry: int
    deal_ids: tuple[int, ...]

    def to_value(self) -> object:
        return [self.sector_number, self.sector_type, self.sector_expiry, list(self.deal_ids)]

    @classmethod
    def from_value(cls, value: CborValue) -> SectorDeals:
        number, kind, expiry, deals = wire.fields(value, 4, "sector deals")
        return cls(
            wire.unsigned(number),
            wire.integer(kind),
            wire.integer(expiry),
            wire.items(deals, wire.unsigned, "deal ids"),
        )


@dataclass(frozen=True, slots=True)
class VerifyDealsForActivationParams(Wire):
    """Method 5: may these deals go into these sectors?"""

    sectors: tuple[SectorDeals, ...]

    def to_value(self) -> object:
        return [[sector.to_value() for sector in self.sectors]]

    @classmethod
    def from_value(cls, value: CborValue) -> VerifyDealsForActivationParams:
        (sectors,) = wire.fields(value, 1, "VerifyDealsForActivation")
        return cls(wire.items(sectors, SectorDeals.from_value, "sectors"))


@dataclass(frozen=True, slots=True)
class VerifyDealsForActivationReturn(Wire):
    """Each sector's CommD, None for one without deals."""

    unsealed_cids: tuple[Cid | None, ...]

    def to_value(self) -> object:
        return [list(self.unsealed_cids)]

    @classmethod
    def from_value(cls, value: CborValue) -> VerifyDealsForActivationReturn:
        (cids,) = wire.fields(value, 1, "VerifyDealsForActivation return")

        def read(item: CborValue) -> Cid | None:
            return wire.optional(item, wire.link)

        return cls(wire.items(cids, read, "unsealed CIDs"))


@dataclass(frozen=True, slots=True)
class BatchActivateDealsParams(Wire):
    """Method 6: these sectors now hold these deals."""

    sectors: tuple[SectorDeals, ...]
    compute_cid: bool

    def to_value(self) -> object:
        return [[sector.to_value() for sector in self.sectors], self.compute_cid]

    @classmethod
    def from_value(cls, value: CborValue) -> BatchActivateDealsParams:
        sectors, compute = wire.fields(value, 2, "BatchActivateDeals")
        return cls(wire.items(sectors, SectorDeals.from_value, "sectors"), wire.boolean(compute))


@dataclass(frozen=True, slots=True)
class ActivatedDeal(Wire):
    """A deal's piece and what pays for it; `allocation_id` 0 is none."""

    client: int
    allocation_id: int
    data: Cid
    size: int

    def to_value(self) -> object:
        return [self.client, self.allocation_id, self.data, self.size]

    @classmethod
    def from_value(cls, value: CborValue) -> ActivatedDeal:
        client, allocation, data, size = wire.fields(value, 4, "activated deal")
        return cls(
            wire.unsigned(client), wire.unsigned(allocation), wire.link(data), wire.unsigned(size)
        )


@dataclass(frozen=True, slots=True)
class SectorDealActivation(Wire):
    """One sector's activated deals, and its CommD where it was asked for."""

    activated: tuple[ActivatedDeal, ...]
    unsealed_cid: Cid | None

    def to_value(self) -> object:
        return [[deal.to_value() for deal in self.activated], self.unsealed_cid]

    @classmethod
    def from_value(cls, value: CborValue) -> SectorDealActivation:
        deals, cid = wire.fields(value, 2, "sector deal activation")
        return cls(
            wire.items(deals, ActivatedDeal.from_value, "activated deals"),
            wire.optional(cid, wire.link),
        )


@dataclass(frozen=True, slots=True)
class BatchActivateDealsReturn(Wire):
    """How each sector went, and what the successful ones hold."""

    activation_results: BatchReturn
    activations: tuple[SectorDealActivation, ...]

    def to_value(self) -> object:
        activations = [activation.to_value() for activation in self.activations]
        return [self.activation_results.to_value(), activations]

    @classmethod
    def from_value(cls, value: CborValue) -> BatchActivateDealsReturn:
        results, activations = wire.fields(value, 2, "BatchActivateDeals return")
        return cls(
            BatchReturn.from_value(results),
            wire.items(activations, SectorDealActivation.from_value, "activations"),
        )


@dataclass(frozen=True, slots=True)
class OnMinerSectorsTerminateParams(Wire):
    """Method 7."""

    epoch: int
    sectors: BitField

    def to_value(self) -> object:
        return [self.epoch, self.sectors.encode()]

    @classmethod
    def from_value(cls, value: CborValue) -> OnMinerSectorsTerminateParams:
        epoch, sectors = wire.fields(value, 2, "OnMinerSectorsTerminate")
        return cls(wire.integer(epoch), wire.bitfield(sectors))


@dataclass(frozen=True, slots=True)
class PieceChange(Wire):
    """A piece in a changed sector; for f05 the payload is the deal's id in CBOR."""

    data: Cid
    size: int
    payload: bytes

    def to_value(self) -> object:
        return [self.data, self.size, self.payload]

    @classmethod
    def from_value(cls, value: CborValue) -> PieceChange:
        data, size, payload = wire.fields(value, 3, "piece change")
        return cls(wire.link(data), wire.unsigned(size), wire.octets(payload))


@dataclass(frozen=True, slots=True)
class SectorChanges(Wire):
    """A sector, the epoch that its data is at least committed to, and its pieces."""

    sector: int
    minimum_commitment_epoch: int
    added: tuple[PieceChange, ...]

    def to_value(self) -> object:
        pieces = [piece.to_value() for piece in self.added]
        return [self.sector, self.minimum_commitment_epoch, pieces]

    @classmethod
    def from_value(cls, value: CborValue) -> SectorChanges:
        sector, epoch, pieces = wire.fields(value, 3, "sector changes")
        return cls(
            wire.unsigned(sector),
            wire.integer(epoch),
            wire.items(pieces, PieceChange.from_value, "pieces"),
        )


@dataclass(frozen=True, slots=True)
class SectorContentChangedParams(Wire):
    """What a miner tells any actor that its piece manifests name. Bare."""

    sectors: tuple[SectorChanges, ...]

    def to_value(self) -> object:
        return [sector.to_value() for sector in self.sectors]

    @classmethod
    def from_value(cls, value: CborValue) -> SectorContentChangedParams:
        return cls(wire.items(value, SectorChanges.from_value, "sectors"))


@dataclass(frozen=True, slots=True)
class SectorContentChangedReturn(Wire):
    """Per sector and piece, whether the receiver took it. Bare."""

    sectors: tuple[tuple[bool, ...], ...]

    def to_value(self) -> object:
        return [list(pieces) for pieces in self.sectors]

    @classmethod
    def from_value(cls, value: CborValue) -> SectorContentChangedReturn:
        def read(item: CborValue) -> tuple[bool, ...]:
            return wire.items(item, wire.boolean, "pieces")

        return cls(wire.items(value, read, "sectors"))


@dataclass(frozen=True, slots=True)
class DealSettlement(Wire):
    """What one deal paid to its provider, and whether it is over."""

    payment: AttoFil
    completed: bool

    def to_value(self) -> object:
        return [wire.big_bytes(self.payment), self.completed]

    @classmethod
    def from_value(cls, value: CborValue) -> DealSettlement:
        payment, completed = wire.fields(value, 2, "deal settlement")
        return cls(wire.atto(payment), wire.boolean(completed))


@dataclass(frozen=True, slots=True)
class SettleDealPaymentsReturn(Wire):
    """How each deal went, and the settlements of the successful ones."""

    results: BatchReturn
    settlements: tuple[DealSettlement, ...]

    def to_value(self) -> object:
        return [self.results.to_value(), [one.to_value() for one in self.settlements]]

    @classmethod
    def from_value(cls, value: CborValue) -> SettleDealPaymentsReturn:
        results, settlements = wire.fields(value, 2, "SettleDealPayments return")
        return cls(
            BatchReturn.from_value(results),
            wire.items(settlements, DealSettlement.from_value, "settlements"),
        )
