"""Runs messages on a state: calls, value transfers, account creation, events, traces, and roll-back on failure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol, TypeVar

from devstack.chain.config import NetworkConfig
from devstack.chain.states import AccountState, Actor, EmptyState, InitState, StateTree
from devstack.chain.table import replace
from devstack.chain.values import ExecutionTrace, StampedEvent
from lotus_client.actors.wire import ParamsError, Wire
from lotus_client.address import Address, AddressError
from lotus_client.cbor import CborError
from lotus_client.cid import Cid
from lotus_client.state import ActorState, EventEntry
from lotus_client.types import ActorId, AttoFil

__all__ = ["Abort", "Environment", "Exit", "Machine", "Runtime", "Sent", "record_of"]

W = TypeVar("W", bound=Wire)

_INIT = 1
_MAX_CALL_DEPTH = 64
# Actors that are no part of the bundle's own machinery may only call exported methods (actors.md §0.2).
_FIRST_EXPORTED = 1 << 24
_USER_CODE = frozenset({"evm"})
_OPEN_TO_USER_CODE = frozenset({"evm", "eam", "placeholder"})
_CBOR, _RAW = 0x51, 0x55  # codecs of params and returns


class Exit(IntEnum):
    """Exit codes (go-state-types `exitcode`)."""

    OK = 0
    SENDER_INVALID = 1
    SENDER_STATE_INVALID = 2
    INVALID_RECEIVER = 5
    SYS_INSUFFICIENT_FUNDS = 6
    OUT_OF_GAS = 7
    ILLEGAL_ARGUMENT = 16
    NOT_FOUND = 17
    FORBIDDEN = 18
    INSUFFICIENT_FUNDS = 19
    ILLEGAL_STATE = 20
    SERIALIZATION = 21
    UNHANDLED = 22
    UNSPECIFIED = 23
    ASSERTION = 24
    READ_ONLY = 25


# System failures of a call as its caller sees them (actors.md §0.2).
_SURFACED = {
    int(Exit.INVALID_RECEIVER): int(Exit.UNSPECIFIED),
    int(Exit.SYS_INSUFFICIENT_FUNDS): int(Exit.INSUFFICIENT_FUNDS),
}


class Abort(Exception):
    """An actor gives up: the call frame's changes and events are undone and the code is its outcome."""

    def __init__(self, code: int, message: str = "", data: bytes = b"") -> None:
        super().__init__(f"{message} ({code})")
        self.code = int(code)
        self.data = data  # what the caller gets nevertheless: a contract's revert data


@dataclass(frozen=True, slots=True)
class Environment:
    """What an execution may know of the chain around it."""

    config: NetworkConfig
    epoch: int
    network_version: int
    ticket_randomness: Callable[[int, int, bytes], bytes]  # domain, epoch, entropy
    tipset_hash: Callable[[int], bytes] | None = None  # of an epoch below: the tipset key's digest
    tracing: bool = False  # whether calls leave traces; they cost more than the execution itself


@dataclass(frozen=True, slots=True)
class Sent:
    """The outcome of a call."""

    exit_code: int
    return_: bytes
    trace: ExecutionTrace | None


class ActorCode(Protocol):
    """An actor's methods."""

    def __call__(self, runtime: Runtime, method: int, params: bytes, /) -> bytes: ...


class Machine:
    """A state being changed. Take `tree()` when done; the state it started from stays as it was."""

    def __init__(
        self, tree: StateTree, environment: Environment, code: dict[str, ActorCode]
    ) -> None:
        self.environment = environment
        self.events: list[StampedEvent] = []
        self._actors = tree.flat()
        self._base = tree
        self._changed: set[int] = set()
        self._journal: list[tuple[int, Actor | None]] = []
        self._code = code
        self._depth = 0
        self.exec_count = 0
        self.origin: tuple[Address, int] = (Address.of_id(0), 0)
        # gas that contracts may use and have used, beyond the message's own price, and its price to them
        self.gas_budget = self.gas_consumed = self.gas_price = 0
        self.bytecode: dict[Cid, bytes] = {}  # code that contracts call themselves with

    def tree(self) -> StateTree:
        """The state as it is now."""
        actors = self._actors
        changed = [
            one for one in self._changed if actors.get(one) is not self._base.actors.get(one)
        ]
        if changed:
            self._base = self._base.changed(dict(actors), changed)
        self._changed.clear()
        self._journal.clear()
        return self._base

    @property
    def actors(self) -> dict[int, Actor]:
        """All actors now; to be read only."""
        return self._actors

    def actor(self, actor_id: int) -> Actor | None:
        """An actor's record."""
        return self._actors.get(actor_id)

    def set_actor(self, actor_id: int, actor: Actor) -> None:
        """Change or add a record; undone when the running call fails."""
        self._journal.append((actor_id, self._actors.get(actor_id)))
        self._actors[actor_id] = actor
        self._changed.add(actor_id)

    def add_balance(self, actor_id: int, amount: int) -> None:
        """Add to (or take from) an actor's balance."""
        actor = self._actors[actor_id]
        self.set_actor(actor_id, replace(actor, balance=actor.balance + amount))

    def mark(self) -> tuple[int, int]:
        """A point to roll back to."""
        return len(self._journal), len(self.events)

    def roll_back(self, mark: tuple[int, int]) -> None:
        """Undo all changes and events since the mark."""
        changes, events = mark
        del self.events[events:]
        while len(self._journal) > changes:
            actor_id, before = self._journal.pop()
            if before is None:
                del self._actors[actor_id]
            else:
                self._actors[actor_id] = before

    def resolve(self, address: Address) -> ActorId | None:
        """The id behind an address, None when there is no such actor."""
        if address.protocol == 0:
            actor_id = address.actor_id
            return actor_id if actor_id in self._actors else None
        init: InitState = self._actors[_INIT].state
        found = init.address_map.get(address)
        return None if found is None else ActorId(found)

    def new_id(self, address: Address) -> int:
        """Register a robust address under the next id."""
        init = self._actors[_INIT]
        state: InitState = init.state
        address_map = state.address_map.with_({address: state.next_id})
        changed = replace(state, address_map=address_map, next_id=state.next_id + 1)
        self.set_actor(_INIT, replace(init, state=changed))
        return state.next_id

    def _resolve_or_create(self, address: Address) -> int:
        """As the FVM: f1, f3 become accounts, f410 placeholders, on any first call (actors.md §1)."""
        found = self.resolve(address)
        if found is not None:
            return found
        if address.protocol in (1, 3) and any(address.payload):  # all zeros are nobody's key
            actor = Actor("account", AccountState(address))
        elif address.protocol == 4 and address.eth_address is not None:
            actor = Actor("placeholder", EmptyState(), delegated=address)
        else:
            raise Abort(Exit.INVALID_RECEIVER, f"{address} is not on chain")
        actor_id = self.new_id(address)
        self.set_actor(actor_id, actor)
        return actor_id

    def sender_id(self, address: Address) -> int | None:
        """The id behind a sender; an f410 that is not on chain becomes a placeholder."""
        try:
            return self._resolve_or_create(address)
        except Abort:
            return None

    def call(
        self,
        caller: int,
        to: Address,
        method: int,
        params: bytes = b"",
        value: int = 0,
        *,
        gas_limit: int = 0,
        read_only: bool = False,
    ) -> Sent:
        """Make a call; whatever fails in it is undone and shows as the exit code."""
        mark = self.mark()
        runtime: Runtime | None = None
        receiver: int | None = None
        exit_code, result = int(Exit.OK), b""
        try:
            receiver = self._resolve_or_create(to)
            self._transfer(caller, receiver, value)
            if method != 0:
                runtime = Runtime(
                    self, caller, receiver, value, gas_limit=gas_limit, read_only=read_only
                )
                result = self._run(runtime, method, params)
        except Abort as abort:
            self.roll_back(mark)
            exit_code, result = abort.code, abort.data
        if not self.environment.tracing:
            return Sent(exit_code, result, None)
        actor = None if receiver is None else self._actors.get(receiver)
        trace = ExecutionTrace(
            from_=ActorId(caller),
            to=to,
            value=AttoFil(value),
            method=method,
            params=params,
            params_codec=0 if not params else _RAW if method == 0 else _CBOR,
            gas_limit=gas_limit,
            read_only=read_only,
            exit_code=exit_code,
            return_=result,
            return_codec=_CBOR if result else 0,
            invoked_id=None if receiver is None else ActorId(receiver),
            invoked=None if actor is None else record_of(actor),
            subcalls=tuple(runtime.subcalls) if runtime else (),
        )
        return Sent(exit_code, result, trace)

    def _transfer(self, source: int, target: int, value: int) -> None:
        if value == 0:
            return
        holder = self._actors.get(source)
        if holder is None or holder.balance < value:
            raise Abort(Exit.SYS_INSUFFICIENT_FUNDS, f"balance does not cover {value}")
        self.add_balance(source, -value)
        self.add_balance(target, value)

    def _run(self, runtime: Runtime, method: int, params: bytes) -> bytes:
        if self._depth >= _MAX_CALL_DEPTH:
            raise Abort(Exit.ASSERTION, "calls are nested too deep")
        code = self._actors[runtime.receiver].code
        is_user = runtime.code_of(runtime.caller) in _USER_CODE
        if method < _FIRST_EXPORTED and is_user and code not in _OPEN_TO_USER_CODE:
            raise Abort(Exit.FORBIDDEN, f"method {method} is not exported")
        self._depth += 1
        try:
            return self._code[code](runtime, method, params)
        except (ParamsError, CborError, AddressError) as error:
            raise Abort(Exit.SERIALIZATION, str(error)) from error
        finally:
            self._depth -= 1


def record_of(actor: Actor) -> ActorState:
    """An actor as reads show it."""
    return ActorState(
        actor.code_cid, actor.head, actor.nonce, AttoFil(actor.balance), actor.delegated
    )


class Runtime:
    """What an actor's method may see and do: its state, its caller, calls and events."""

    def __init__(
        self,
        machine: Machine,
        caller: int,
        receiver: int,
        value: int,
        *,
        gas_limit: int,
        read_only: bool,
    ) -> None:
        self.machine = machine
        self.caller = caller
        self.receiver = receiver
        self.value = value
        self.gas_limit = gas_limit
        self.read_only = read_only
        self.subcalls: list[ExecutionTrace] = []

    @property
    def epoch(self) -> int:
        """The epoch being executed."""
        return self.machine.environment.epoch

    @property
    def config(self) -> NetworkConfig:
        """The network's make-up."""
        return self.machine.environment.config

    @property
    def network_version(self) -> int:
        """The version of the rules to run by."""
        return self.machine.environment.network_version

    @property
    def state(self) -> Any:
        """The receiver's state."""
        return self.machine.actors[self.receiver].state

    def set_state(self, state: object) -> None:
        """Replace the receiver's state."""
        if self.read_only:
            raise Abort(Exit.READ_ONLY, "a read-only call cannot change state")
        actor = self.machine.actors[self.receiver]
        self.machine.set_actor(self.receiver, replace(actor, state=state))

    @property
    def balance(self) -> int:
        """The receiver's balance in attoFIL."""
        return self.machine.actors[self.receiver].balance

    def send(
        self,
        to: Address,
        method: int,
        params: bytes = b"",
        value: int = 0,
        *,
        read_only: bool = False,
        gas_limit: int | None = None,
    ) -> Sent:
        """Call another actor. System failures surface as the caller would see them (actors.md §0.2)."""
        sent = self.machine.call(
            self.receiver, to, method, params, value,
            gas_limit=self.gas_limit if gas_limit is None else gas_limit,
            read_only=self.read_only or read_only,
        )  # fmt: skip
        if sent.trace is not None:
            self.subcalls.append(sent.trace)
        code = _SURFACED.get(sent.exit_code)
        return sent if code is None else Sent(code, sent.return_, sent.trace)

    def must_send(self, to: Address, method: int, params: bytes = b"", value: int = 0) -> bytes:
        """As `send`, and give up with the same code and return data if it fails."""
        sent = self.send(to, method, params, value)
        if sent.exit_code:
            raise Abort(sent.exit_code, f"call of {to} method {method} failed", sent.return_)
        return sent.return_

    def emit(self, entries: tuple[EventEntry, ...]) -> None:
        """Emit an actor event."""
        self.machine.events.append(StampedEvent(ActorId(self.receiver), entries))

    def require(self, condition: object, code: Exit, message: str) -> None:
        """Give up with the code unless the condition holds."""
        if not condition:
            raise Abort(code, message)

    def require_caller(self, *allowed: int) -> None:
        """Give up as forbidden unless one of these ids calls."""
        self.require(self.caller in allowed, Exit.FORBIDDEN, f"caller f0{self.caller} may not")

    def resolve_id(self, address: Address, code: Exit = Exit.ILLEGAL_ARGUMENT) -> int:
        """The id of an address, created by an empty send if it is a key not on chain yet."""
        found = self.machine.resolve(address)
        if found is None:
            self.send(address, 0)
            found = self.machine.resolve(address)
        if found is None:
            raise Abort(code, f"{address} is not on chain")
        return found

    def code_of(self, actor_id: int) -> str:
        """The kind of an actor, empty when there is none."""
        actor = self.machine.actor(actor_id)
        return actor.code if actor else ""
