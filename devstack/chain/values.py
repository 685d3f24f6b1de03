"""What the chain hands out besides the values of `lotus_client`: executions, traces, event filters."""

from __future__ import annotations

from dataclasses import dataclass, field

from lotus_client.address import Address
from lotus_client.chain import TipSetKey
from lotus_client.cid import Cid
from lotus_client.messages import Message, SignedMessage
from lotus_client.state import ActorState, EventEntry, Receipt
from lotus_client.types import ActorId, AttoFil, Epoch

__all__ = [
    "ChainLookupError",
    "EventFilter",
    "ExecutionTrace",
    "ForkRefused",
    "GasOutputs",
    "Invocation",
    "MessageFailed",
    "ProvingDeadline",
    "PushRefused",
    "SectorPlace",
    "StampedEvent",
    "TipSetExecution",
]


class ChainLookupError(LookupError):
    """Nothing of that name on this chain; the message is what Lotus would say where it has a text of its own."""


class ForkRefused(ValueError):
    """A chain that this node does not take as its own; the message is Lotus' where its sync has one."""


class PushRefused(ValueError):
    """The mempool does not take a message; the message says why, in Lotus' words where it has them."""


class MessageFailed(RuntimeError):
    """A message would fail, or did: its exit code and what it was."""

    def __init__(self, exit_code: int, what: str) -> None:
        super().__init__(f"message execution failed: exit {exit_code} ({what})")
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class StampedEvent:
    """An event in a receipt's event list: the emitting actor's id and its ordered entries."""

    emitter: ActorId
    entries: tuple[EventEntry, ...]


@dataclass(frozen=True, slots=True)
class ExecutionTrace:
    """One call of a message's execution, with the calls it made.

    `params_codec` is 0x51 for a method's params, 0x55 for params on a bare send, 0 without any. `invoked` is the
    receiver's record after dispatch (None when it could not be dispatched). Calls that failed are listed too.
    """

    from_: ActorId
    to: Address  # as the caller wrote it
    value: AttoFil
    method: int
    params: bytes
    params_codec: int
    gas_limit: int
    read_only: bool
    exit_code: int
    return_: bytes
    return_codec: int
    invoked_id: ActorId | None = None
    invoked: ActorState | None = None
    subcalls: tuple[ExecutionTrace, ...] = ()


@dataclass(frozen=True, slots=True)
class GasOutputs:
    """Where the gas money of a message went, in attoFIL. All zero for implicit messages."""

    base_fee_burn: AttoFil = AttoFil(0)
    over_estimation_burn: AttoFil = AttoFil(0)
    miner_penalty: AttoFil = AttoFil(0)
    miner_tip: AttoFil = AttoFil(0)
    refund: AttoFil = AttoFil(0)

    @property
    def total_cost(self) -> AttoFil:
        """What the sender lost to gas: both burns and the tip."""
        return self.base_fee_burn + self.over_estimation_burn + self.miner_tip


@dataclass(frozen=True, slots=True)
class Invocation:
    """One executed message (Lotus' InvocResult). `cid` is the included message's CID; implicit ones have their own."""

    cid: Cid
    message: Message
    receipt: Receipt
    gas: GasOutputs
    trace: ExecutionTrace
    error: str = ""
    implicit: bool = False
    events: tuple[StampedEvent, ...] = ()


@dataclass(frozen=True, slots=True)
class TipSetExecution:
    """A tipset executed: what its child's header commits to, and everything that ran, in order.

    `invocations` begin with the cron of null rounds before the tipset, then per block its messages not seen before
    and its award, then the epoch's cron (actors.md §9). `messages` and `receipts` are the explicit ones only.
    """

    tipset: TipSetKey
    height: Epoch
    state_root: Cid
    receipts_root: Cid
    invocations: tuple[Invocation, ...] = field(repr=False)
    messages: tuple[SignedMessage, ...] = field(repr=False)

    @property
    def receipts(self) -> tuple[Receipt, ...]:
        """The receipts of `messages`, in their order."""
        return tuple(run.receipt for run in self.invocations if not run.implicit)


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which actor events to return: keys ANDed, the (codec, value bytes) of one key ORed.

    Heights are of the tipset that *included* the message; None is open. `tipset` excludes both heights.
    """

    addresses: tuple[Address, ...] = ()
    fields: tuple[tuple[str, tuple[tuple[int, bytes], ...]], ...] = ()
    from_height: Epoch | None = None
    to_height: Epoch | None = None
    tipset: TipSetKey | None = None


@dataclass(frozen=True, slots=True)
class ProvingDeadline:
    """A miner's open deadline, all epochs absolute (go-state-types `dline.Info`)."""

    current_epoch: Epoch
    period_start: Epoch
    index: int
    open: Epoch
    close: Epoch  # the first epoch after the window
    challenge: Epoch
    fault_cutoff: Epoch


@dataclass(frozen=True, slots=True)
class SectorPlace:
    """Where a sector is proven."""

    deadline: int
    partition: int
