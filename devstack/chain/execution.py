"""Executing one tipset: cron of the null rounds before it, messages and awards per block, cron of its epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from devstack.chain import gas
from devstack.chain.actors import CODE
from devstack.chain.amt import array_root, event_array_root
from devstack.chain.machine import Environment, Exit, Machine, Sent
from devstack.chain.quiet import quiet_epoch
from devstack.chain.states import MultisigState, StateTree, VerifregState
from devstack.chain.table import replace as replace_actor
from devstack.chain.values import ExecutionTrace, GasOutputs, Invocation, StampedEvent
from lotus_client.actors.events import entries_value
from lotus_client.actors.methods import CRON, REWARD, SYSTEM, CronMethod, RewardMethod
from lotus_client.actors.system import AwardBlockRewardParams
from lotus_client.address import Address
from lotus_client.chain import BlockHeader
from lotus_client.cid import Cid
from lotus_client.messages import Message, SignedMessage
from lotus_client.state import Receipt
from lotus_client.types import ActorId, AttoFil

__all__ = [
    "Executed",
    "apply_message",
    "apply_unsigned",
    "call_message",
    "compute_on",
    "events_root",
    "execute",
    "receipts_root",
]

_AWARD_GAS: Final = 1 << 30
_CRON_GAS: Final = gas.BLOCK_GAS_LIMIT * 10_000
_SENDERS: Final = ("account", "ethaccount", "placeholder")
_NO_TRACE: Final = ExecutionTrace(
    ActorId(0), SYSTEM, AttoFil(0), 0, b"", 0, 0, read_only=False, exit_code=0, return_=b"",
    return_codec=0,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Executed:
    """A tipset's outcome: the state after it and what ran."""

    tree: StateTree
    receipts_root: Cid
    messages: tuple[SignedMessage, ...]
    invocations: tuple[Invocation, ...]

    def without_implicit(self) -> Executed:
        """The part that is kept: the implicit messages can be had again by executing again."""
        kept = tuple(run for run in self.invocations if not run.implicit)
        return replace(self, invocations=kept)


def execute(
    tree: StateTree,
    blocks: Sequence[tuple[BlockHeader, Sequence[SignedMessage]]],
    parent_epoch: int,
    environment_at: Callable[[int], Environment],
) -> Executed:
    """Run a tipset's messages on its parent state (Lotus `chain/consensus/compute_state.go`).

    Without tracing the implicit messages of epochs in which nothing else happens are left out of the invocations.
    """
    height = blocks[0][0].height
    runs: list[Invocation] = []
    for epoch in range(parent_epoch + 1, height):
        environment = environment_at(epoch)
        after = quiet_epoch(tree, environment, ())
        if after is None:
            machine = _machine(tree, environment)
            runs.append(_cron(machine))
            after = machine.tree()
        tree = after
    environment = environment_at(height)
    if not any(included for _, included in blocks):
        after = quiet_epoch(tree, environment, [header for header, _ in blocks])
        if after is not None:
            return Executed(after, _NO_RECEIPTS, (), tuple(runs))
    return _execute_blocks(_machine(tree, environment), blocks, runs)


def _execute_blocks(
    machine: Machine,
    blocks: Sequence[tuple[BlockHeader, Sequence[SignedMessage]]],
    runs: list[Invocation],
) -> Executed:
    messages: list[SignedMessage] = []
    done: set[tuple[Address, int]] = set()
    for header, included in blocks:
        tips = 0
        for signed in included:
            name = (signed.message.from_, signed.message.nonce)
            if name in done:
                continue
            done.add(name)
            run = apply_message(machine, signed)
            tips += run.gas.miner_tip.value
            messages.append(signed)
            runs.append(run)
        runs.append(_award(machine, header, tips))
    runs.append(_cron(machine))
    receipts = [run.receipt for run in runs if not run.implicit]
    return Executed(machine.tree(), receipts_root(receipts), tuple(messages), tuple(runs))


def _machine(tree: StateTree, environment: Environment) -> Machine:
    machine = Machine(tree, environment, CODE)
    if environment.epoch == environment.config.nv29_epoch:
        _migrate_to_nv29(machine)
    return machine


def _migrate_to_nv29(machine: Machine) -> None:
    """FIP-0118: f06 loses its root, verifiers and pending allocations; the root multisig loses its signers."""
    registry, root = machine.actors[6], machine.actors[80]
    state: VerifregState = registry.state
    emptied = VerifregState(99, next_allocation_id=state.next_allocation_id, claims=state.claims)
    machine.set_actor(6, replace(registry, state=emptied))
    multisig: MultisigState = root.state
    machine.set_actor(80, replace(root, state=replace(multisig, signers=())))


def events_root(events: Sequence[StampedEvent]) -> Cid | None:
    """A receipt's EventsRoot; None without events."""
    if not events:
        return None
    return event_array_root([[event.emitter, entries_value(event.entries)] for event in events])


def receipts_root(receipts: Sequence[Receipt]) -> Cid:
    """What the child's header names as its parent's receipts."""
    return array_root(
        [[one.exit_code, one.return_, one.gas_used, one.events_root] for one in receipts]
    )


def apply_message(machine: Machine, signed: SignedMessage) -> Invocation:
    """Execute a signed message and pay for its gas.

    One that should not have been included (wrong nonce, unknown or poor sender) has no effect but its receipt; the
    block's miner is not punished for it, as the devnet's mempool never selects one.
    """
    return _apply(machine, signed.message, signed.cid, signed.chain_length)


def apply_unsigned(machine: Machine, message: Message) -> Invocation:
    """Execute a message as if it had been signed, of its unsigned length (StateCompute's extra messages)."""
    return _apply(machine, message, message.cid, len(message.to_cbor()))


def _apply(machine: Machine, message: Message, cid: Cid, size: int) -> Invocation:
    sender = machine.resolve(message.from_)
    refused = _refusal(machine, message, sender)
    if refused or sender is None:
        receipt = Receipt(refused or int(Exit.SENDER_INVALID), b"", 0, None)
        return Invocation(cid, message, receipt, GasOutputs(), _NO_TRACE, "message refused")
    base = gas.gas_used(message, size)
    actor = machine.actors[sender]
    reserved = message.gas_limit * message.gas_fee_cap.value
    machine.set_actor(
        sender, replace_actor(actor, nonce=actor.nonce + 1, balance=actor.balance - reserved)
    )
    machine.events.clear()
    sent, used = _metered_call(machine, sender, message, base)
    outputs = gas.gas_outputs(message, used)
    machine.add_balance(99, outputs.base_fee_burn.value + outputs.over_estimation_burn.value)
    machine.add_balance(2, outputs.miner_tip.value)
    machine.add_balance(sender, outputs.refund.value)
    events = tuple(machine.events)
    machine.events.clear()
    return Invocation(
        cid=cid,
        message=message,
        receipt=Receipt(sent.exit_code, sent.return_, used, events_root(events)),
        gas=outputs,
        trace=sent.trace or _NO_TRACE,
        error=f"exit {sent.exit_code}" if sent.exit_code else "",
        events=events,
    )


def _refusal(machine: Machine, message: Message, sender: int | None) -> int:
    actor = None if sender is None else machine.actors[sender]
    if actor is None or actor.code not in _SENDERS:
        return Exit.SENDER_INVALID
    if actor.nonce != message.nonce:
        return Exit.SENDER_STATE_INVALID
    if actor.balance < message.gas_limit * message.gas_fee_cap.value:
        return Exit.SENDER_STATE_INVALID
    return Exit.OK


def _call(machine: Machine, sender: int, message: Message) -> Sent:
    return machine.call(
        sender, message.to, message.method, message.params, message.value.value,
        gas_limit=message.gas_limit,
    )  # fmt: skip


def _metered_call(machine: Machine, sender: int, message: Message, base: int) -> tuple[Sent, int]:
    """The outcome and the gas used: the message's own price and what contracts took, within its limit."""
    actor = machine.actors[sender]
    if actor.code == "placeholder":  # its first message shows the key: it becomes an account
        machine.set_actor(sender, replace_actor(actor, code="ethaccount"))
    machine.origin, machine.exec_count = (message.from_, message.nonce), 0
    machine.gas_budget, machine.gas_consumed = message.gas_limit - base, 0
    machine.gas_price = gas.effective_price(message)
    if machine.gas_budget < 0:
        return Sent(int(Exit.OUT_OF_GAS), b"", None), message.gas_limit
    sent = _call(machine, sender, message)
    return sent, min(base + machine.gas_consumed, message.gas_limit)


def call_message(
    tree: StateTree, environment: Environment, message: Message, *, any_sender: bool = False
) -> Invocation:
    """Run a message without signature, nonce or gas on a state that stays as it is.

    With `any_sender` an f410 sender need not be on chain, as eth_call has it.
    """
    machine = _machine(tree, environment)
    sender = machine.sender_id(message.from_) if any_sender else machine.resolve(message.from_)
    if sender is None:
        receipt = Receipt(int(Exit.SENDER_INVALID), b"", 0, None)
        return Invocation(message.cid, message, receipt, GasOutputs(), _NO_TRACE, "unknown sender")
    base = gas.gas_used(message, len(message.to_cbor()) + 70)  # 70 bytes of signature and framing
    limited = replace(message, gas_limit=message.gas_limit or gas.BLOCK_GAS_LIMIT)
    sent, used = _metered_call(machine, sender, limited, base)
    events = tuple(machine.events)
    return Invocation(
        cid=message.cid,
        message=message,
        receipt=Receipt(sent.exit_code, sent.return_, used, events_root(events)),
        gas=GasOutputs(),
        trace=sent.trace or _NO_TRACE,
        error=f"exit {sent.exit_code}" if sent.exit_code else "",
        events=events,
    )


def compute_on(
    tree: StateTree, environment: Environment, messages: Sequence[Message]
) -> tuple[StateTree, tuple[Invocation, ...]]:
    """The state after these messages on top of `tree`, without award or cron, and what each did."""
    machine = _machine(tree, environment)
    runs = tuple(apply_unsigned(machine, message) for message in messages)
    return machine.tree(), runs


def _implicit(machine: Machine, to: Address, method: int, params: bytes, limit: int) -> Invocation:
    message = Message(
        to, SYSTEM, machine.environment.epoch, gas_limit=limit, method=method, params=params
    )
    machine.events.clear()
    sent = _call(machine, 0, message)
    events = tuple(machine.events)
    machine.events.clear()
    if not machine.environment.tracing:  # nobody will look at it: save the CID
        return Invocation(_NO_CID, message, _NO_RECEIPT, _NO_GAS, _NO_TRACE, implicit=True)
    return Invocation(
        cid=message.cid,
        message=message,
        receipt=Receipt(sent.exit_code, sent.return_, 0, events_root(events)),
        gas=_NO_GAS,
        trace=sent.trace or _NO_TRACE,
        error=f"exit {sent.exit_code}" if sent.exit_code else "",
        implicit=True,
        events=events,
    )


_NO_CID: Final = Cid(b"")
_NO_RECEIPTS: Final = array_root([])
_NO_RECEIPT: Final = Receipt(0, b"", 0, None)
_NO_GAS: Final = GasOutputs()


def _award(machine: Machine, header: BlockHeader, tips: int) -> Invocation:
    award = AwardBlockRewardParams(header.miner, AttoFil(0), AttoFil(tips), header.win_count)
    return _implicit(machine, REWARD, RewardMethod.AWARD_BLOCK_REWARD, award.to_cbor(), _AWARD_GAS)


def _cron(machine: Machine) -> Invocation:
    return _implicit(machine, CRON, CronMethod.EPOCH_TICK, b"", _CRON_GAS)
