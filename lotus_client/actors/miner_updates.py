"""Miner actors: longer lives and new data for sectors that are already proven.

Source: builtin-actors `actors/miner/src/types.rs`.
"""

from __future__ import annotations

from dataclasses import dataclass

from lotus_client.actors import wire
from lotus_client.actors.miner import PieceActivationManifest
from lotus_client.actors.wire import Wire
from lotus_client.bitfield import BitField
from lotus_client.cbor import CborValue
from lotus_client.cid import Cid

__all__ = [
    "ExpirationExtension",
    "ExtendSectorExpirationParams",
    "ProveReplicaUpdatesParams",
    "SectorClaim",
    "SectorUpdateManifest",
]


@dataclass(frozen=True, slots=True)
class SectorClaim(Wire):
    """All claims of one sector: those it keeps, and those it gives up."""

    sector: int
    maintain_claims: tuple[int, ...] = ()
    drop_claims: tuple[int, ...] = ()

    def to_value(self) -> object:
        return [self.sector, list(self.maintain_claims), list(self.drop_claims)]

    @classmethod
    def from_value(cls, value: CborValue) -> SectorClaim:
        sector, maintain, drop = wire.fields(value, 3, "sector claims")
        return cls(
            wire.unsigned(sector),
            wire.items(maintain, wire.unsigned, "maintained claims"),
            wire.items(drop, wire.unsigned, "dropped claims"),
        )


@dataclass(frozen=True, slots=True)
class ExpirationExtension(Wire):
    """Sectors of one partition and their new expiration; those with claims apart."""

    deadline: int
    partition: int
    sectors: BitField
    sectors_with_claims: tuple[SectorClaim, ...]
    new_expiration: int

    def to_value(self) -> object:
        claims = [claim.to_value() for claim in self.sectors_with_claims]
        place = [self.deadline, self.partition, self.sectors.encode()]
        return [*place, claims, self.new_expiration]

    @classmethod
    def from_value(cls, value: CborValue) -> ExpirationExtension:
        deadline, partition, sectors, claims, expiration = wire.fields(value, 5, "extension")
        return cls(
            wire.unsigned(deadline),
            wire.unsigned(partition),
            wire.bitfield(sectors),
            wire.items(claims, SectorClaim.from_value, "sectors with claims"),
            wire.integer(expiration),
        )


@dataclass(frozen=True, slots=True)
class ExtendSectorExpirationParams(Wire):
    """Method 32."""

    extensions: tuple[ExpirationExtension, ...]

    def to_value(self) -> object:
        return [[extension.to_value() for extension in self.extensions]]

    @classmethod
    def from_value(cls, value: CborValue) -> ExtendSectorExpirationParams:
        (extensions,) = wire.fields(value, 1, "ExtendSectorExpiration2")
        return cls(wire.items(extensions, ExpirationExtension.from_value, "extensions"))


@dataclass(frozen=True, slots=True)
class SectorUpdateManifest(Wire):
    """A committed-capacity sector, where it is, its new replica and the pieces in it."""

    sector: int
    deadline: int
    partition: int
    new_sealed_cid: Cid
    pieces: tuple[PieceActivationManifest, ...]

    def to_value(self) -> object:
        pieces = [piece.to_value() for piece in self.pieces]
        return [self.sector, self.deadline, self.partition, self.new_sealed_cid, pieces]

    @classmethod
    def from_value(cls, value: CborValue) -> SectorUpdateManifest:
        sector, deadline, partition, sealed, pieces = wire.fields(value, 5, "sector update")
        return cls(
            wire.unsigned(sector),
            wire.unsigned(deadline),
            wire.unsigned(partition),
            wire.link(sealed),
            wire.items(pieces, PieceActivationManifest.from_value, "pieces"),
        )


@dataclass(frozen=True, slots=True)
class ProveReplicaUpdatesParams(Wire):
    """Method 35: one proof per sector. The aggregate form exists on the wire and is refused by the actor."""

    sector_updates: tuple[SectorUpdateManifest, ...]
    sector_proofs: tuple[bytes, ...]
    aggregate_proof: bytes = b""
    update_proofs_type: int = 0
    aggregate_proof_type: int | None = None
    require_activation_success: bool = False
    require_notification_success: bool = False

    def to_value(self) -> object:
        return [
            [update.to_value() for update in self.sector_updates],
            list(self.sector_proofs),
            self.aggregate_proof,
            self.update_proofs_type,
            self.aggregate_proof_type,
            self.require_activation_success,
            self.require_notification_success,
        ]

    @classmethod
    def from_value(cls, value: CborValue) -> ProveReplicaUpdatesParams:
        updates, proofs, aggregate, kind, aggregate_kind, activation, notification = wire.fields(
            value, 7, "ProveReplicaUpdates3"
        )
        return cls(
            wire.items(updates, SectorUpdateManifest.from_value, "sector updates"),
            wire.items(proofs, wire.octets, "proofs"),
            wire.octets(aggregate),
            wire.integer(kind),
            wire.optional(aggregate_kind, wire.integer),
            wire.boolean(activation),
            wire.boolean(notification),
        )
