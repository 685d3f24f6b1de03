"""What payouts need of a node and of a signer. `LotusClient` and the signers of `signer` have these methods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from lotus_client.address import Address
from lotus_client.chain import TipSet, TipSetKey
from lotus_client.cid import Cid
from lotus_client.crypto import Signature
from lotus_client.messages import Message, SignedMessage
from lotus_client.state import ActorState, MessageLookup
from lotus_client.types import ActorId, AttoFil, Epoch

__all__ = ["FundingChain", "PayoutChain", "Signer"]


class PayoutChain(Protocol):
    """The reads and the one write that sending needs."""

    async def head(self) -> TipSet: ...
    async def finalized_tipset(self) -> TipSet: ...
    async def tipset(self, key: TipSetKey) -> TipSet: ...
    async def tipset_by_height(self, height: Epoch, key: TipSetKey) -> TipSet: ...
    async def actor(self, address: Address, key: TipSetKey) -> ActorState | None:
        """The actor in the parent state of `key`; `None` if it does not exist."""
        ...

    async def mpool_nonce(self, address: Address) -> int: ...
    async def mpool_push(self, signed: SignedMessage) -> Cid: ...
    async def estimate_gas(self, message: Message, max_fee: AttoFil) -> Message: ...
    async def search_msg(
        self, cid: Cid, limit: int = -1, *, allow_replaced: bool = True
    ) -> MessageLookup | None: ...


class FundingChain(Protocol):
    """The reads that tell what arrived in a wallet, and by which message."""

    async def finalized_tipset(self) -> TipSet: ...
    async def tipset_by_height(self, height: Epoch, key: TipSetKey) -> TipSet: ...
    async def actor(self, address: Address, key: TipSetKey) -> ActorState | None: ...
    async def lookup_id(self, address: Address, key: TipSetKey) -> ActorId | None: ...
    async def compute_state(self, height: Epoch, key: TipSetKey) -> Mapping[str, Any]: ...


class Signer(Protocol):
    """Something that holds the payout key. It signs and returns; it never sends."""

    async def sign(self, message: Message) -> Signature:
        """The signature of `message.from_` over the message's CID bytes.

        Raises:
            SignerError: it will not or cannot sign; says why.
        """
        ...
