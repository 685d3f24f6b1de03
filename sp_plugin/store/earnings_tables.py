"""The tables of earnings: wins, how far they are read and closed, closed periods with their parts, what they carry forward."""

from __future__ import annotations

from sqlalchemy import Column, Integer, LargeBinary, String, Table, Text

from sp_plugin.store.base import AddressType, AttoFilType, CidType, metadata
from sp_plugin.store.chain_codec import TipSetKeyType

__all__ = [
    "earnings_budgets",
    "earnings_cursors",
    "earnings_deficits",
    "earnings_nets",
    "earnings_periods",
    "earnings_sums",
    "earnings_wins",
]

earnings_wins = Table(
    "earnings_wins",
    metadata,
    Column("block", CidType, primary_key=True),
    Column("epoch", Integer, nullable=False, index=True),
    Column("provider", Integer, nullable=False),
    Column("tipset", TipSetKeyType, nullable=False),
    Column("finalized", TipSetKeyType, nullable=False),
    Column("header", LargeBinary, nullable=False),
    Column("win_count", Integer, nullable=False),
    Column("lookback", TipSetKeyType),
    Column("lookback_height", Integer),
    Column("network_version", Integer),
    Column("miner_qap", String(40)),
    Column("network_qap", String(40)),
    Column("epoch_reward", AttoFilType),
    Column("award_trace", Text),
    Column("problem", Text, nullable=False, default=""),
    Column("attempts", Integer, nullable=False, default=1),
    Column("period", Integer),  # the closed period and revision that it is part of
    Column("revision", Integer),
)
earnings_cursors = Table(
    "earnings_cursors",
    metadata,
    Column("provider", Integer, primary_key=True, autoincrement=False),
    Column("ingested_to", Integer, nullable=False),
    Column("next_period", Integer, nullable=False),
)
earnings_periods = Table(
    "earnings_periods",
    metadata,
    Column("provider", Integer, primary_key=True, autoincrement=False),
    Column("period", Integer, primary_key=True, autoincrement=False),
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("root", LargeBinary(32), nullable=False),
    Column("leaves", Integer, nullable=False),
    Column("shareable", AttoFilType, nullable=False),
    Column("to_provider", AttoFilType, nullable=False),
    Column("unknown", Text, nullable=False),  # JSON list of the wins left out, with reasons
    Column(
        "shares", Text, nullable=False
    ),  # JSON of the produced and used pieces that were split by
    Column("settings", Text, nullable=False),  # JSON of the operator's settings that were split by
    Column("closed_at", Integer, nullable=False),
    Column(
        "closing", Integer, nullable=False
    ),  # 0, 1, 2 …: deficits pass from one closing to the next
)
earnings_sums = Table(
    "earnings_sums",
    metadata,
    Column("provider", Integer, primary_key=True, autoincrement=False),
    Column("period", Integer, primary_key=True, autoincrement=False),
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("payee", AddressType, primary_key=True),
    Column("job", String(200), primary_key=True),
    Column("produced", AttoFilType, nullable=False),
    Column("used", AttoFilType, nullable=False),
)
earnings_nets = Table(
    "earnings_nets",
    metadata,
    Column("provider", Integer, primary_key=True, autoincrement=False),
    Column("period", Integer, primary_key=True, autoincrement=False),
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("payee", AddressType, primary_key=True),
    Column("piece", String(200), primary_key=True),
    Column("gross", AttoFilType, nullable=False),
    Column("fee_cost", AttoFilType, nullable=False),
    Column("capital_cost", AttoFilType, nullable=False),
    Column("carried", AttoFilType, nullable=False),
    Column("net", AttoFilType, nullable=False),
    Column("deficit", AttoFilType, nullable=False),
)
earnings_deficits = Table(
    "earnings_deficits",
    metadata,
    Column("payee", AddressType, primary_key=True),
    Column("piece", String(200), primary_key=True),
    Column("deficit", AttoFilType, nullable=False),
)
earnings_budgets = Table(
    "earnings_budgets",
    metadata,
    Column("payee", AddressType, primary_key=True),
    Column("job", String(200), primary_key=True),
    Column("paid", AttoFilType, nullable=False),
)
