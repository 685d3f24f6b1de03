"""The chain's machine as a running contract sees it.

Storage is read from and written to the actor's state at once, so that a contract that is called again meanwhile sees
what it wrote. Calls go through the machine: they are in the trace and roll back with their frame.
"""

from __future__ import annotations

from typing import Any, Final

from devstack.chain import gas as prices
from devstack.chain.evm_state import EvmState, Transient
from devstack.chain.machine import Abort, Machine, Runtime, Sent
from devstack.chain.states import Actor
from devstack.chain.table import replace
from devstack.evm.interface import CallKind, CallResult, Frame
from devstack.evm.precompiles import NATIVE, PrecompileCall, PrecompileError
from lotus_client import cbor
from lotus_client.actors.evm import (
    EAM,
    REVERTED,
    Create2Params,
    CreateParams,
    CreateReturn,
    DelegateCallParams,
    EamMethod,
    EvmMethod,
    cbor_bytes,
    log_entries,
)
from lotus_client.address import Address, AddressError
from lotus_client.cid import Cid

__all__ = ["MachineHost", "eth_address", "origin_of"]

_WORD: Final = 32
_PLAIN: Final = ("", "account", "ethaccount", "placeholder")  # what a call only moves value to
_NATIVE_CODE: Final = b"\xfe"
_PREV_RANDAO: Final = 10  # the randomness domain (go-state-types `crypto/randomness.go`)
_HASHES_BACK: Final = 256
_SELFDESTRUCT_FAILED: Final = 40


def eth_address(machine: Machine, actor_id: int) -> bytes:
    """An actor's Ethereum address: its f410, else its masked id."""
    actor = machine.actor(actor_id)
    delegated = None if actor is None or actor.delegated is None else actor.delegated.eth_address
    if delegated is not None:
        return delegated
    masked = Address.of_id(actor_id).eth_address
    assert masked is not None
    return masked


def origin_of(machine: Machine) -> tuple[int, int]:
    """The id and nonce of the running message's sender."""
    address, nonce = machine.origin
    return machine.resolve(address) or 0, nonce


class MachineHost:
    """A `Host` for the contract that `runtime` runs."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._machine = runtime.machine
        self._origin = origin_of(runtime.machine)

    # the block ----------------------------------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        """The epoch being executed."""
        return self._runtime.epoch

    @property
    def timestamp(self) -> int:
        """The epoch's time in Unix seconds."""
        config = self._runtime.config
        return config.genesis_timestamp + self.epoch * config.block_delay_seconds

    @property
    def chain_id(self) -> int:
        """The network's EIP-155 id."""
        return self._runtime.config.eip155_chain_id

    @property
    def base_fee(self) -> int:
        """AttoFIL per gas."""
        return prices.BASE_FEE

    @property
    def block_gas_limit(self) -> int:
        """What a block holds."""
        return prices.BLOCK_GAS_LIMIT

    def random(self) -> bytes:
        """Of the newest ticket before this epoch; on a real network it is the beacon's."""
        draw = self._machine.environment.ticket_randomness
        return draw(_PREV_RANDAO, self.epoch - 1, b"prevrandao")

    def block_hash(self, epoch: int) -> bytes:
        """The digest of the tipset key's CID; of a null round that of the tipset below."""
        known = self._machine.environment.tipset_hash
        if known is None or not max(self.epoch - _HASHES_BACK, 0) <= epoch < self.epoch:
            return bytes(_WORD)
        return known(epoch)

    # storage ------------------------------------------------------------------------------------------------------

    @property
    def _state(self) -> EvmState:
        state: EvmState = self._runtime.state
        return state

    def storage(self, slot: int) -> int:
        """A word of the contract's state."""
        return int.from_bytes(self._state.storage.get(slot.to_bytes(_WORD, "big"), b""), "big")

    def set_storage(self, slot: int, value: int) -> None:
        """Change a word; zero takes no room."""
        key, state = slot.to_bytes(_WORD, "big"), self._state
        words = state.storage
        words = words.with_({key: value.to_bytes(_WORD, "big")}) if value else words.without([key])
        self._runtime.set_state(replace(state, storage=words))

    def transient(self, slot: int) -> bytes:
        """A transient word, of this message only."""
        kept = self._state.transient
        if kept is None or (kept.origin, kept.nonce) != self._origin:
            return bytes(_WORD)
        return kept.words.get(slot.to_bytes(_WORD, "big"), bytes(_WORD))

    def set_transient(self, slot: int, value: bytes) -> None:
        """Change a transient word."""
        kept = self._state.transient
        if kept is None or (kept.origin, kept.nonce) != self._origin:
            kept = Transient(*self._origin)
        words = kept.words.with_({slot.to_bytes(_WORD, "big"): value.rjust(_WORD, b"\0")})
        changed = replace(kept, words=words)
        self._runtime.set_state(replace(self._state, transient=changed))

    # other actors -------------------------------------------------------------------------------------------------

    def _actor(self, address: bytes) -> Actor | None:
        try:
            actor_id = self._machine.resolve(Address.of_eth(address))
        except AddressError:  # the mask of a number that is no id
            return None
        return None if actor_id is None else self._machine.actor(actor_id)

    def balance(self, address: bytes) -> int:
        """An actor's balance."""
        actor = self._actor(address)
        return 0 if actor is None else actor.balance

    def exists(self, address: bytes) -> bool:
        """Whether there is such an actor, or precompile."""
        return address in NATIVE or self._actor(address) is not None

    def code(self, address: bytes) -> bytes:
        """A contract's code; native actors and precompiles show one invalid instruction."""
        if address in NATIVE:
            return _NATIVE_CODE
        actor = self._actor(address)
        if actor is None or actor.code in _PLAIN:
            return b""
        return self._live_code(actor) if actor.code == "evm" else _NATIVE_CODE

    def _live_code(self, actor: Actor) -> bytes:
        state: EvmState = actor.state
        return b"" if state.is_dead(*self._origin) else state.bytecode

    def log(self, topics: tuple[bytes, ...], data: bytes) -> None:
        """Emit the log as an actor event."""
        self._runtime.emit(log_entries(topics, data))

    # calls --------------------------------------------------------------------------------------------------------

    def call(
        self, kind: CallKind, frame: Frame, target: bytes, value: int, data: bytes, *, gas: int
    ) -> CallResult:
        """Call a contract, precompile or account."""
        if target in NATIVE:
            return self._call_native(kind, target, value, data, gas=gas)
        if kind is CallKind.DELEGATE:
            return self._delegate(frame, target, data, gas)
        actor = self._actor(target)
        code = "" if actor is None else actor.code
        if actor is None and not value:
            return CallResult(True, b"", 0)  # and no placeholder is made for nothing
        try:
            to = Address.of_eth(target)
        except AddressError:
            return CallResult(False, b"", 0)
        method = 0 if code in _PLAIN else int(EvmMethod.INVOKE_CONTRACT)
        params = cbor_bytes(data) if data and method else b""
        static = kind is CallKind.STATIC
        return self._send(to, method, params, value, gas=gas, read_only=static)[0]

    def _delegate(self, frame: Frame, target: bytes, data: bytes, gas: int) -> CallResult:
        """Run another contract's code as this one: a call of oneself, as the FEVM does it."""
        actor = self._actor(target)
        if actor is None or actor.code in _PLAIN:
            return CallResult(True, b"", 0)
        if actor.code != "evm":
            return CallResult(False, b"", 0)
        asked = self._runtime.send(Address.of_eth(target), EvmMethod.GET_BYTECODE, read_only=True)
        cid = cbor.decode(asked.return_) if asked.exit_code == 0 else None
        if not isinstance(cid, Cid):  # the contract has ended
            return CallResult(True, b"", 0)
        params = DelegateCallParams(cid, data, frame.caller, frame.value)
        method = EvmMethod.INVOKE_CONTRACT_DELEGATE
        own = Address.of_id(self._runtime.receiver)
        return self._send(own, method, params.to_cbor(), 0, gas=gas, read_only=False)[0]

    def _call_native(
        self, kind: CallKind, target: bytes, value: int, data: bytes, *, gas: int
    ) -> CallResult:
        if value:
            moved, _ = self._send(Address.of_eth(target), 0, b"", value, gas=gas, read_only=False)
            if not moved.success:
                return moved

        def send(
            to: Address, method: int, params: bytes, amount: int, read_only: bool
        ) -> tuple[CallResult, int]:
            sent, used = self._raw_send(to, method, params, amount, gas=gas, read_only=read_only)
            return CallResult(sent.exit_code == 0, sent.return_, used), sent.exit_code

        try:
            return NATIVE[target](PrecompileCall(self._runtime, kind, data, send))
        except PrecompileError:
            return CallResult(False, b"", 0)

    def _send(
        self, to: Address, method: int, params: bytes, value: int, *, gas: int, read_only: bool
    ) -> tuple[CallResult, int]:
        sent, used = self._raw_send(to, method, params, value, gas=gas, read_only=read_only)
        ok = sent.exit_code == 0
        output = _payload(sent.return_) if ok or sent.exit_code == REVERTED else b""
        return CallResult(ok, output, used), sent.exit_code

    def _raw_send(
        self, to: Address, method: int, params: bytes, value: int, *, gas: int, read_only: bool
    ) -> tuple[Sent, int]:
        before = self._machine.gas_consumed
        sent = self._runtime.send(to, method, params, value, read_only=read_only, gas_limit=gas)
        return sent, self._machine.gas_consumed - before

    # creation and end ---------------------------------------------------------------------------------------------

    def create(self, initcode: bytes, value: int, salt: bytes | None, gas: int) -> CallResult:
        """Let the EAM make a contract. The nonce stays used when that fails."""
        if value > self._runtime.balance:
            return CallResult(False, b"", 0)
        state = self._state
        self._runtime.set_state(replace(state, nonce=state.nonce + 1))
        if salt is None:
            params: Any = CreateParams(initcode, state.nonce)
            method = EamMethod.CREATE
        else:
            params, method = Create2Params(initcode, salt), EamMethod.CREATE2
        sent, used = self._raw_send(EAM, method, params.to_cbor(), value, gas=gas, read_only=False)
        if sent.exit_code == 0:
            return CallResult(True, CreateReturn.from_cbor(sent.return_).eth_address, used)
        output = _payload(sent.return_) if sent.exit_code == REVERTED else b""
        return CallResult(False, output, used)

    def destroy(self, beneficiary: bytes) -> None:
        """Give the balance away; the contract is gone once this message is done."""
        self._runtime.set_state(replace(self._state, tombstone=self._origin))
        try:
            sent = self._runtime.send(Address.of_eth(beneficiary), 0, value=self._runtime.balance)
        except AddressError as error:
            raise Abort(_SELFDESTRUCT_FAILED, str(error)) from error
        if sent.exit_code:
            raise Abort(_SELFDESTRUCT_FAILED, "the balance could not be given away")


def _payload(raw: bytes) -> bytes:
    """The byte string that a contract's return or revert data is wrapped in."""
    value = cbor.decode(raw) if raw else b""
    return value if isinstance(value, bytes) else b""
