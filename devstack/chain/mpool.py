"""The mempool: what may wait, what replaces what, and what goes into the next blocks (Lotus `chain/messagepool`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush
from typing import Final

from devstack import evm
from devstack.chain import gas
from devstack.chain.states import AccountState, Actor, InitState, StateTree
from devstack.chain.values import PushRefused
from lotus_client.address import Address
from lotus_client.cid import Cid
from lotus_client.crypto import SignatureError, SignatureType
from lotus_client.eth import EthTransactionError, verify_delegated
from lotus_client.messages import SignedMessage

__all__ = ["MessagePool"]

_MAX_MESSAGE_SIZE: Final = 64 << 10
_MAX_NONCE_GAP: Final = 4
_MAX_PENDING_PER_SENDER: Final = 1000
_MAX_UNTRUSTED_PER_SENDER: Final = 100
_REPLACE_NUMERATOR: Final = 110  # of 100, and one attoFIL more
_MAX_BLOCK_MESSAGES: Final = 2000
_MAX_REPLACED_KEPT: Final = 10_000
_SENDERS: Final = ("account", "ethaccount", "placeholder")


class MessagePool:
    """Signed messages waiting for inclusion, by sender's id and nonce. `tree` gives the state after the head."""

    def __init__(self, tree: Callable[[], StateTree], chain_id: int) -> None:
        self._tree = tree
        self._chain_id = chain_id
        self._by_sender: dict[int, dict[int, SignedMessage]] = {}
        self._homeless: list[SignedMessage] = []  # their senders went away in a reorg
        self._replaced: dict[Cid, SignedMessage] = {}
        self.priority: tuple[Address, ...] = ()  # senders whose messages go into blocks first
        self._local: set[int] = set()  # senders that somebody with a token pushed for
        self._listeners: list[Callable[[str, SignedMessage], None]] = []

    def subscribe(self, callback: Callable[[str, SignedMessage], None]) -> Callable[[], None]:
        """Call back with ("add" | "remove", message) on every change; returns the unsubscriber."""
        self._listeners.append(callback)
        return lambda: self._listeners.remove(callback)

    def push(self, signed: SignedMessage, *, trusted: bool = True) -> Cid:
        """Take a message, or raise PushRefused. The CID is the message's name on chain.

        An untrusted message (MpoolPushUntrusted) may leave no nonce gap and has fewer beside it.
        """
        sender = self._check_form(signed)
        actor = self._tree().actors[sender]
        waiting = self._by_sender.get(sender, {})
        message = signed.message
        if message.nonce < actor.nonce:
            raise PushRefused(f"minimum expected nonce is {actor.nonce}: message nonce too low")
        following = self._following_nonce(actor.nonce, waiting)
        if message.nonce > following + (_MAX_NONCE_GAP if trusted else 0):
            raise PushRefused("unfulfilled nonce gap")
        replaced = waiting.get(message.nonce)
        if replaced is not None and replaced.cid == signed.cid:
            raise PushRefused(
                f"message from {message.from_} with nonce {message.nonce} already in mpool: "
                "message with nonce already exists"
            )
        if replaced is not None:
            _check_replacement(replaced, signed)
        elif len(waiting) >= (_MAX_PENDING_PER_SENDER if trusted else _MAX_UNTRUSTED_PER_SENDER):
            raise PushRefused("too many pending messages for actor")
        others = sum(
            other.message.required_funds.value
            for nonce, other in waiting.items()
            if nonce != message.nonce
        )
        if actor.balance < others + message.required_funds.value:
            raise PushRefused(
                f"not enough funds to execute transaction: balance {actor.balance} is below "
                f"{message.required_funds} and {others} for waiting messages"
            )
        if replaced is not None:
            self._remember(replaced)
            self._tell("remove", replaced)
        self._by_sender.setdefault(sender, {})[message.nonce] = signed
        if trusted:
            self._local.add(sender)
        self._tell("add", signed)
        return signed.cid

    def clear(self, *, local: bool) -> None:
        """Forget waiting messages: of all senders, or of those alone that no trusted push was made for (MpoolClear)."""
        for sender in [one for one in self._by_sender if local or one not in self._local]:
            for signed in self._by_sender.pop(sender).values():
                self._tell("remove", signed)

    def _check_form(self, signed: SignedMessage) -> int:
        """The sender's id, if the message may be on this chain at all."""
        message = signed.message
        size = len(signed.to_cbor())
        used = gas.gas_used(message, signed.chain_length)
        for good, why in (
            (size <= _MAX_MESSAGE_SIZE, f"message too large ({size} bytes)"),
            (message.version == 0, "'Version' unsupported"),
            (message.value.value >= 0, "'Value' field cannot be negative"),
            (message.gas_premium.value >= 0, "'GasPremium' field cannot be negative"),
            (
                message.gas_fee_cap.value >= gas.BASE_FEE,
                f"'GasFeeCap' is below the minimum base fee of {gas.BASE_FEE}",
            ),
            (
                message.gas_premium.value <= message.gas_fee_cap.value,
                "'GasFeeCap' less than 'GasPremium'",
            ),
            (
                used <= message.gas_limit <= gas.BLOCK_GAS_LIMIT,
                f"'GasLimit' {message.gas_limit} is not {used} (what it uses) to {gas.BLOCK_GAS_LIMIT}",
            ),
            (
                message.to.protocol != 4 or message.to.eth_address is not None,
                "'To' is not an f410 address",
            ),
        ):
            if not good:
                raise PushRefused(why)
        if gas.is_metered(message) and not evm.is_available():
            # Lotus' words where eth_* is switched off (`node/impl/eth`)
            raise PushRefused("module disabled, enable with Fevm.EnableEthRPC: py-evm is missing")
        sender = _resolve(self._tree(), message.from_)
        actor = None if sender is None else self._tree().actors[sender]
        if sender is None or actor is None or actor.code not in _SENDERS:
            raise PushRefused(f"{message.from_} has no account on chain: actor not found")
        try:
            self._check_signature(signed, actor)
        except (SignatureError, EthTransactionError) as error:
            raise PushRefused(f"invalid signature: {error}") from error
        return sender

    def _check_signature(self, signed: SignedMessage, sender: Actor) -> None:
        if signed.signature.type is SignatureType.DELEGATED:
            if sender.code == "account" or signed.message.from_ != sender.delegated:
                raise SignatureError("a delegated signature is for f410 senders")
            verify_delegated(signed, self._chain_id)
        elif sender.code == "account":
            state: AccountState = sender.state
            signed.verify(state.address)
        else:
            raise SignatureError("f410 senders sign Ethereum transactions")

    def _remember(self, replaced: SignedMessage) -> None:
        if len(self._replaced) >= _MAX_REPLACED_KEPT:
            del self._replaced[next(iter(self._replaced))]
        self._replaced[replaced.cid] = replaced

    def find(self, cid: Cid) -> SignedMessage | None:
        """A waiting message by its own or its unsigned CID, or a lately replaced one by its own."""
        waiting = (one for one in self.pending() if cid in (one.cid, one.message.cid))
        return next(waiting, None) or self._replaced.get(cid)

    def _tell(self, kind: str, signed: SignedMessage) -> None:
        for listener in tuple(self._listeners):
            listener(kind, signed)

    @staticmethod
    def _following_nonce(nonce: int, waiting: dict[int, SignedMessage]) -> int:
        while nonce in waiting:
            nonce += 1
        return nonce

    @property
    def is_empty(self) -> bool:
        """Whether no message waits."""
        return not self._by_sender

    def pending(self) -> list[SignedMessage]:
        """All waiting messages, by sender and nonce."""
        return [
            waiting[nonce]
            for _, waiting in sorted(self._by_sender.items())
            for nonce in sorted(waiting)
        ] + self._homeless

    def __contains__(self, cid: object) -> bool:
        return any(signed.cid == cid for signed in self.pending())

    def next_nonce(self, sender: Address) -> int:
        """The nonce after the chain's and the waiting messages' of that sender; 0 for an unknown one."""
        actor_id = _resolve(self._tree(), sender)
        if actor_id is None:
            return 0
        nonce = self._tree().actors[actor_id].nonce
        return self._following_nonce(nonce, self._by_sender.get(actor_id, {}))

    def of_sender(self, sender: Address) -> list[SignedMessage]:
        """The sender's waiting messages by nonce."""
        waiting = self._by_sender.get(_resolve(self._tree(), sender) or -1, {})
        return [waiting[nonce] for nonce in sorted(waiting)]

    def select(self) -> list[SignedMessage]:
        """What the next blocks include: highest premium first, but each sender's nonces in order."""
        if not self._by_sender:
            return []
        tree = self._tree()
        self._prune(tree)
        balances = {sender: tree.actors[sender].balance for sender in self._by_sender}
        first = {_resolve(tree, address) for address in self.priority}
        queue = [
            (sender not in first, -waiting[nonce].message.gas_premium.value, sender, nonce)
            for sender, waiting in self._by_sender.items()
            if (nonce := tree.actors[sender].nonce) in waiting
        ]
        heapify(queue)
        chosen: list[SignedMessage] = []
        room = gas.BLOCK_GAS_LIMIT
        while queue and len(chosen) < _MAX_BLOCK_MESSAGES:
            later, _, sender, nonce = heappop(queue)
            signed = self._by_sender[sender][nonce]
            needed = signed.message.required_funds.value
            if signed.message.gas_limit > room or needed > balances[sender]:
                continue
            room -= signed.message.gas_limit
            balances[sender] -= needed
            chosen.append(signed)
            following = self._by_sender[sender].get(nonce + 1)
            if following is not None:
                premium = following.message.gas_premium.value
                heappush(queue, (later, -premium, sender, nonce + 1))
        return chosen

    def _prune(self, tree: StateTree) -> None:
        for sender, waiting in list(self._by_sender.items()):
            actor: Actor = tree.actors[sender]
            for nonce in [nonce for nonce in waiting if nonce < actor.nonce]:
                self._tell("remove", waiting.pop(nonce))
            if not waiting:
                del self._by_sender[sender]

    def settle(self) -> None:
        """Forget messages that the new head's state has passed."""
        if self._by_sender or self._homeless:
            tree = self._tree()
            homeless, self._homeless = self._homeless, []
            for signed in homeless:
                self._place(signed, tree)
            self._prune(tree)

    def take_back(self, messages: Iterable[SignedMessage]) -> None:
        """Return the messages of reverted tipsets, without checks: they were checked when they first came.

        A sender may have another id on the new fork, or not be there yet; then its messages wait for it.
        """
        tree = self._tree()
        waiting = self.pending()
        self._by_sender, self._homeless = {}, []
        for signed in waiting:
            self._place(signed, tree)
        for signed in messages:
            if self._place(signed, tree):
                self._tell("add", signed)

    def _place(self, signed: SignedMessage, tree: StateTree) -> bool:
        """Whether the message waits now: not if its nonce has passed or is taken."""
        sender = _resolve(tree, signed.message.from_)
        if sender is None:
            self._homeless.append(signed)
            return True
        nonce = signed.message.nonce
        waiting = self._by_sender.setdefault(sender, {})
        if nonce < tree.actors[sender].nonce or nonce in waiting:
            return False
        waiting[nonce] = signed
        return True

    def put_back(self, signed: SignedMessage) -> None:
        """Wait for a message again that waited before, in the place of another of its nonce; without checks."""
        sender = _resolve(self._tree(), signed.message.from_)
        if sender is not None:
            self._by_sender.setdefault(sender, {})[signed.message.nonce] = signed
            self._tell("add", signed)


def _check_replacement(old: SignedMessage, new: SignedMessage) -> None:
    least = old.message.gas_premium.value * _REPLACE_NUMERATOR // 100 + 1
    if new.message.gas_premium.value < least:
        raise PushRefused(
            f"replace by fee has too low GasPremium: the least is {least} for nonce {old.message.nonce}"
        )


def _resolve(tree: StateTree, address: Address) -> int | None:
    if address.protocol == 0:
        return address.actor_id if address.actor_id in tree.actors else None
    init: InitState = tree.actors[1].state
    return init.address_map.get(address)
