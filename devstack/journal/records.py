"""Values as records and back: the network's make-up, tipsets, sectors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any, Final

from deals.commp import PieceCommitment
from devstack.chain import AccountSpec, NetworkConfig, ProviderSpec, mining
from devstack.journal.frames import JournalError
from devstack.sectors import Sector, SectorPiece, SectorState, StagedPiece
from lotus_client.actors.miner import VerifiedAllocationKey
from lotus_client.bls import BlsKey
from lotus_client.chain import BlockHeader, TipSet, TipSetKey
from lotus_client.cid import Cid
from lotus_client.crypto import Secp256k1Key, SigningKey
from lotus_client.delegated import DelegatedKey
from lotus_client.messages import SignedMessage
from lotus_client.types import AttoFil, Epoch, PaddedPieceSize, SectorNumber

__all__ = [
    "config_of",
    "config_record",
    "key_cids",
    "key_of",
    "sector_of",
    "sector_record",
    "tipset_of",
    "tipset_record",
    "wallet_key_of",
    "wallet_record",
]

Record = list[Any]

_SPECS: Final = {"accounts": AccountSpec, "providers": ProviderSpec}


def config_record(config: NetworkConfig) -> Record:
    """The network's make-up; JSON, since amounts go beyond 64 bits."""
    return ["config", json.dumps(asdict(config), sort_keys=True)]


def config_of(record: Record) -> NetworkConfig:
    """The make-up of such a record.

    Raises:
        JournalError: it is none, or has what this version does not know.
    """
    try:
        values: dict[str, Any] = json.loads(record[1])
        unknown = values.keys() - {one.name for one in fields(NetworkConfig)}
        if unknown:
            raise JournalError(f"the chain's network has {min(unknown)}, unknown to this version")
        for name, spec in _SPECS.items():
            values[name] = tuple(
                spec(**{**one, "balance": AttoFil(one["balance"]["value"])}) for one in values[name]
            )
        values["root_signers"] = tuple(values["root_signers"])
        return NetworkConfig(**values)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise JournalError(f"the chain's network cannot be read: {error}") from error


def key_cids(key: TipSetKey) -> list[Cid]:
    """A tipset key as a list of links."""
    return list(key.cids)


def key_of(value: Any) -> TipSetKey:
    """The key of such a list; JournalError for anything else."""
    if isinstance(value, list) and value and all(isinstance(cid, Cid) for cid in value):
        return TipSetKey(tuple(value))
    raise JournalError("a record has no tipset key where one belongs")


def tipset_record(tipset: TipSet, messages: Sequence[Sequence[SignedMessage]]) -> Record:
    """A tipset's headers and each block's messages."""
    return [
        "tipset",
        [header.to_cbor() for header in tipset.blocks],
        [[signed.to_cbor() for signed in block] for block in messages],
    ]


def tipset_of(record: Record) -> tuple[TipSet, list[list[SignedMessage]]]:
    """The tipset and messages of such a record.

    Raises:
        JournalError: they do not decode.
    """
    try:
        _, headers, blocks = record
        tipset = mining.tipset_of([BlockHeader.from_cbor(raw) for raw in headers])
        messages = [[SignedMessage.from_cbor(raw) for raw in block] for block in blocks]
    except (ValueError, TypeError, LookupError) as error:
        raise JournalError(f"a tipset of the chain cannot be read: {error}") from error
    if len(messages) != len(tipset.blocks):
        raise JournalError("a tipset of the chain has not as many message lists as blocks")
    return tipset, messages


def sector_record(miner: int, sector: Sector) -> Record:
    """A sector of the `miner`-th provider; payloads are not kept, since they are written already."""
    messages = [[kind, cid] for kind, cid in sector.messages.items()]
    pieces = [_piece_record(piece) for piece in sector.pieces]
    return [
        "sector", miner, sector.number, str(sector.state), sector.last_error, messages, pieces, sector.commd,
        sector.sealed_cid, sector.ticket, sector.ticket_epoch, sector.expiration,
    ]  # fmt: skip


def _piece_record(piece: SectorPiece) -> Record:
    staged: Record | None = None
    if piece.staged is not None:
        made, key = piece.staged.commitment, piece.staged.allocation
        allocation = None if key is None else [key.client, key.id]
        staged = [
            made.piece_cid, made.padded_size, made.payload_size, allocation, piece.staged.deal
        ]  # fmt: skip
    return [piece.offset, piece.size, piece.piece_cid, staged]


def sector_of(record: Record) -> Sector:
    """The sector of such a record.

    Raises:
        JournalError: it cannot be read.
    """
    try:
        _, _, number, state, error, messages, pieces, commd, sealed, ticket, epoch, expiration = (
            record
        )
        return Sector(
            number=SectorNumber(number),
            pieces=tuple(_piece_of(piece) for piece in pieces),
            commd=commd,
            sealed_cid=sealed,
            ticket=ticket,
            ticket_epoch=Epoch(epoch),
            expiration=Epoch(expiration),
            state=SectorState(state),
            messages=dict(messages),
            last_error=error,
        )
    except (ValueError, TypeError) as problem:
        raise JournalError(f"a sector of the chain cannot be read: {problem}") from problem


def _piece_of(record: Record) -> SectorPiece:
    offset, size, cid, staged = record
    kept: StagedPiece | None = None
    if staged is not None:
        piece_cid, padded, payload, allocation, deal = staged
        commitment = PieceCommitment(piece_cid, PaddedPieceSize(padded), payload)
        key = None if allocation is None else VerifiedAllocationKey(*allocation)
        kept = StagedPiece(b"", commitment, key, deal)
    return SectorPiece(offset, PaddedPieceSize(size), cid, kept)


def wallet_record(key: SigningKey) -> Record:
    """A key of the node's wallet, by the protocol of its address."""
    return ["wallet", key.address.protocol, key.secret]


def wallet_key_of(record: Record) -> SigningKey:
    """The key of such a record; JournalError for a kind of key that this version does not have."""
    match record:
        case [_, 1, bytes(secret)]:
            return Secp256k1Key(secret)
        case [_, 3, bytes(secret)]:
            return BlsKey(secret)
        case [_, 4, bytes(secret)]:
            return DelegatedKey(secret)
    raise JournalError("the chain's wallet has a key of a kind unknown to this version")
