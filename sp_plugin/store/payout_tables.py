"""The tables of payouts.

What makes a second payment impossible is here as constraints: a payout has at most one nonce, a nonce of a wallet
belongs to at most one payout, and signed bytes are only added, never changed.
"""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from sp_plugin.store.base import AddressType, AttoFilType, CidType, metadata
from sp_plugin.store.chain_codec import TipSetKeyType

__all__ = ["payout_batches", "payout_messages", "payout_wallets", "payouts"]

payout_batches = Table(
    "payout_batches",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("content", Text, nullable=False),
    Column("approved_by", String(200)),
    Column("approved_at", Integer),
)
payouts = Table(
    "payouts",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("payee", AddressType, nullable=False, index=True),
    Column("amount", AttoFilType, nullable=False),
    Column("state", String(12), nullable=False, index=True),
    Column("batch", ForeignKey("payout_batches.digest")),
    Column("reason", Text, nullable=False, default=""),
    Column("wallet", AddressType),
    Column("nonce", Integer),
    Column("message", CidType),
    Column("height", Integer),
    Column("tipset", TipSetKeyType),
    Column("exit_code", Integer),
    Column("gas_cost", AttoFilType),
    Column("approved_at", Integer),
    UniqueConstraint("wallet", "nonce", name="uq_payouts_wallet_nonce"),
)
payout_messages = Table(
    "payout_messages",
    metadata,
    Column("cid", CidType, primary_key=True),
    Column("payout", ForeignKey("payouts.id"), nullable=False, index=True),
    Column("position", Integer, nullable=False),  # 0 is the first, each replacement one more
    Column("signed", LargeBinary, nullable=False),
    Column("signed_at", Integer, nullable=False),
    Column("pushed", Boolean, nullable=False, default=False),
    UniqueConstraint("payout", "position", name="uq_payout_messages_payout_position"),
)
payout_wallets = Table(
    "payout_wallets",
    metadata,
    Column("wallet", AddressType, primary_key=True),
    Column("base_nonce", Integer, nullable=False),
    Column("paused", Boolean, nullable=False, default=False),
    Column("halted", Text, nullable=False, default=""),
    Column("funding_height", Integer),
    Column("funding_tipset", TipSetKeyType),
)
