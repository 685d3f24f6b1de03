"""What payouts need of a node and of a signer. `LotusClient` and the signers of `signer` have these methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from lotus_client.address import Address
from lotus_client.chain import TipSet, TipSetKey
from lotus_client.cid import Cid
from lotus_client.crypto import Signature
from lotus_client.errors import LotusRpcError
from lotus_client.messages import Message, SignedMessage
from lotus_client.state import ActorState, MessageLookup
from lotus_client.types import ActorId, AttoFil, Epoch

__all__ = ["ActorReader", "FundingChain", "PayoutChain", "Signer", "find_actor"]


class ActorReader(Protocol):
    """Reads an actor's record in the parent state of a tipset."""

    async def actor(self, address: Address, tsk: TipSetKey, /) -> ActorState: ...


class PayoutChain(ActorReader, Protocol):
    """The reads and the one write that sending needs."""

    async def head(self) -> TipSet: ...
    async def genesis(self) -> TipSet: ...
    async def finalized_tipset(self) -> TipSet: ...
    async def tipset(self, key: TipSetKey, /) -> TipSet: ...
    async def tipset_by_height(self, height: Epoch, tsk: TipSetKey, /) -> TipSet: ...
    async def mpool_nonce(self, address: Address, /) -> int: ...
    async def mpool_push(self, signed: SignedMessage, /) -> Cid: ...
    async def mpool_pending(self) -> Sequence[SignedMessage]: ...
    async def estimate_gas(self, message: Message, max_fee: AttoFil, /) -> Message: ...
    async def search_msg(
        self, cid: Cid, /, *, limit: int = -1, allow_replaced: bool = False
    ) -> MessageLookup | None: ...


class FundingChain(ActorReader, Protocol):
    """The reads that tell what arrived in a wallet, and by which message."""

    async def finalized_tipset(self) -> TipSet: ...
    async def tipset(self, key: TipSetKey, /) -> TipSet: ...
    async def tipset_by_height(self, height: Epoch, tsk: TipSetKey, /) -> TipSet: ...
    async def tipset_after_height(self, height: Epoch, tsk: TipSetKey, /) -> TipSet: ...
    async def mpool_nonce(self, address: Address, /) -> int: ...
    async def lookup_id(self, address: Address, tsk: TipSetKey, /) -> ActorId: ...
    async def compute_state(self, height: Epoch, tsk: TipSetKey, /) -> Mapping[str, Any]: ...


class Signer(Protocol):
    """Something that holds the payout key. It signs and returns; it never sends."""

    async def sign(self, message: Message) -> Signature:
        """The signature of `message.from_` over the message's CID bytes.

        Raises:
            SignerError: it will not or cannot sign; says why.
        """
        ...


async def find_actor(chain: ActorReader, address: Address, key: TipSetKey) -> ActorState | None:
    """The actor, `None` if the chain has none at that address yet.

    Lotus says that with an error whose text is "actor not found" (`chain/types/actor.go`).
    """
    try:
        return await chain.actor(address, key)
    except LotusRpcError as error:
        if "actor not found" in error.message:
            return None
        raise
