"""The tables of what the follower has learned about the chain."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, String, Table, Text

from sp_plugin.store.base import CidType, metadata
from sp_plugin.store.chain_codec import TipSetKeyType

__all__ = [
    "cursors",
    "events",
    "gaps",
    "held_pieces",
    "intervals",
    "own_blocks",
    "sector_ends",
    "snapshots",
    "tipsets",
]

cursors: Final = Table(
    "chain_cursors",
    metadata,
    Column("provider", BigInteger, primary_key=True, autoincrement=False),
    Column("height", BigInteger, nullable=False),
    Column("tipset", TipSetKeyType, nullable=False),
    Column("finalized", BigInteger, nullable=False),
    Column("claims_read_at", BigInteger),
)

tipsets: Final = Table(
    "chain_tipsets",
    metadata,
    Column("provider", BigInteger, primary_key=True, autoincrement=False),
    Column("height", BigInteger, primary_key=True, autoincrement=False),
    Column("tipset", TipSetKeyType, nullable=False),
)

events: Final = Table(
    "chain_events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("provider", BigInteger, nullable=False),
    Column("height", BigInteger, nullable=False),
    Column("tipset", TipSetKeyType, nullable=False),
    Column("message", CidType, nullable=False),
    Column("sector", BigInteger),  # null for allocations and deals
    Column("entries", LargeBinary, nullable=False),  # emitter and entries as DAG-CBOR
    Index("ix_chain_events_height", "provider", "height"),
    Index("ix_chain_events_sector", "provider", "sector"),
    Index("ix_chain_events_message", "provider", "message"),
)

held_pieces: Final = Table(
    "chain_held_pieces",
    metadata,
    Column("provider", BigInteger, primary_key=True, autoincrement=False),
    Column("key", String(220), primary_key=True),
    Column("piece_cid", CidType, nullable=False, index=True),
    Column("padded_size", BigInteger, nullable=False),
    Column("payload_size", BigInteger),
    Column("sector", BigInteger, nullable=False),
    Column("offset", BigInteger),
    Column("kind", String(20), nullable=False),
    Column("record", BigInteger),  # claim or deal id
    Column("client", BigInteger),
    Column("from_epoch", BigInteger, nullable=False),
    Column("to_epoch", BigInteger, nullable=False),
    Index("ix_chain_held_pieces_sector", "provider", "sector"),
)

sector_ends: Final = Table(
    "chain_sector_ends",
    metadata,
    Column("provider", BigInteger, primary_key=True, autoincrement=False),
    Column("sector", BigInteger, primary_key=True, autoincrement=False),
    Column("expiration", BigInteger, nullable=False),
)

intervals: Final = Table(
    "chain_sector_intervals",
    metadata,
    Column("provider", BigInteger, primary_key=True, autoincrement=False),
    Column("sector", BigInteger, primary_key=True, autoincrement=False),
    Column("from_epoch", BigInteger, primary_key=True, autoincrement=False),
    Column("to_epoch", BigInteger),
    Column("qap", BigInteger, nullable=False),
    Column("info", LargeBinary, nullable=False),
    Index("ix_chain_sector_intervals_to_epoch", "provider", "to_epoch"),
)

snapshots: Final = Table(
    "chain_snapshots",
    metadata,
    Column("provider", BigInteger, primary_key=True, autoincrement=False),
    Column("height", BigInteger, primary_key=True, autoincrement=False),
    Column("tipset", TipSetKeyType, nullable=False),
)

own_blocks: Final = Table(
    "chain_own_blocks",
    metadata,
    Column("provider", BigInteger, primary_key=True, autoincrement=False),
    Column("cid", CidType, primary_key=True),
    Column("epoch", BigInteger, nullable=False),
    Column("tipset", TipSetKeyType, nullable=False),
    Column("win_count", Integer, nullable=False),
    Column("header", LargeBinary, nullable=False),
    Index("ix_chain_own_blocks_epoch", "provider", "epoch"),
)

gaps: Final = Table(
    "chain_gaps",
    metadata,
    Column("provider", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", String(20), primary_key=True),
    Column("from_epoch", BigInteger, primary_key=True, autoincrement=False),
    Column("to_epoch", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
)
