"""Miner actors: committing, proving and ending sectors, and money. Source: builtin-actors `actors/miner/src/types.rs`."""

from __future__ import annotations

from dataclasses import dataclass

from lotus_client.actors import wire
from lotus_client.actors.wire import Wire
from lotus_client.address import Address
from lotus_client.bitfield import BitField
from lotus_client.cbor import CborValue
from lotus_client.cid import Cid
from lotus_client.types import AttoFil

__all__ = [
    "ApplyRewardsParams",
    "DataActivationNotification",
    "PieceActivationManifest",
    "PoStPartition",
    "PreCommitSectorBatchParams",
    "ProveCommitSectorsParams",
    "SectorActivationManifest",
    "SectorDeclaration",
    "SectorDeclarations",
    "SectorPreCommitInfo",
    "SubmitWindowedPoStParams",
    "VerifiedAllocationKey",
    "WithdrawBalanceParams",
]


@dataclass(frozen=True, slots=True)
class SectorPreCommitInfo(Wire):
    """A promise to prove a sector; `unsealed_cid` None is a sector without data."""

    seal_proof: int
    sector: int
    sealed_cid: Cid
    seal_rand_epoch: int
    expiration: int
    unsealed_cid: Cid | None
    deal_ids: tuple[int, ...] = ()

    def to_value(self) -> object:
        return [
            self.seal_proof, self.sector, self.sealed_cid, self.seal_rand_epoch,
            list(self.deal_ids), self.expiration, self.unsealed_cid,
        ]  # fmt: skip

    @classmethod
    def from_value(cls, value: CborValue) -> SectorPreCommitInfo:
        proof, sector, sealed, rand_epoch, deals, expiration, unsealed = wire.fields(
            value, 7, "pre-commit"
        )
        return cls(
            wire.integer(proof),
            wire.unsigned(sector),
            wire.link(sealed),
            wire.integer(rand_epoch),
            wire.integer(expiration),
            wire.optional(unsealed, wire.link),
            wire.items(deals, wire.unsigned, "deal ids"),
        )


@dataclass(frozen=True, slots=True)
class PreCommitSectorBatchParams(Wire):
    """Method 28."""

    sectors: tuple[SectorPreCommitInfo, ...]

    def to_value(self) -> object:
        return [[sector.to_value() for sector in self.sectors]]

    @classmethod
    def from_value(cls, value: CborValue) -> PreCommitSectorBatchParams:
        (sectors,) = wire.fields(value, 1, "PreCommitSectorBatch2")
        return cls(wire.items(sectors, SectorPreCommitInfo.from_value, "sectors"))


@dataclass(frozen=True, slots=True)
class VerifiedAllocationKey(Wire):
    """The allocation that a piece fulfils."""

    client: int
    id: int

    def to_value(self) -> object:
        return [self.client, self.id]

    @classmethod
    def from_value(cls, value: CborValue) -> VerifiedAllocationKey:
        client, allocation = wire.fields(value, 2, "allocation key")
        return cls(wire.unsigned(client), wire.unsigned(allocation))


@dataclass(frozen=True, slots=True)
class DataActivationNotification(Wire):
    """An actor that is told of the piece, with bytes of its own meaning."""

    address: Address
    payload: bytes

    def to_value(self) -> object:
        return [self.address.to_bytes(), self.payload]

    @classmethod
    def from_value(cls, value: CborValue) -> DataActivationNotification:
        who, payload = wire.fields(value, 2, "notification")
        return cls(wire.address(who), wire.octets(payload))


@dataclass(frozen=True, slots=True)
class PieceActivationManifest(Wire):
    """A piece in its sector, padded size; the order of pieces decides their offsets."""

    cid: Cid
    size: int
    allocation: VerifiedAllocationKey | None = None
    notify: tuple[DataActivationNotification, ...] = ()

    def to_value(self) -> object:
        key = None if self.allocation is None else self.allocation.to_value()
        return [self.cid, self.size, key, [notice.to_value() for notice in self.notify]]

    @classmethod
    def from_value(cls, value: CborValue) -> PieceActivationManifest:
        cid, size, key, notify = wire.fields(value, 4, "piece manifest")
        return cls(
            wire.link(cid),
            wire.unsigned(size),
            wire.optional(key, VerifiedAllocationKey.from_value),
            wire.items(notify, DataActivationNotification.from_value, "notifications"),
        )


@dataclass(frozen=True, slots=True)
class SectorActivationManifest(Wire):
    """A sector with the pieces it holds."""

    sector: int
    pieces: tuple[PieceActivationManifest, ...] = ()

    def to_value(self) -> object:
        return [self.sector, [piece.to_value() for piece in self.pieces]]

    @classmethod
    def from_value(cls, value: CborValue) -> SectorActivationManifest:
        sector, pieces = wire.fields(value, 2, "sector manifest")
        return cls(
            wire.unsigned(sector), wire.items(pieces, PieceActivationManifest.from_value, "pieces")
        )


@dataclass(frozen=True, slots=True)
class ProveCommitSectorsParams(Wire):
    """Method 34: one proof per sector, or one aggregate."""

    manifests: tuple[SectorActivationManifest, ...]
    sector_proofs: tuple[bytes, ...]
    aggregate_proof: bytes = b""
    aggregate_type: int | None = None
    require_activation_success: bool = False
    require_notification_success: bool = False

    def to_value(self) -> object:
        return [
            [manifest.to_value() for manifest in self.manifests],
            list(self.sector_proofs),
            self.aggregate_proof,
            self.aggregate_type,
            self.require_activation_success,
            self.require_notification_success,
        ]

    @classmethod
    def from_value(cls, value: CborValue) -> ProveCommitSectorsParams:
        manifests, proofs, aggregate, kind, activation, notification = wire.fields(
            value, 6, "ProveCommitSectors3"
        )
        return cls(
            wire.items(manifests, SectorActivationManifest.from_value, "manifests"),
            wire.items(proofs, wire.octets, "proofs"),
            wire.octets(aggregate),
            wire.optional(kind, wire.integer),
            wire.boolean(activation),
            wire.boolean(notification),
        )


@dataclass(frozen=True, slots=True)
class PoStPartition(Wire):
    """A proven partition and its sectors that were skipped as faulty."""

    index: int
    skipped: BitField = BitField()

    def to_value(self) -> object:
        return [self.index, self.skipped.encode()]

    @classmethod
    def from_value(cls, value: CborValue) -> PoStPartition:
        index, skipped = wire.fields(value, 2, "PoSt partition")
        return cls(wire.unsigned(index), wire.bitfield(skipped))


@dataclass(frozen=True, slots=True)
class SubmitWindowedPoStParams(Wire):
    """Method 5: a deadline's proof, tied to the chain by the randomness of a recent epoch."""

    deadline: int
    partitions: tuple[PoStPartition, ...]
    proofs: tuple[tuple[int, bytes], ...]
    chain_commit_epoch: int
    chain_commit_rand: bytes

    def to_value(self) -> object:
        return [
            self.deadline,
            [partition.to_value() for partition in self.partitions],
            [list(proof) for proof in self.proofs],
            self.chain_commit_epoch,
            self.chain_commit_rand,
        ]

    @classmethod
    def from_value(cls, value: CborValue) -> SubmitWindowedPoStParams:
        deadline, partitions, proofs, epoch, rand = wire.fields(value, 5, "SubmitWindowedPoSt")

        def proof(item: CborValue) -> tuple[int, bytes]:
            kind, data = wire.fields(item, 2, "PoSt proof")
            return wire.integer(kind), wire.octets(data)

        return cls(
            wire.unsigned(deadline),
            wire.items(partitions, PoStPartition.from_value, "partitions"),
            wire.items(proofs, proof, "proofs"),
            wire.integer(epoch),
            wire.octets(rand),
        )


@dataclass(frozen=True, slots=True)
class SectorDeclaration(Wire):
    """Sectors of one partition."""

    deadline: int
    partition: int
    sectors: BitField

    def to_value(self) -> object:
        return [self.deadline, self.partition, self.sectors.encode()]

    @classmethod
    def from_value(cls, value: CborValue) -> SectorDeclaration:
        deadline, partition, sectors = wire.fields(value, 3, "sector declaration")
        return cls(wire.unsigned(deadline), wire.unsigned(partition), wire.bitfield(sectors))


@dataclass(frozen=True, slots=True)
class SectorDeclarations(Wire):
    """Params of TerminateSectors, DeclareFaults and DeclareFaultsRecovered."""

    declarations: tuple[SectorDeclaration, ...]

    def to_value(self) -> object:
        return [[declaration.to_value() for declaration in self.declarations]]

    @classmethod
    def from_value(cls, value: CborValue) -> SectorDeclarations:
        (declarations,) = wire.fields(value, 1, "sector declarations")
        return cls(wire.items(declarations, SectorDeclaration.from_value, "declarations"))


@dataclass(frozen=True, slots=True)
class ApplyRewardsParams(Wire):
    """What f02 tells the miner with the money: the reward, and the penalty to take from it."""

    reward: AttoFil
    penalty: AttoFil

    def to_value(self) -> object:
        return [wire.big_bytes(self.reward), wire.big_bytes(self.penalty)]

    @classmethod
    def from_value(cls, value: CborValue) -> ApplyRewardsParams:
        reward, penalty = wire.fields(value, 2, "ApplyRewards")
        return cls(wire.atto(reward), wire.atto(penalty))


@dataclass(frozen=True, slots=True)
class WithdrawBalanceParams(Wire):
    """How much to ask for; the return is the bare amount withdrawn."""

    amount: AttoFil

    def to_value(self) -> object:
        return [wire.big_bytes(self.amount)]

    @classmethod
    def from_value(cls, value: CborValue) -> WithdrawBalanceParams:
        (amount,) = wire.fields(value, 1, "WithdrawBalance")
        return cls(wire.atto(amount))
