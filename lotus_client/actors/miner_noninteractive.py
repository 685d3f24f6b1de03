"""The non-interactive commit of a miner (FIP-0092). Source: builtin-actors `actors/miner/src/types.rs`."""

from __future__ import annotations

from dataclasses import dataclass

from lotus_client.actors import wire
from lotus_client.actors.wire import Wire
from lotus_client.cbor import CborValue
from lotus_client.cid import Cid

__all__ = ["ProveCommitSectorsNIParams", "SectorNIActivationInfo"]


@dataclass(frozen=True, slots=True)
class SectorNIActivationInfo(Wire):
    """A sector without data; the sealer must be the miner and the sealing number the sector's, as yet."""

    sealing_number: int
    sealer_id: int
    sealed_cid: Cid
    sector: int
    seal_rand_epoch: int
    expiration: int

    def to_value(self) -> object:
        return [
            self.sealing_number, self.sealer_id, self.sealed_cid, self.sector,
            self.seal_rand_epoch, self.expiration,
        ]  # fmt: skip

    @classmethod
    def from_value(cls, value: CborValue) -> SectorNIActivationInfo:
        sealing, sealer, sealed, sector, rand_epoch, expiration = wire.fields(
            value, 6, "non-interactive sector"
        )
        return cls(
            wire.unsigned(sealing),
            wire.unsigned(sealer),
            wire.link(sealed),
            wire.unsigned(sector),
            wire.integer(rand_epoch),
            wire.integer(expiration),
        )


@dataclass(frozen=True, slots=True)
class ProveCommitSectorsNIParams(Wire):
    """Method 36: sectors without a pre-commit, one aggregate proof, and the deadline that they go to."""

    sectors: tuple[SectorNIActivationInfo, ...]
    aggregate_proof: bytes
    seal_proof_type: int
    aggregate_proof_type: int
    proving_deadline: int
    require_activation_success: bool = False

    def to_value(self) -> object:
        return [
            [sector.to_value() for sector in self.sectors],
            self.aggregate_proof,
            self.seal_proof_type,
            self.aggregate_proof_type,
            self.proving_deadline,
            self.require_activation_success,
        ]

    @classmethod
    def from_value(cls, value: CborValue) -> ProveCommitSectorsNIParams:
        sectors, proof, seal_type, aggregate_type, deadline, require = wire.fields(
            value, 6, "ProveCommitSectorsNI"
        )
        return cls(
            wire.items(sectors, SectorNIActivationInfo.from_value, "sectors"),
            wire.octets(proof),
            wire.integer(seal_type),
            wire.integer(aggregate_type),
            wire.unsigned(deadline),
            wire.boolean(require),
        )
