"""The embedded network: mines on request, executes, reorganises, and answers reads of any past state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from devstack.chain import election, gas, mining
from devstack.chain.actors.policy import CHALLENGE_WINDOW
from devstack.chain.actors.power import CONSENSUS_MINER_MIN_POWER
from devstack.chain.amt import array_root
from devstack.chain.calls import ChainCalls
from devstack.chain.config import NetworkConfig
from devstack.chain.exchange import Exchange
from devstack.chain.execution import Executed
from devstack.chain.finality import FINALITY, Finality
from devstack.chain.forks import Forks, ForkShape
from devstack.chain.genesis import FIRST_MINER, GENESIS_WORKER, accounts_of, genesis_state
from devstack.chain.keyring import KeyRing
from devstack.chain.mining import ParentFacts, Winner
from devstack.chain.prover import AutomaticProver
from devstack.chain.states import MinerState, PowerState, StateTree
from devstack.chain.store import ChainListener
from devstack.chain.values import (
    ChainLookupError,
    MessageFailed,
)
from lotus_client.actors.methods import POWER, MinerMethod, PowerMethod
from lotus_client.actors.miner import SubmitWindowedPoStParams
from lotus_client.actors.system import CreatedActor, CreateMinerParams
from lotus_client.address import Address
from lotus_client.bls import BlsKey
from lotus_client.chain import HeadChange, TipSet, TipSetKey
from lotus_client.cid import Cid
from lotus_client.crypto import Secp256k1Key, SigningKey
from lotus_client.messages import Message, SignedMessage
from lotus_client.state import MessageLookup
from lotus_client.types import AttoFil, Epoch

__all__ = ["FINALITY", "Network"]

_POST_DOMAIN: Final = 9


class Network(ChainCalls):
    """One Filecoin-like chain in memory. Not thread safe; every call returns when its work is done."""

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__(config or NetworkConfig())
        self._keys = KeyRing(self.config.seed)
        self._salt = 0
        # Of the power that mines here: less than all of it when the net is split.
        self._share = (1, 1)
        self._hooks: list[Callable[[Epoch], None]] = []
        self._subscribers: list[Callable[[list[HeadChange]], None]] = []
        self._prover = AutomaticProver(self)
        for name in accounts_of(self.config):
            self.key(name)
        tree = genesis_state(self.config)
        self.genesis = mining.tipset_of([mining.genesis_block(self.config, tree.root)])
        self._store.add(self.genesis, [()])
        self._store.append(self.genesis, 0)
        self._store.keep_execution(self.genesis.key, Executed(tree, array_root([]), (), ()))
        self.finality = Finality(self._store, self.config.f3_lag)
        self.forks = Forks(self._store, self.finality, self.mpool, self)
        self.exchange = Exchange(self._store, self._events, self.mpool, self._after)
        self.genesis_miner = Address.of_id(FIRST_MINER)
        self._prover.set(FIRST_MINER, enabled=True)

    @property
    def providers(self) -> tuple[Address, ...]:
        """All miners but the genesis miner, as of the head's executed state."""
        return tuple(self.pending_state().miners()[1:])

    # keys ---------------------------------------------------------------------------------------------------------

    def key(self, name: str) -> Secp256k1Key:
        """The key of the account `name` (funded or not); same seed and name, same key."""
        return self._keys.key(name)

    def bls_key(self, name: str) -> BlsKey:
        """The BLS key of that name, whose f3 account a transfer to it makes; same seed and name, same key."""
        return self._keys.bls_key(name)

    @property
    def key_names(self) -> tuple[str, ...]:
        """The accounts whose keys were made here, in their order."""
        return self._keys.names

    @property
    def bls_key_names(self) -> tuple[str, ...]:
        """The names of the BLS keys that were made here, in their order."""
        return self._keys.bls_names

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
        other._keys.share(self._keys)  # all keys of the devnet are known to all of it
        other._salt = self._salt
        other._store.take_over(self._store)
        other._events.take_over(self._events)
        other.mpool.take_back(self.mpool.pending())
        return other

    def listen(self, listener: ChainListener | None) -> None:
        """Let one listener hear of every tipset and every change of the canonical chain; None ends it."""
        self._store.listener = listener
        self._keys.listen(listener)

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
        facts = ParentFacts(
            parent, self.weight_of(parent), outcome.tree.root, outcome.receipts_root
        )
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
        key = self._keys.of_address(worker.state.address)
        if key is None:
            raise ChainLookupError(
                f"the worker key of t0{miner} is not one of the network's: name it with Network.key first"
            )
        return key

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
