"""What can be asked of the chain: tipsets, blocks, messages, receipts, events, and the state at any of them."""

from __future__ import annotations

from collections.abc import Sequence

from devstack.chain import mining
from devstack.chain.blocks import BlockIndex
from devstack.chain.config import NetworkConfig
from devstack.chain.event_index import EventIndex
from devstack.chain.execution import Executed, execute
from devstack.chain.finality import Finality
from devstack.chain.machine import Environment
from devstack.chain.mpool import MessagePool
from devstack.chain.reads import StateView
from devstack.chain.store import ChainStore
from devstack.chain.values import ChainLookupError, EventFilter, Invocation, StampedEvent
from lotus_client.chain import BlockHeader, HeadChange, TipSet, TipSetKey
from lotus_client.cid import Cid
from lotus_client.messages import SignedMessage
from lotus_client.state import ActorEvent, MessageLookup, Receipt
from lotus_client.types import Epoch

__all__ = ["ChainLookups"]


class ChainLookups:
    """The reading half of `Network`: a store of tipsets, each executed on first need.

    `key` is a TipSetKey everywhere; None or an empty one is the head. Unknown things raise ChainLookupError.
    """

    def __init__(self, config: NetworkConfig) -> None:
        self.config = config
        self.finality: Finality
        self._store = ChainStore()
        self._latest: tuple[TipSet | None, Executed | None] = None, None  # asked for most of all
        self._events = EventIndex(self._store)
        self.blocks = BlockIndex(self._store)
        self.mpool = MessagePool(lambda: self._after(self.head).tree, config.eip155_chain_id)

    @property
    def store(self) -> ChainStore:
        """The tipsets of all forks; to be read only."""
        return self._store

    @property
    def head(self) -> TipSet:
        """The newest tipset."""
        return self._store.head

    @property
    def epoch(self) -> Epoch:
        """The newest epoch: the head's, or that of null rounds mined after it."""
        return Epoch(self._store.epoch)

    # `key` is a TipSetKey; None or an empty one is the head. Unknown things raise ChainLookupError.

    def tipset(self, key: TipSetKey | None = None) -> TipSet:
        """The tipset of that key, on the canonical chain or not."""
        return self._store.tipset(key)

    def tipset_by_hash(self, digest: bytes) -> TipSet:
        """The tipset whose key's CID has that digest, on the canonical chain or not."""
        return self._store.by_hash(digest)

    def is_canonical(self, tipset: TipSet) -> bool:
        """Whether the tipset is on the head's chain."""
        return self._store.is_canonical(tipset)

    def invocations(self, key: TipSetKey | None = None) -> tuple[Invocation, ...]:
        """The explicit messages of the tipset, executed, in order; without traces."""
        return self._after(self.tipset(key)).invocations

    def block(self, cid: Cid) -> BlockHeader:
        """The header of that CID."""
        return self._store.block(cid)

    def tipset_by_height(self, height: Epoch, key: TipSetKey | None = None) -> TipSet:
        """The tipset at that height below `key`; for a null round the next lower one."""
        return self._store.by_height(height, key)

    def tipset_after_height(self, height: Epoch, key: TipSetKey | None = None) -> TipSet:
        """The tipset at that height below `key`; for a null round the next higher one."""
        return self._store.after_height(height, key)

    def path(self, start: TipSetKey, end: TipSetKey) -> list[HeadChange]:
        """The reverts, then applies that lead from one tipset to the other."""
        return self._store.path(self.tipset(start), self.tipset(end))

    def finalized(self) -> TipSet:
        """The newest final tipset: 900 epochs below the head, or where the simulated F3 is."""
        return self.finality.final()

    def messages_in_block(self, cid: Cid) -> tuple[SignedMessage, ...]:
        """The messages the block includes, also those that another block of its tipset holds."""
        return self._store.block_messages(cid)

    def messages_in_tipset(self, key: TipSetKey | None = None) -> tuple[SignedMessage, ...]:
        """The messages included in the tipset, each once, in the order of their execution."""
        return self._after(self.tipset(key)).messages

    def parent_messages(self, block: Cid) -> tuple[SignedMessage, ...]:
        """The messages of the block's parent tipset, in execution order."""
        header = self.block(block)
        return self.messages_in_tipset(header.parents) if header.parents else ()

    def parent_receipts(self, block: Cid) -> tuple[Receipt, ...]:
        """Their receipts, in the same order."""
        header = self.block(block)
        if not header.parents:
            return ()
        runs = self._after(self.tipset(header.parents)).invocations
        return tuple(run.receipt for run in runs)

    def message(self, cid: Cid) -> SignedMessage:
        """A message by its own CID or its unsigned one: included, pending, or lately replaced in the mempool."""
        found = self._store.signed(cid) or self.mpool.find(cid)
        if found is None:
            raise ChainLookupError(f"message not found: {cid}")
        return found

    def search_message(
        self,
        cid: Cid,
        key: TipSetKey | None = None,
        lookback: int = -1,
        *,
        allow_replaced: bool = True,
    ) -> MessageLookup | None:
        """Where below `key` the message was executed, None when it was not (yet)."""
        start = self.tipset(key)
        wanted = self._store.signed(cid)
        candidates = [cid]
        if allow_replaced:
            try:
                wanted = wanted or self.message(cid)
            except ChainLookupError:
                wanted = None
            if wanted is not None:
                same = [one for one in self._store.of_nonce(wanted) if self._is_same(one, wanted)]
                candidates += [one for one in same if one != cid]
        for candidate in candidates:
            found = self._lookup(candidate, start)
            if found is not None and (lookback < 0 or found.height >= start.height - lookback):
                return found
        return None

    def _is_same(self, cid: Cid, wanted: SignedMessage) -> bool:
        other = self._store.signed(cid)
        return other is not None and other.message.is_same_call(wanted.message)

    def _lookup(self, cid: Cid, start: TipSet) -> MessageLookup | None:
        for key in self._store.including(cid):
            tipset = self.tipset(key)
            if tipset.height >= start.height:
                continue
            child = self._store.after_height(tipset.height + 1, start.key)
            if child.parents != key:
                continue
            for run in self._after(tipset).invocations:
                if run.cid == cid:
                    return MessageLookup(cid, run.receipt, child.key, child.height)
        return None

    def events_of_root(self, root: Cid) -> tuple[StampedEvent, ...]:
        """The events behind a receipt's EventsRoot."""
        return self._events.of_root(root)

    def actor_events(self, wanted: EventFilter) -> Sequence[ActorEvent]:
        """The matching events of executed tipsets, oldest first; by height only the canonical chain's."""
        return self._events.find(wanted, self.head)

    def state(self, key: TipSetKey | None = None) -> StateView:
        """The state that `State*` calls at this key read: the one *before* the tipset's own messages."""
        tipset = self.tipset(key)
        before = self._store.parent(tipset) if tipset.parents else tipset
        return StateView(self._after(before).tree, tipset.height)

    def pending_state(self, key: TipSetKey | None = None) -> StateView:
        """The state after the tipset's messages, which its child's header will carry."""
        tipset = self.tipset(key)
        return StateView(self._after(tipset).tree, tipset.height)

    def ticket_randomness(
        self, domain: int, epoch: Epoch, entropy: bytes = b"", key: TipSetKey | None = None
    ) -> bytes:
        """The chain randomness drawn from the newest ticket at or below `epoch` (StateGetRandomnessFromTickets)."""
        tipset = self.tipset_by_height(Epoch(max(epoch, 0)), key)
        return mining.draw_randomness(tipset.blocks[0].ticket or b"", domain, epoch, entropy)

    def network_version(self, epoch: Epoch) -> int:
        """The network version that messages of that epoch run under."""
        flip = self.config.nv29_epoch
        return 29 if flip is not None and epoch >= flip else self.config.network_version

    # execution -----------------------------------------------------------------------------------------------------------

    def weight(self, key: TipSetKey | None = None) -> int:
        """The weight of the chain up to and with this tipset (ChainTipSetWeight)."""
        return self.weight_of(self.tipset(key))

    def weight_of(self, tipset: TipSet) -> int:
        """The weight of the chain up to and with this tipset."""
        if not tipset.parents:
            return 0
        power = self._after(self._store.parent(tipset)).tree.actors[4].state.total_qap
        wins = sum(header.win_count for header in tipset.blocks)
        return mining.weight(tipset.blocks[0].parent_weight, power, wins)

    def _after(self, tipset: TipSet) -> Executed:
        """A tipset's outcome, executed on first need."""
        latest, outcome = self._latest
        if latest is tipset and outcome is not None:
            return outcome
        known = self._store.execution(tipset.key)
        if known is None:
            known = self._execute(tipset, tracing=False).without_implicit()
            self._store.keep_execution(tipset.key, known)
            self._events.add(tipset, known.invocations)
        self._latest = tipset, known
        return known

    def _execute(self, tipset: TipSet, *, tracing: bool) -> Executed:
        parent = self._store.parent(tipset)
        blocks = [
            (header, self._store.block_messages(cid))
            for cid, header in zip(tipset.key, tipset.blocks, strict=True)
        ]

        def environment(epoch: int) -> Environment:
            return self._environment(tipset, epoch, tracing=tracing)

        return execute(self._after(parent).tree, blocks, parent.height, environment)

    def _environment(self, tipset: TipSet, epoch: int, *, tracing: bool) -> Environment:
        return Environment(
            self.config,
            epoch,
            self.network_version(Epoch(epoch)),
            lambda domain, at, entropy: self.ticket_randomness(
                domain, Epoch(at), entropy, tipset.key
            ),
            lambda at: self.tipset_by_height(Epoch(at), tipset.key).key.cid.digest,
            tracing,
        )
