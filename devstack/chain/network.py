"""The embedded network: mines on request, executes, reorganises, and answers reads of any past state."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from devstack.chain import election, gas, mining
from devstack.chain.actors.policy import CHALLENGE_WINDOW
from devstack.chain.actors.power import CONSENSUS_MINER_MIN_POWER
from devstack.chain.amt import array_root, message_meta
from devstack.chain.blocks import BlockIndex
from devstack.chain.config import NetworkConfig, derive_key
from devstack.chain.event_index import EventIndex
from devstack.chain.exchange import Exchange
from devstack.chain.execution import Executed, call_message, compute_on, execute
from devstack.chain.finality import FINALITY, Finality
from devstack.chain.forks import Forks, ForkShape
from devstack.chain.genesis import FIRST_MINER, GENESIS_WORKER, accounts_of, genesis_state
from devstack.chain.machine import Environment
from devstack.chain.mining import ParentFacts, Winner
from devstack.chain.mpool import MessagePool
from devstack.chain.prover import AutomaticProver
from devstack.chain.reads import StateView
from devstack.chain.states import MinerState, PowerState, StateTree
from devstack.chain.store import ChainListener, ChainStore
from devstack.chain.values import (
    ChainLookupError,
    EventFilter,
    Invocation,
    MessageFailed,
    StampedEvent,
    TipSetExecution,
)
from lotus_client.actors.methods import POWER, MinerMethod, PowerMethod
from lotus_client.actors.miner import SubmitWindowedPoStParams
from lotus_client.actors.system import CreatedActor, CreateMinerParams
from lotus_client.address import Address
from lotus_client.bls import BlsKey
from lotus_client.chain import BlockHeader, HeadChange, TipSet, TipSetKey
from lotus_client.cid import Cid
from lotus_client.crypto import Secp256k1Key, SigningKey
from lotus_client.messages import Message, SignedMessage
from lotus_client.state import ActorEvent, MessageLookup, Receipt
from lotus_client.types import AttoFil, Epoch

__all__ = ["FINALITY", "Network"]

# Lotus: premium floor 100,000; 0.07 FIL default maximum fee
_MIN_PREMIUM: Final = 100_000
_DEFAULT_MAX_FEE: Final = AttoFil(7 * 10**16)
_POST_DOMAIN: Final = 9
_SIGNATURE_ROOM: Final = 80  # bytes that signing adds to a message on chain, at most


class Network:
    """One Filecoin-like chain in memory. Not thread safe; every call returns when its work is done."""

    def __init__(self, config: NetworkConfig | None = None) -> None:
        self.config = config or NetworkConfig()
        self._store = ChainStore()
        self._keys: dict[Address, SigningKey] = {}
        self._names: list[str] = []
        self._bls_names: list[str] = []
        self._salt = 0
        self._latest: tuple[TipSet | None, Executed | None] = None, None  # asked for most of all
        self._share = (
            1,
            1,
        )  # of the power that mines here; less than all of it when the net is split
        self._hooks: list[Callable[[Epoch], None]] = []
        self._subscribers: list[Callable[[list[HeadChange]], None]] = []
        self._events = EventIndex(self._store)
        self.blocks = BlockIndex(self._store)
        self._prover = AutomaticProver(self)
        self.mpool = MessagePool(lambda: self._after(self.head).tree, self.config.eip155_chain_id)
        for name in accounts_of(self.config):
            self.key(name)
        tree = genesis_state(self.config)
        self.genesis = mining.tipset_of([self._genesis_block(tree)])
        self._store.add(self.genesis, [()])
        self._store.append(self.genesis, 0)
        self._store.keep_execution(self.genesis.key, Executed(tree, array_root([]), (), ()))
        self.finality = Finality(self._store, self.config.f3_lag)
        self.forks = Forks(self._store, self.finality, self.mpool, self)
        self.exchange = Exchange(self._store, self._events, self.mpool, self._after)
        self.genesis_miner = Address.of_id(FIRST_MINER)
        self._prover.set(FIRST_MINER, enabled=True)

    def _genesis_block(self, tree: StateTree) -> BlockHeader:
        return BlockHeader(
            miner=Address.of_id(0),
            ticket=election.draw("genesis ticket", self.config.seed),
            election_proof=None,
            beacon_entries=(),
            win_post_proof=(),
            parents=TipSetKey(),
            parent_weight=0,
            height=Epoch(0),
            parent_state_root=tree.root,
            parent_message_receipts=array_root([]),
            messages=message_meta([], []),
            bls_aggregate=None,
            timestamp=self.config.genesis_timestamp,
            block_sig=None,
            fork_signaling=0,
            parent_base_fee=AttoFil(gas.BASE_FEE),
        )

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

    @property
    def providers(self) -> tuple[Address, ...]:
        """All miners but the genesis miner, as of the head's executed state."""
        return tuple(self.pending_state().miners()[1:])

    # keys ---------------------------------------------------------------------------------------------------------

    def key(self, name: str) -> Secp256k1Key:
        """The key of the account `name` (funded or not); same seed and name, same key."""
        key = derive_key(self.config.seed, name)
        if key.address not in self._keys:
            self._keys[key.address] = key
            self._names.append(name)
            if self._store.listener is not None:
                self._store.listener.keyed(name)
        return key

    def bls_key(self, name: str) -> BlsKey:
        """The BLS key of that name, whose f3 account a transfer to it makes; same seed and name, same key."""
        key = BlsKey.of_seed(
            hashlib.sha256(f"devstack BLS|{self.config.seed}|{name}".encode()).digest()
        )
        if key.address not in self._keys:
            self._keys[key.address] = key
            self._bls_names.append(name)
            if self._store.listener is not None:
                self._store.listener.bls_keyed(name)
        return key

    @property
    def key_names(self) -> tuple[str, ...]:
        """The accounts whose keys were made here, in their order."""
        return tuple(self._names)

    @property
    def bls_key_names(self) -> tuple[str, ...]:
        """The names of the BLS keys that were made here, in their order."""
        return tuple(self._bls_names)

    def send(
        self,
        sender: str | SigningKey,
        to: Address,
        method: int = 0,
        params: bytes = b"",
        value: AttoFil | None = None,
    ) -> Cid:
        """Estimate gas, sign and push a message with the sender's next nonce; its CID.

        Gas is estimated without execution, so that messages that depend on waiting ones, or are meant to fail, can
        be sent too; but a contract has to be run to know what it takes.
        """
        key = self.key(sender) if isinstance(sender, str) else sender
        message = Message(
            to,
            key.address,
            self.mpool.next_nonce(key.address),
            value or AttoFil(0),
            method=int(method),
            params=params,
        )
        used = self.call(message).receipt.gas_used if gas.is_metered(message) else None
        return self.mpool.push(self._with_gas(message, None, used).signed_by(key))

    # time ---------------------------------------------------------------------------------------------------------

    def mine_epoch(self, *, null: bool = False) -> TipSet | None:
        """Go one epoch on. The new head, or None for a null round (which also has no head change)."""
        epoch = self._store.epoch + 1
        if null:
            self._store.append(None, epoch)
            return None
        for hook in tuple(self._hooks):
            hook(Epoch(epoch))
        self._prover.before_epoch(epoch)
        return self._mine_next(epoch)

    def _mine_next(self, epoch: int) -> TipSet | None:
        winners = self._winners(self.head, epoch, self._after(self.head).tree)
        if not winners:
            self._store.append(None, epoch)
            return None
        tipset = self._mine(self.head, epoch, self.mpool.select(), winners)
        self._store.append(tipset, epoch)
        self._after(tipset)
        self.mpool.settle()
        self._tell([HeadChange("apply", tipset)])
        return tipset

    def skip_epoch(self, miner: Address) -> TipSet | None:
        """Go one epoch on, by a null round if it is of no matter to anybody; the new head, None for a null round.

        Of matter is an epoch that the miner wins, one with messages to include (window PoSts are such), and one in each
        challenge window, so that what follows from the state, as the next PoSt, follows from a recent one. Cron runs
        for the skipped epochs when the next tipset is executed, as for all null rounds.
        """
        epoch = self._store.epoch + 1
        for hook in tuple(self._hooks):
            hook(Epoch(epoch))
        self._prover.before_epoch(epoch)
        due = epoch - self.head.height >= CHALLENGE_WINDOW // 2
        if due or not self.mpool.is_empty or self._wins(self.head, epoch, miner.actor_id):
            return self._mine_next(epoch)
        self._store.append(None, epoch)
        return None

    def advance(self, epochs: int) -> TipSet:
        """Mine that many epochs; the head then."""
        for _ in range(epochs):
            self.mine_epoch()
        return self.head

    def mine_until(self, cid: Cid, limit: int = 20) -> MessageLookup:
        """Mine until the message is executed; ChainLookupError after `limit` epochs."""
        for _ in range(limit):
            found = self.search_message(cid)
            if found is not None:
                return found
            self.mine_epoch()
        raise ChainLookupError(f"message {cid} was not executed within {limit} epochs")

    def before_epoch(self, hook: Callable[[Epoch], None]) -> Callable[[], None]:
        """Call `hook(epoch)` before each non-null epoch is mined, so that it can push messages; returns the remover."""
        self._hooks.append(hook)
        return lambda: self._hooks.remove(hook)

    def prove_automatically(self, miner: Address, *, enabled: bool = True) -> None:
        """Let the network send the miner's SubmitWindowedPoSt messages (with its worker's key), or stop.

        On for the genesis miner, off for others at first. Off means missed PoSts and so faults. The worker must be
        one of the network's own keys.
        """
        self._prover.set(miner.actor_id, enabled=enabled)
        if self._store.listener is not None:
            self._store.listener.proving(miner.actor_id, enabled)

    @property
    def proving(self) -> tuple[int, ...]:
        """The miners that the automatic prover works for."""
        return self._prover.miners

    def skip_posts(self, miner: Address, windows: int) -> None:
        """Let the automatic prover miss the miner's next so many windows that have something to prove."""
        self._prover.skip(miner.actor_id, windows)

    def reorg(self, depth: int, shape: ForkShape | None = None) -> list[HeadChange]:
        """Replace the newest `depth` tipsets by a heavier fork; messages it leaves out return to the mempool.

        The fork reaches at least one epoch higher. Subscribers get one batch: reverts from the old head downward,
        then applies upward. ValueError when the chain is not that long, ForkRefused below what is final.
        """
        return self.forks.replace(depth, shape)

    def set_head(self, key: TipSetKey) -> list[HeadChange]:
        """Make a known tipset the head without asking for weight or finality (ChainSetHead); what changed."""
        return self.forks.set_head(key)

    # what forks need ----------------------------------------------------------------------------------------------

    def mine_on(self, parent: TipSet, epoch: int, messages: Sequence[SignedMessage]) -> TipSet:
        """A new executed tipset on any parent. It is known, but canonical only when it is adopted."""
        tipset = self._mine(parent, epoch, messages)
        self._after(tipset)
        return tipset

    def weight_of(self, tipset: TipSet) -> int:
        """The weight of the chain up to and with this tipset."""
        return self._weight(tipset)

    def vary(self) -> None:
        """Draw other blocks than before from the same parents."""
        self._draw_from(self._salt + 1)

    def _draw_from(self, draws: int) -> None:
        self._salt = draws
        if self._store.listener is not None:
            self._store.listener.drawing(draws)

    def announce(self, changes: list[HeadChange]) -> None:
        """Tell the subscribers of a change of head."""
        self._tell(changes)

    # other nodes --------------------------------------------------------------------------------------------------

    @property
    def draws(self) -> int:
        """What tells this node's draws from those of other nodes and of earlier forks."""
        return self._salt

    def mine_share(self, numerator: int, denominator: int, draws: int) -> None:
        """Let only this part of the network's power mine here, with draws of its own; (1, 1) is all of it.

        With less than all of it an epoch that nobody wins is a null round.
        """
        self._share = (numerator, denominator)
        self._draw_from(draws)

    def replica(self) -> Network:
        """Another node with the same chain, state and waiting messages; it shares nothing that changes."""
        other = Network(self.config)
        other._keys = self._keys  # all keys of the devnet are known to all of it
        other._salt = self._salt
        other._store.take_over(self._store)
        other._events.take_over(self._events)
        other.mpool.take_back(self.mpool.pending())
        return other

    def listen(self, listener: ChainListener | None) -> None:
        """Let one listener hear of every tipset and every change of the canonical chain; None ends it."""
        self._store.listener = listener

    def subscribe(self, callback: Callable[[list[HeadChange]], None]) -> Callable[[], None]:
        """Call back with each batch of head changes (no `current` first); returns the unsubscriber."""
        self._subscribers.append(callback)
        return lambda: self._subscribers.remove(callback)

    def _tell(self, changes: list[HeadChange]) -> None:
        for subscriber in tuple(self._subscribers):
            subscriber(list(changes))

    def create_provider(self, owner: str, worker: str, balance: AttoFil) -> Address:
        """A new miner made by a CreateMiner message from the owner's account (mines a few epochs); its f0 address.

        The owner's account must be funded; the worker's is made if it is not there.
        """
        params = CreateMinerParams(
            self.key(owner).address, self.key(worker).address, self.config.window_post_proof
        )
        method = PowerMethod.CREATE_MINER_EXPORTED
        found = self.mine_until(self.send(owner, POWER, method, params.to_cbor(), balance))
        if found.receipt.exit_code:
            raise MessageFailed(found.receipt.exit_code, "CreateMiner")
        return CreatedActor.from_cbor(found.receipt.return_).id_address

    # mining -------------------------------------------------------------------------------------------------------

    def _mine(
        self,
        parent: TipSet,
        epoch: int,
        messages: Sequence[SignedMessage],
        winners: Sequence[Winner] | None = None,
    ) -> TipSet:
        messages = mining.block_order(messages)
        outcome = self._after(parent)
        facts = ParentFacts(parent, self._weight(parent), outcome.tree.root, outcome.receipts_root)
        headers = [
            mining.block(self.config, facts, epoch, winner, messages=messages, salt=self._salt)
            for winner in winners
            or self._winners(parent, epoch, outcome.tree)
            or [self._stand_in()]
        ]
        tipset = mining.tipset_of(headers)
        self._store.add(tipset, [messages] * len(headers))
        return tipset

    def _winners(self, parent: TipSet, epoch: int, now: StateTree) -> list[Winner]:
        """The epoch's winners; if nobody is drawn the genesis miner wins once, for epochs are null only on request.

        None only where a part of the power mines.
        """
        past = self._past_power(parent, epoch)
        winners: list[Winner] = []
        for miner in past.claims:
            count = self._draw_wins(past, parent, epoch, miner, now)
            if count:
                winners.append(Winner(Address.of_id(miner), count, self._worker(now, miner)))
        if not winners and self._share == (1, 1):
            winners.append(self._stand_in())
        return winners

    def _past_power(self, parent: TipSet, epoch: int) -> PowerState:
        lookback = max(epoch - election.LOOKBACK, 0)
        past: PowerState = self._state_after(lookback, parent).actors[4].state
        return past

    def _draw_wins(
        self, past: PowerState, parent: TipSet, epoch: int, miner: int, now: StateTree
    ) -> int:
        """How often the miner wins that epoch on that parent."""
        raw, qap = past.claims[miner]
        state: MinerState = now.actors[miner].state
        if (
            raw < CONSENSUS_MINER_MIN_POWER
            or now.actors[4].state.claims[miner][1] <= 0
            or state.fee_debt
        ):
            return 0
        base = parent.blocks[0].ticket or b""
        drawn = election.draw("win", self.config.seed, base, epoch, miner, self._salt)
        share, whole = self._share
        return election.wins(drawn, qap * share // whole, past.total_qap)

    def _wins(self, parent: TipSet, epoch: int, miner: int) -> bool:
        past = self._past_power(parent, epoch)
        now = self._after(parent).tree
        return miner in past.claims and self._draw_wins(past, parent, epoch, miner, now) > 0

    def _stand_in(self) -> Winner:
        return Winner(self.genesis_miner, 1, self.key(GENESIS_WORKER))

    def _state_after(self, height: int, tipset: TipSet) -> StateTree:
        """The state after the newest tipset at or below `height` on `tipset`'s chain (Lotus' look-back rule)."""
        if height >= tipset.height:
            return self._after(tipset).tree
        following = self._store.after_height(height + 1, tipset.key)
        return self._after(self._store.parent(following)).tree

    def _worker(self, tree: StateTree, miner: int) -> SigningKey:
        worker = tree.actors[tree.actors[miner].state.details.worker]
        key = self._keys.get(worker.state.address)
        if key is None:
            raise ChainLookupError(
                f"the worker key of t0{miner} is not one of the network's: name it with Network.key first"
            )
        return key

    def weight(self, key: TipSetKey | None = None) -> int:
        """The weight of the chain up to and with this tipset (ChainTipSetWeight)."""
        return self._weight(self.tipset(key))

    def _weight(self, tipset: TipSet) -> int:
        """The weight of the chain up to and with this tipset."""
        if not tipset.parents:
            return 0
        power = self._after(self._store.parent(tipset)).tree.actors[4].state.total_qap
        wins = sum(header.win_count for header in tipset.blocks)
        return mining.weight(tipset.blocks[0].parent_weight, power, wins)

    # execution ----------------------------------------------------------------------------------------------------

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

    def execution(self, key: TipSetKey | None = None) -> TipSetExecution:
        """The tipset executed again with all traces (StateCompute without extra messages)."""
        tipset = self.tipset(key)
        run = self._execute(tipset, tracing=True) if tipset.parents else self._after(tipset)
        return TipSetExecution(
            tipset.key, tipset.height, run.tree.root, run.receipts_root, run.invocations,
            run.messages,
        )  # fmt: skip

    def compute(
        self, height: Epoch, messages: Sequence[Message], key: TipSetKey | None = None
    ) -> TipSetExecution:
        """The tipset executed with traces, then these messages at `height` on top of it, without cron (StateCompute)."""
        done = self.execution(key)
        if not messages:
            return done
        tipset = self.tipset(key)
        environment = self._environment(tipset, height, tracing=True)
        tree, runs = compute_on(self._after(tipset).tree, environment, messages)
        return replace(done, state_root=tree.root, invocations=(*done.invocations, *runs))

    def call_on_parent(self, message: Message, key: TipSetKey | None = None) -> Invocation:
        """The message run on the state before the tipset's own messages and thrown away, as StateCall does."""
        tipset = self.tipset(key)
        before = self._store.parent(tipset) if tipset.parents else tipset
        environment = self._environment(tipset, tipset.height, tracing=True)
        return call_message(self._after(before).tree, environment, message)

    def call(
        self, message: Message, key: TipSetKey | None = None, *, any_sender: bool = False
    ) -> Invocation:
        """The message run on the tipset's *post* state and thrown away ; no signature, nonce or gas needed.

        With `any_sender` an f410 sender need not be on chain, as for eth_call.
        """
        tipset = self.tipset(key)
        environment = self._environment(tipset, tipset.height + 1, tracing=True)
        return call_message(self._after(tipset).tree, environment, message, any_sender=any_sender)

    def estimate_gas(self, message: Message, max_fee: AttoFil | None = None) -> Message:
        """The message with its zero gas fields filled, as GasEstimateMessageGas: MessageFailed if it would fail."""
        run = self.call(replace(message, gas_limit=0))
        if run.receipt.exit_code:
            raise MessageFailed(run.receipt.exit_code, f"method {message.method} of {message.to}")
        return self._with_gas(message, max_fee, run.receipt.gas_used)

    def _with_gas(
        self, message: Message, max_fee: AttoFil | None, ran: int | None = None
    ) -> Message:
        """The message with gas for what it used when it `ran`, or for the fixed price of its kind."""
        limit = message.gas_limit
        if limit == 0:
            fixed = gas.gas_used(message, len(message.to_cbor()) + _SIGNATURE_ROOM)
            used = max(fixed, ran or 0)
            limit = gas.with_margin(used)
        premium = message.gas_premium.value or _MIN_PREMIUM
        cap = message.gas_fee_cap.value or gas.BASE_FEE * 11 + premium
        most = (max_fee or _DEFAULT_MAX_FEE).value
        if message.gas_fee_cap.value == 0 and cap * limit > most:
            cap = most // limit
        return replace(
            message,
            gas_limit=limit,
            gas_fee_cap=AttoFil(cap),
            gas_premium=AttoFil(min(premium, cap)),
        )

    # lookups ------------------------------------------------------------------------------------------------------
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

    # what the automatic prover needs ------------------------------------------------------------------------------

    def miner_state(self, miner: int) -> MinerState:
        """A miner's state after the head's messages."""
        state: MinerState = self._after(self.head).tree.actors[miner].state
        return state

    def is_pending(self, cid: Cid) -> bool:
        """Whether a message waits in the mempool."""
        return cid in self.mpool

    def post_randomness(self, epoch: int) -> bytes:
        """What a window PoSt of that challenge epoch commits to."""
        # Null rounds may lie between the head and that epoch; then the head's ticket is the newest.
        tipset = self.tipset_by_height(Epoch(max(min(epoch, self.head.height), 0)))
        return mining.draw_randomness(tipset.blocks[0].ticket or b"", _POST_DOMAIN, epoch, b"")

    def push_post(self, miner: int, params: SubmitWindowedPoStParams) -> Cid:
        """Send a window PoSt from the miner's worker."""
        worker = self._worker(self._after(self.head).tree, miner)
        method = MinerMethod.SUBMIT_WINDOWED_POST
        return self.send(worker, Address.of_id(miner), method, params.to_cbor())
