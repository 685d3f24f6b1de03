"""Block headers and tipsets, with the exact bytes behind their CIDs.

Source: Lotus `chain/types/blockheader.go`, `tipset.go`, `tipset_key.go`; checked against real headers in the tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from lotus_client import cbor
from lotus_client.address import Address, AddressError
from lotus_client.cbor import CborError, CborValue, decode_bigint, encode_bigint
from lotus_client.cid import Cid, dag_cbor_cid
from lotus_client.crypto import Signature, SignatureError
from lotus_client.types import AttoFil, Epoch

__all__ = [
    "BeaconEntry",
    "BlockHeader",
    "ElectionProof",
    "HeadChange",
    "HeaderError",
    "PoStProof",
    "TipSet",
    "TipSetKey",
]


class HeaderError(ValueError):
    """Bytes that are no block header; says what is wrong."""


@dataclass(frozen=True, slots=True)
class TipSetKey:
    """The CIDs of a tipset's blocks in their order. Empty means "the current head" in a request."""

    cids: tuple[Cid, ...] = ()

    def __str__(self) -> str:
        return "{" + ",".join(map(str, self.cids)) + "}"

    def __iter__(self) -> Iterator[Cid]:
        return iter(self.cids)

    def __bool__(self) -> bool:
        return bool(self.cids)

    @property
    def cid(self) -> Cid:
        """The CID of the key itself, whose digest is the tipset's hash in eth_* (Lotus `chain/types/tipset_key.go`)."""
        return dag_cbor_cid(cbor.encode(b"".join(cid.raw for cid in self.cids)))


@dataclass(frozen=True, slots=True)
class ElectionProof:
    """How often a block's miner won its epoch, and the proof."""

    win_count: int
    vrf_proof: bytes


@dataclass(frozen=True, slots=True)
class BeaconEntry:
    """A drand round and its signature."""

    round: int
    data: bytes


@dataclass(frozen=True, slots=True)
class PoStProof:
    """A proof of spacetime by registered proof type."""

    proof_type: int
    proof: bytes


@dataclass(frozen=True, slots=True)
class BlockHeader:
    """A block header. It carries the state *before* its own messages (`parent_state_root`)."""

    miner: Address
    ticket: bytes | None
    election_proof: ElectionProof | None
    beacon_entries: tuple[BeaconEntry, ...]
    win_post_proof: tuple[PoStProof, ...]
    parents: TipSetKey
    parent_weight: int
    height: Epoch
    parent_state_root: Cid
    parent_message_receipts: Cid
    messages: Cid
    bls_aggregate: Signature | None
    timestamp: int
    block_sig: Signature | None
    fork_signaling: int
    parent_base_fee: AttoFil

    def to_cbor(self, *, signed: bool = True) -> bytes:
        """The 16-array of the wire; `signed=False` gives the bytes that the miner's worker key signs."""
        return cbor.encode(
            [
                self.miner.to_bytes(),
                None if self.ticket is None else [self.ticket],
                None
                if self.election_proof is None
                else [self.election_proof.win_count, self.election_proof.vrf_proof],
                [[entry.round, entry.data] for entry in self.beacon_entries],
                [[proof.proof_type, proof.proof] for proof in self.win_post_proof],
                list(self.parents.cids),
                encode_bigint(self.parent_weight),
                self.height,
                self.parent_state_root,
                self.parent_message_receipts,
                self.messages,
                None if self.bls_aggregate is None else self.bls_aggregate.to_bytes(),
                self.timestamp,
                None if self.block_sig is None or not signed else self.block_sig.to_bytes(),
                self.fork_signaling,
                encode_bigint(self.parent_base_fee.value),
            ]
        )

    @classmethod
    def from_cbor(cls, raw: bytes) -> BlockHeader:
        """The header of its wire bytes, which its `to_cbor` gives back exactly.

        Raises:
            HeaderError: not a header.
        """
        try:
            header = _header_of(cbor.decode(raw))
        except (CborError, AddressError, SignatureError) as error:
            raise HeaderError(f"not a block header: {error}") from error
        if header.to_cbor() != raw:
            raise HeaderError("the header is not in its one canonical form")
        return header

    @property
    def cid(self) -> Cid:
        """The block's CID, computed from its bytes."""
        return dag_cbor_cid(self.to_cbor())

    @property
    def win_count(self) -> int:
        """How often the miner won this epoch; 0 for a genesis block."""
        return self.election_proof.win_count if self.election_proof else 0


@dataclass(frozen=True, slots=True)
class TipSet:
    """Blocks of one epoch with the same parents. `key` is in the blocks' order."""

    key: TipSetKey
    blocks: tuple[BlockHeader, ...] = field(repr=False)
    height: Epoch

    @property
    def parents(self) -> TipSetKey:
        """The key of the parent tipset; empty at genesis."""
        return self.blocks[0].parents

    @property
    def parent_state_root(self) -> Cid:
        """The state that `State*` reads at this tipset's key answer from."""
        return self.blocks[0].parent_state_root


@dataclass(frozen=True, slots=True)
class HeadChange:
    """One step of the head: `current` (first on a stream), `revert` or `apply`."""

    type: str
    tipset: TipSet


def _header_of(fields: CborValue) -> BlockHeader:
    match fields:
        case [
            bytes(miner), ticket, election, list(beacons), list(posts), list(parents), weight, int(height),
            Cid() as state_root, Cid() as receipts, Cid() as messages, aggregate, int(timestamp), block_sig,
            int(forks), base_fee,
        ]:  # fmt: skip
            pass
        case _:
            raise HeaderError("a block header is an array of its sixteen fields")
    if any(isinstance(number, bool) for number in (height, timestamp, forks)):
        raise HeaderError("height, timestamp and fork signaling of a header are numbers")
    return BlockHeader(
        miner=Address.from_bytes(miner),
        ticket=_ticket_of(ticket),
        election_proof=None if election is None else ElectionProof(*_number_and_bytes(election)),
        beacon_entries=tuple(BeaconEntry(*_number_and_bytes(entry)) for entry in beacons),
        win_post_proof=tuple(PoStProof(*_number_and_bytes(post)) for post in posts),
        parents=TipSetKey(tuple(_link(parent) for parent in parents)),
        parent_weight=decode_bigint(weight),
        height=Epoch(height),
        parent_state_root=state_root,
        parent_message_receipts=receipts,
        messages=messages,
        bls_aggregate=_signature_of(aggregate),
        timestamp=timestamp,
        block_sig=_signature_of(block_sig),
        fork_signaling=forks,
        parent_base_fee=AttoFil(decode_bigint(base_fee)),
    )


def _ticket_of(value: CborValue) -> bytes | None:
    match value:
        case None:
            return None
        case [bytes(proof)]:
            return proof
        case _:
            raise HeaderError("a ticket is null or an array of its proof")


def _number_and_bytes(value: CborValue) -> tuple[int, bytes]:
    match value:
        case [int(number), bytes(data)] if not isinstance(number, bool):
            return number, data
        case _:
            raise HeaderError("a proof is an array of a number and bytes")


def _signature_of(value: CborValue) -> Signature | None:
    match value:
        case None:
            return None
        case bytes(raw):
            return Signature.from_bytes(raw)
        case _:
            raise HeaderError("a signature is null or bytes")


def _link(value: CborValue) -> Cid:
    if not isinstance(value, Cid):
        raise HeaderError("a parent is a link")
    return value
