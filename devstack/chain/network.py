"""The embedded network: mines on request, executes, reorganises, and answers reads of any past state."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from devstack.chain.config import NetworkConfig
from devstack.chain.mpool import MessagePool
from devstack.chain.reads import StateView
from devstack.chain.values import (
    EventFilter,
    Invocation,
    StampedEvent,
    TipSetExecution,
)
from lotus_client.address import Address
from lotus_client.chain import BlockHeader, HeadChange, TipSet, TipSetKey
from lotus_client.cid import Cid
from lotus_client.crypto import Secp256k1Key
from lotus_client.messages import Message, SignedMessage
from lotus_client.state import ActorEvent, MessageLookup, Receipt
from lotus_client.types import AttoFil, Epoch

__all__ = ["Network"]


class Network:
    """One Filecoin-like chain in memory. Not thread safe; every call returns when its work is done."""

    config: NetworkConfig
    mpool: MessagePool
    genesis: TipSet
    head: TipSet
    genesis_miner: Address  # t01000
    providers: tuple[Address, ...]  # t01001, …, then those made later

    def __init__(self, config: NetworkConfig | None = None) -> None:
        raise NotImplementedError

    # keys ---------------------------------------------------------------------------------------------------------

    def key(self, name: str) -> Secp256k1Key:
        """The key of the account `name` (funded or not); same seed and name, same key."""
        raise NotImplementedError

    def send(
        self,
        sender: str | Secp256k1Key,
        to: Address,
        method: int = 0,
        params: bytes = b"",
        value: AttoFil = AttoFil(0),
    ) -> Cid:
        """Estimate gas, sign and push a message with the sender's next nonce; its CID."""
        raise NotImplementedError

    # time ---------------------------------------------------------------------------------------------------------

    def mine_epoch(self, *, null: bool = False) -> TipSet | None:
        """Go one epoch on. The new head, or None for a null round (which also has no head change)."""
        raise NotImplementedError

    def advance(self, epochs: int) -> TipSet:
        """Mine that many epochs; the head then."""
        raise NotImplementedError

    def mine_until(self, cid: Cid, limit: int = 20) -> MessageLookup:
        """Mine until the message is executed; ChainLookupError after `limit` epochs."""
        raise NotImplementedError

    def before_epoch(self, hook: Callable[[Epoch], None]) -> Callable[[], None]:
        """Call `hook(epoch)` before each non-null epoch is mined, so that it can push messages; returns the remover."""
        raise NotImplementedError

    def prove_automatically(self, miner: Address, *, enabled: bool = True) -> None:
        """Let the network send the miner's SubmitWindowedPoSt messages (with its worker's key), or stop.

        On for the genesis miner, off for others at first. Off means missed PoSts and so faults.
        """
        raise NotImplementedError

    def reorg(self, depth: int) -> list[HeadChange]:
        """Replace the newest `depth` tipsets by a heavier fork without their messages, which return to the mempool.

        The fork has at least one tipset more. Subscribers get one batch: reverts from the old head downward, then
        applies upward. ValueError when the chain is not that long.
        """
        raise NotImplementedError

    def subscribe(self, callback: Callable[[list[HeadChange]], None]) -> Callable[[], None]:
        """Call back with each batch of head changes (no `current` first); returns the unsubscriber."""
        raise NotImplementedError

    def create_provider(self, owner: str, worker: str, balance: AttoFil) -> Address:
        """A new miner made by a CreateMiner message from the owner's account (mines a few epochs); its f0 address."""
        raise NotImplementedError

    # lookups ------------------------------------------------------------------------------------------------------
    # `key` is a TipSetKey; None or an empty one is the head. Unknown things raise ChainLookupError.

    def tipset(self, key: TipSetKey | None = None) -> TipSet:
        """The tipset of that key, on the canonical chain or not."""
        raise NotImplementedError

    def block(self, cid: Cid) -> BlockHeader:
        """The header of that CID."""
        raise NotImplementedError

    def tipset_by_height(self, height: Epoch, key: TipSetKey | None = None) -> TipSet:
        """The tipset at that height below `key`; for a null round the next lower one."""
        raise NotImplementedError

    def tipset_after_height(self, height: Epoch, key: TipSetKey | None = None) -> TipSet:
        """The tipset at that height below `key`; for a null round the next higher one."""
        raise NotImplementedError

    def path(self, start: TipSetKey, end: TipSetKey) -> list[HeadChange]:
        """The reverts, then applies that lead from one tipset to the other."""
        raise NotImplementedError

    def finalized(self) -> TipSet:
        """The tipset 900 epochs below the head (EC finality; the devnet has no F3)."""
        raise NotImplementedError

    def messages_in_block(self, cid: Cid) -> tuple[SignedMessage, ...]:
        """The messages the block includes, BLS first, then secp, also those an earlier block of its tipset holds."""
        raise NotImplementedError

    def messages_in_tipset(self, key: TipSetKey | None = None) -> tuple[SignedMessage, ...]:
        """The messages included in the tipset, each once, in the order of their execution."""
        raise NotImplementedError

    def parent_messages(self, block: Cid) -> tuple[SignedMessage, ...]:
        """The messages of the block's parent tipset, in execution order."""
        raise NotImplementedError

    def parent_receipts(self, block: Cid) -> tuple[Receipt, ...]:
        """Their receipts, in the same order."""
        raise NotImplementedError

    def message(self, cid: Cid) -> SignedMessage:
        """A message by its own CID or its unsigned one, included or pending."""
        raise NotImplementedError

    def search_message(
        self,
        cid: Cid,
        key: TipSetKey | None = None,
        lookback: int = -1,
        *,
        allow_replaced: bool = True,
    ) -> MessageLookup | None:
        """Where below `key` the message was executed, None when it was not (yet)."""
        raise NotImplementedError

    def execution(self, key: TipSetKey | None = None) -> TipSetExecution:
        """The tipset executed again with all traces (StateCompute without extra messages)."""
        raise NotImplementedError

    def call(self, message: Message, key: TipSetKey | None = None) -> Invocation:
        """The message run on the tipset's *post* state and thrown away (StateCall); no signature, nonce or gas needed."""
        raise NotImplementedError

    def estimate_gas(self, message: Message, max_fee: AttoFil | None = None) -> Message:
        """The message with its zero gas fields filled, as GasEstimateMessageGas."""
        raise NotImplementedError

    def events_of_root(self, root: Cid) -> tuple[StampedEvent, ...]:
        """The events behind a receipt's EventsRoot."""
        raise NotImplementedError

    def actor_events(self, wanted: EventFilter) -> Sequence[ActorEvent]:
        """The matching events of executed tipsets, oldest first; by height only the canonical chain's."""
        raise NotImplementedError

    def state(self, key: TipSetKey | None = None) -> StateView:
        """The state that `State*` calls at this key read: the one *before* the tipset's own messages."""
        raise NotImplementedError

    def pending_state(self) -> StateView:
        """The state after the head's messages, which the next tipset's header will carry."""
        raise NotImplementedError

    def ticket_randomness(
        self, domain: int, epoch: Epoch, entropy: bytes = b"", key: TipSetKey | None = None
    ) -> bytes:
        """The chain randomness drawn from the newest ticket at or below `epoch` (StateGetRandomnessFromTickets)."""
        raise NotImplementedError

    def network_version(self, epoch: Epoch) -> int:
        """The network version that messages of that epoch run under."""
        raise NotImplementedError
