"""py-evm as the interpreter of single frames. Nothing else imports it.

Its computation runs the instructions; calls, creations, logs and all state go to the host. Prices of instructions are
Ethereum's (Cancun) times `GAS_FACTOR`, which comes near the FVM's for common contracts; refunds are not given.
Differences to Ethereum are the FEVM's: no CALLCODE, GAS and the gas of calls in Filecoin gas, a bare `transfer` gets
10 million gas, SELFDESTRUCT works as before EIP-6780 (builtin-actors `actors/evm/src/interpreter`).
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Final

from eth.exceptions import (
    FullStack,
    Halt,
    InsufficientStack,
    InvalidInstruction,
    InvalidJumpDestination,
    OutOfBoundsRead,
    OutOfGas,
    Revert,
    VMError,
    WriteProtection,
)
from eth.vm.forks.cancun.computation import CancunComputation
from eth.vm.message import Message
from eth.vm.opcode import as_opcode
from eth.vm.transaction_context import BaseTransactionContext

from devstack.evm.interface import CallKind, CallResult, EvmExit, Frame, Host, Outcome
from lotus_client.crypto import keccak256

__all__ = ["GAS_FACTOR", "run_frame"]

GAS_FACTOR: Final = 250
_TRANSFER_GAS: Final = 10_000_000  # what Solidity's 2,300 gas stipend stands for (FIP-0054)
_STIPEND: Final = 2_300
_COLD, _WARM, _WITH_VALUE = 2_600, 100, 9_000  # EIP-2929, EIP-150
_CREATE, _INITCODE_WORD, _HASH_WORD = 32_000, 2, 6
_INVALID: Final = 0xFE
_WORD: Final = 32

_EXITS: Final[tuple[tuple[type[VMError], EvmExit], ...]] = (
    (OutOfGas, EvmExit.OUT_OF_GAS),
    (WriteProtection, EvmExit.READ_ONLY),
    (Revert, EvmExit.REVERTED),
    (InsufficientStack, EvmExit.STACK_UNDERFLOW),
    (FullStack, EvmExit.STACK_OVERFLOW),
    (OutOfBoundsRead, EvmExit.ILLEGAL_MEMORY_ACCESS),
    (InvalidJumpDestination, EvmExit.BAD_JUMP),
)


def run_frame(frame: Frame, host: Host) -> Outcome:
    """Run a frame with py-evm."""
    start = frame.gas // GAS_FACTOR
    done = _computation(frame, host, start, code=frame.code, data=frame.data)
    used = min(done.get_gas_used() * GAS_FACTOR, frame.gas)
    if not done.is_error:
        return Outcome(EvmExit.OK, bytes(done.output), used)
    return Outcome(_exit_of(done), bytes(done.output), used)


def _computation(
    frame: Frame, host: Host, gas: int, *, code: bytes, data: bytes, target: bytes | None = None
) -> Any:
    message = Message(
        gas=gas,
        to=frame.address,  # type: ignore[arg-type]
        sender=frame.caller,  # type: ignore[arg-type]
        value=frame.value,
        data=data,
        code=code,
        code_address=target,  # type: ignore[arg-type]
        is_static=frame.read_only,
        depth=1,  # py-evm does its own bookkeeping for calls at depth 0
    )
    context = BaseTransactionContext(gas_price=frame.gas_price, origin=frame.origin)  # type: ignore[arg-type]
    state: Any = _State(frame, host)
    return _Computation.apply_computation(state, message, context)


def _exit_of(done: Any) -> int:
    error = done.error
    if isinstance(error, InvalidInstruction):
        at = done.code.program_counter - 1
        named = 0 <= at < len(done.msg.code) and done.msg.code[at] == _INVALID
        return EvmExit.INVALID_INSTRUCTION if named else EvmExit.UNDEFINED_INSTRUCTION
    for kind, code in _EXITS:
        if isinstance(error, kind):
            return code
    return EvmExit.ILLEGAL_MEMORY_ACCESS


class _State:
    """The part of py-evm's state that its instructions read, answered by the host."""

    def __init__(self, frame: Frame, host: Host) -> None:
        self.frame = frame
        self.host = host
        self.coinbase = bytes(20)
        self.timestamp = host.timestamp
        self.block_number = host.epoch
        self.gas_limit = host.block_gas_limit
        self.base_fee = host.base_fee
        self.execution_context = SimpleNamespace(chain_id=host.chain_id)
        self._warm: set[object] = {frame.address, frame.caller, frame.origin}
        self._original: dict[int, int] = {}

    @property
    def mix_hash(self) -> bytes:
        return self.host.random()

    def get_ancestor_hash(self, number: int) -> bytes:
        return self.host.block_hash(number)

    def get_storage(self, address: bytes, slot: int, *, from_journal: bool = True) -> int:
        if not from_journal:
            return self._original.get(slot, self.host.storage(slot))
        return self.host.storage(slot)

    def set_storage(self, address: bytes, slot: int, value: int) -> None:
        self._original.setdefault(slot, self.host.storage(slot))
        self.host.set_storage(slot, value)

    def get_transient_storage(self, address: bytes, slot: int) -> bytes:
        return self.host.transient(slot)

    def set_transient_storage(self, address: bytes, slot: int, value: bytes) -> None:
        self.host.set_transient(slot, value)

    def get_balance(self, address: bytes) -> int:
        return self.host.balance(address)

    def get_code(self, address: bytes) -> bytes:
        return self.host.code(address)

    def get_code_hash(self, address: bytes) -> bytes:
        return keccak256(self.host.code(address))

    def account_is_empty(self, address: bytes) -> bool:
        return not self.host.exists(address)

    def is_address_warm(self, address: bytes) -> bool:
        return address in self._warm

    def mark_address_warm(self, address: bytes) -> None:
        self._warm.add(address)

    def is_storage_warm(self, address: bytes, slot: int) -> bool:
        return (address, slot) in self._warm

    def mark_storage_warm(self, address: bytes, slot: int) -> None:
        self._warm.add((address, slot))

    def access_cost(self, address: bytes) -> int:
        cost = _WARM if address in self._warm else _COLD
        self._warm.add(address)
        return cost


def _gas(computation: Any) -> None:
    computation.stack_push_int(computation.get_gas_remaining() * GAS_FACTOR)


def _log(count: int) -> Callable[[Any], None]:
    def log(computation: Any) -> None:
        if computation.msg.is_static:
            raise WriteProtection("LOG in a read-only call")
        start, size = (computation.stack_pop1_int() for _ in range(2))
        topics = tuple(computation.stack_pop1_int().to_bytes(_WORD, "big") for _ in range(count))
        computation.consume_gas(8 * size + 375 * count, reason="LOG")
        computation.extend_memory(start, size)
        computation.state.host.log(topics, computation.memory_read_bytes(start, size))

    return log


def _call(kind: CallKind) -> Callable[[Any], None]:
    def call(computation: Any) -> None:
        wanted = computation.stack_pop1_int()
        target = computation.stack_pop1_int().to_bytes(_WORD, "big")[-20:]
        value = computation.stack_pop1_int() if kind is CallKind.CALL else 0
        start, size, out_start, out_size = (computation.stack_pop1_int() for _ in range(4))
        if value and computation.msg.is_static:
            raise WriteProtection("a value transfer in a read-only call")
        computation.extend_memory(start, size)
        computation.extend_memory(out_start, out_size)
        fee = computation.state.access_cost(target) + (_WITH_VALUE if value else 0)
        computation.consume_gas(fee, reason="CALL")
        if wanted == (0 if value else _STIPEND):
            wanted = _TRANSFER_GAS
        left = computation.get_gas_remaining()
        granted = min(wanted, (left - left // 64) * GAS_FACTOR)
        data = computation.memory_read_bytes(start, size)
        result = _send(computation, kind, target, value, data, gas=granted)
        _finish(computation, result)
        computation.stack_push_int(int(result.success))
        copied = result.output[:out_size]
        computation.memory_write(out_start, len(copied), copied)

    return call


def _send(
    computation: Any, kind: CallKind, target: bytes, value: int, data: bytes, *, gas: int
) -> CallResult:
    state: _State = computation.state
    if target in _Computation.get_precompiles():
        if value:
            sent = state.host.call(CallKind.CALL, state.frame, target, value, b"", gas=gas)
            if not sent.success:
                return sent
        done = _computation(
            state.frame, state.host, gas // GAS_FACTOR, code=b"", data=data, target=target
        )
        used = done.get_gas_used() * GAS_FACTOR
        return CallResult(not done.is_error, bytes(done.output), used)
    return state.host.call(kind, state.frame, target, value, data, gas=gas)


def _finish(computation: Any, result: CallResult) -> None:
    computation.consume_gas(-(-result.gas_used // GAS_FACTOR), reason="what a call used")
    computation.return_data = result.output


def _create(*, salted: bool) -> Callable[[Any], None]:
    def create(computation: Any) -> None:
        if computation.msg.is_static:
            raise WriteProtection("a creation in a read-only call")
        value, start, size = (computation.stack_pop1_int() for _ in range(3))
        salt = computation.stack_pop1_int().to_bytes(_WORD, "big") if salted else None
        computation.extend_memory(start, size)
        words = -(-size // _WORD)
        fee = _CREATE + words * (_INITCODE_WORD + (_HASH_WORD if salted else 0))
        computation.consume_gas(fee, reason="CREATE")
        left = computation.get_gas_remaining()
        initcode = computation.memory_read_bytes(start, size)
        result = computation.state.host.create(
            initcode, value, salt, (left - left // 64) * GAS_FACTOR
        )
        address = result.output if result.success else b""
        _finish(
            computation,
            CallResult(result.success, b"" if result.success else result.output, result.gas_used),
        )
        computation.stack_push_int(int.from_bytes(address, "big"))

    return create


def _selfdestruct(computation: Any) -> None:
    if computation.msg.is_static:
        raise WriteProtection("SELFDESTRUCT in a read-only call")
    beneficiary = computation.stack_pop1_int().to_bytes(_WORD, "big")[-20:]
    computation.consume_gas(5_000 + computation.state.access_cost(beneficiary), "SELFDESTRUCT")
    computation.state.host.destroy(beneficiary)
    raise Halt("SELFDESTRUCT")


def _instructions() -> dict[int, Any]:
    opcodes = dict(CancunComputation.opcodes)
    for missing in (0xF2, 0x49, 0x4A):  # CALLCODE, BLOBHASH, BLOBBASEFEE
        opcodes.pop(missing, None)
    opcodes[0x5A] = as_opcode(logic_fn=_gas, mnemonic="GAS", gas_cost=2)
    for count in range(5):
        opcodes[0xA0 + count] = as_opcode(
            logic_fn=_log(count), mnemonic=f"LOG{count}", gas_cost=375
        )
    for kind in CallKind:
        opcodes[kind] = as_opcode(logic_fn=_call(kind), mnemonic=kind.name, gas_cost=0)
    opcodes[0xF0] = as_opcode(logic_fn=_create(salted=False), mnemonic="CREATE", gas_cost=0)
    opcodes[0xF5] = as_opcode(logic_fn=_create(salted=True), mnemonic="CREATE2", gas_cost=0)
    opcodes[0xFF] = as_opcode(logic_fn=_selfdestruct, mnemonic="SELFDESTRUCT", gas_cost=0)
    return opcodes


def _precompiles() -> dict[Any, Callable[[Any], Any]]:
    """Ethereum's 0x01 to 0x09; the FEVM has no point evaluation (0x0a)."""
    return {
        address: run
        for address, run in CancunComputation.get_precompiles().items()
        if 1 <= int.from_bytes(address, "big") <= 9
    }


class _Computation(CancunComputation):
    opcodes = _instructions()
    _precompiles = _precompiles()

    @property
    def should_burn_gas(self) -> bool:
        """A contract that fails keeps the gas it has left: in the FVM that is an actor that exits."""
        return self.is_error and isinstance(self._error, OutOfGas)
