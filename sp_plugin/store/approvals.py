"""Approvals and revocations as they were signed: kept for good, because statements refer to them."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Integer,
    LargeBinary,
    String,
    Table,
    UniqueConstraint,
    bindparam,
    insert,
    select,
)
from sqlalchemy.engine import Row

from fil_plus.approvals import Approval, Revocation, RevocationReason
from lotus_client.crypto import Signature
from lotus_client.types import Epoch
from sp_plugin.store.base import AddressType, Store, metadata, unless_there

__all__ = ["ApprovalRepository", "approvals", "revocations"]

approvals = Table(
    "approvals",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("digest", LargeBinary(32), nullable=False, index=True),
    Column("approver", AddressType, nullable=False),
    Column("role", String(100), nullable=False),
    Column("signature", LargeBinary(200), nullable=False),
    Column("received_at", BigInteger, nullable=False),  # Unix nanoseconds
    UniqueConstraint("digest", "approver", "role"),
)

revocations = Table(
    "revocations",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("digest", LargeBinary(32), nullable=False, index=True),
    Column("approver", AddressType, nullable=False),
    Column("reason", String(20), nullable=False),
    Column("at_epoch", BigInteger, nullable=False),
    Column("signature", LargeBinary(200), nullable=False),
    Column("received_at", BigInteger, nullable=False),
    UniqueConstraint("digest", "approver", "reason"),
)

_APPROVALS: Final = (
    select(approvals).where(approvals.c.digest == bindparam("of")).order_by(approvals.c.id)
)
_REVOCATIONS: Final = (
    select(revocations).where(revocations.c.digest == bindparam("of")).order_by(revocations.c.id)
)


class ApprovalRepository:
    """The signatures in the store. Nothing is verified here: whoever adds has verified."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def add(self, approval: Approval, now: int) -> bool:
        """Whether the approval is new; the same approver's older one in that role stays as it is."""
        values = {
            "digest": approval.digest,
            "approver": approval.approver,
            "role": approval.role,
            "signature": approval.signature.to_bytes(),
            "received_at": now,
        }
        async with self._store.transaction(brief=True) as connection:
            query = unless_there(connection, approvals)
            return bool((await connection.execute(query, values)).rowcount)

    async def of_digest(self, digest: bytes) -> tuple[Approval, ...]:
        """The approvals of a digest, oldest first."""
        return (await self.signed(digest))[0]

    async def signed(self, digest: bytes) -> tuple[tuple[Approval, ...], tuple[Revocation, ...]]:
        """The approvals and the revocations of a digest, each oldest first."""
        async with self._store.reading(brief=True) as connection:
            given = (await connection.execute(_APPROVALS, {"of": digest})).all()
            taken_back = (await connection.execute(_REVOCATIONS, {"of": digest})).all()
        return tuple(map(_approval, given)), tuple(map(_revocation, taken_back))

    async def add_revocation(self, revocation: Revocation, now: int) -> bool:
        """Whether the revocation is new."""
        key = (
            revocations.c.digest == revocation.digest,
            revocations.c.approver == revocation.approver,
            revocations.c.reason == revocation.reason.value,
        )
        async with self._store.transaction(brief=True) as connection:
            if (await connection.execute(select(revocations.c.id).where(*key))).first():
                return False
            await connection.execute(
                insert(revocations).values(
                    digest=revocation.digest,
                    approver=revocation.approver,
                    reason=revocation.reason.value,
                    at_epoch=revocation.at_epoch,
                    signature=revocation.signature.to_bytes(),
                    received_at=now,
                )
            )
            return True

    async def revocations_of(self, digest: bytes) -> tuple[Revocation, ...]:
        """The revocations of a digest, oldest first."""
        return (await self.signed(digest))[1]


def _approval(row: Row[Any]) -> Approval:
    return Approval(row.digest, row.approver, Signature.from_bytes(row.signature), row.role)


def _revocation(row: Row[Any]) -> Revocation:
    signature, reason = Signature.from_bytes(row.signature), RevocationReason(row.reason)
    return Revocation(row.digest, row.approver, signature, reason, Epoch(row.at_epoch))
