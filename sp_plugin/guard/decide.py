"""The decision: may jobs run, and if not, why and until when. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from lotus_client.types import Epoch
from sp_plugin.config.guard import HostRole
from sp_plugin.guard.proof_watch import ProofWatch
from sp_plugin.guard.sights import ChainSight, DueDeadline, GuardRules, HostSight

__all__ = ["GuardState", "Verdict", "decide", "due_now"]

_MOST_LATE: Final = 5  # epochs: a head older than this says nothing of now
_STOP_BEFORE_CLOSE: Final = 20  # epochs: ten minutes in which a proof can still be made and sent
# Lotus sends a proof 4 epochs after the deadline opened (`storage/wdpost`, SubmitConfidence); if it is not on chain soon
# after that, something is wrong and its maker will be at work again.
_MESSAGE_EPOCHS: Final = 10


class GuardState(StrEnum):
    """What jobs may do, from most to least."""

    RUN = "run"
    NO_STARTS = "no_starts"
    FROZEN = "frozen"
    STOP = "stop"

    @property
    def severity(self) -> int:
        """0 for `RUN`, more for what forbids more."""
        return list(GuardState).index(self)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The state and why, the gravest reason first. The texts stay the same while the cause does.

    `until` is the epoch of the next foreseeable change, None where it is not told by the chain. With `freezable_may_start`
    a `NO_STARTS` only concerns what cannot be frozen.
    """

    state: GuardState
    reasons: tuple[str, ...]
    until: Epoch | None = None
    freezable_may_start: bool = False

    @property
    def why(self) -> str:
        """All reasons in one line."""
        return "; ".join(self.reasons)


def decide(
    rules: GuardRules,
    chain: ChainSight | None,
    host: HostSight,
    watch: ProofWatch,
    *,
    now: float,
    why_unseen: str = "",
) -> Verdict:
    """What jobs may do at `now` (Unix seconds). `why_unseen` says why there is no sight of the chain."""
    findings = list(_of_host(rules, host))
    nothing = Verdict(GuardState.RUN, (f"nothing on this {rules.role} needs the machine now",))
    if rules.role is HostRole.PROVER:
        findings += _of_chain(rules, chain, watch, now, why_unseen)
        if chain is not None:
            nothing = Verdict(GuardState.RUN, ("no proof is due",), _next_challenge(chain, now))
    if not findings:
        return nothing
    findings.sort(key=lambda finding: -finding.state.severity)  # stable: host before chain
    first = findings[0]
    equal = [finding for finding in findings if finding.state is first.state]
    ends = [finding.until for finding in equal if finding.until is not None]
    return Verdict(
        first.state,
        tuple(finding.why for finding in findings),
        min(ends, default=None),
        all(finding.freezable_may_start for finding in equal),
    )


def due_now(chain: ChainSight, epoch: Epoch) -> tuple[DueDeadline, ...]:
    """The deadlines whose proof may be in the making at an epoch: challenged, not closed, not covered on chain."""
    return tuple(d for d in chain.deadlines if d.missing and d.challenge <= epoch < d.close)


def _of_chain(
    rules: GuardRules, chain: ChainSight | None, watch: ProofWatch, now: float, why_unseen: str
) -> Iterator[Verdict]:
    if chain is None:
        why = why_unseen or "it was not asked yet"
        yield _frozen(f"the chain cannot be seen ({why}), and a proof may be due")
        return
    epoch = chain.epoch_at(now)
    if epoch - chain.head > _MOST_LATE:
        said = f" ({why_unseen})" if why_unseen else ""
        yield _frozen(
            f"the newest block is more than {_MOST_LATE} epochs old{said}, and a proof may be due"
        )
    due = due_now(chain, epoch)
    for deadline in due:
        yield _of_due(rules, deadline, watch, epoch, alone=len(due) == 1)
    for deadline in chain.deadlines:
        if deadline.missing and epoch < deadline.challenge <= epoch + rules.lead_epochs:
            yield Verdict(
                GuardState.NO_STARTS,
                (
                    f"the challenge of deadline {deadline.index} comes at epoch {deadline.challenge}",
                ),
                deadline.challenge,
                freezable_may_start=True,
            )


def _of_due(
    rules: GuardRules, deadline: DueDeadline, watch: ProofWatch, epoch: Epoch, *, alone: bool
) -> Verdict:
    what = f"{_partitions(deadline.missing)} of deadline {deadline.index}"
    stop_at = Epoch(deadline.close - _STOP_BEFORE_CLOSE)
    if epoch >= stop_at:
        text = f"{what}: no proof is on chain, and it closes at epoch {deadline.close}"
        return Verdict(GuardState.STOP, (text,), deadline.close)
    late = Epoch(deadline.open + _MESSAGE_EPOCHS)
    rested = watch.rested(deadline, epoch)
    if alone and rules.idle_epochs and rested >= rules.idle_epochs and epoch < late:
        text = (
            f"{what}: the proof was made on this host, which rests since epoch {watch.idle_since}; "
            f"if it is not on chain at epoch {late}, jobs are frozen again"
        )
        return Verdict(GuardState.RUN, (text,), late)
    text = f"{what}: a proof may be in the making since epoch {deadline.challenge}, and none is on chain yet"
    return Verdict(GuardState.FROZEN, (text,), stop_at)


def _of_host(rules: GuardRules, host: HostSight) -> Iterator[Verdict]:
    load, wait = host.load_percent, host.io_wait_percent
    if rules.max_load_percent is not None and load is not None and load > rules.max_load_percent:
        yield _no_starts(
            f"the load is above guard.max_load_percent ({rules.max_load_percent} % of the processors)"
        )
    most = rules.max_io_wait_percent
    if most is not None and wait is not None and wait > most:
        yield _no_starts(
            f"work stands still for disks more than guard.max_io_wait_percent ({most} %)"
        )
    yield from _short_of(
        host.memory_bytes, rules.least_memory_bytes, "memory", "guard.least_memory_bytes"
    )
    yield from _short_of(
        host.disk_free_bytes, rules.keep_free_bytes, "disk", "jobs.keep_free_bytes"
    )


def _short_of(found: int | None, least: int, what: str, key: str) -> Iterator[Verdict]:
    """A job that is stopped gives back what it has of it; one that is frozen does not."""
    if found is None or found >= least:
        return
    if found < least // 2:
        text = f"less than half of {key} ({least} bytes) of {what} is left"
        yield Verdict(GuardState.STOP, (text,))
    else:
        yield _no_starts(f"less than {key} ({least} bytes) of {what} is left")


def _frozen(text: str) -> Verdict:
    return Verdict(GuardState.FROZEN, (text,))


def _no_starts(text: str) -> Verdict:
    return Verdict(GuardState.NO_STARTS, (text,))


def _partitions(numbers: Sequence[int]) -> str:
    shown = ", ".join(str(number) for number in numbers[:8])
    more = f" and {len(numbers) - 8} more" if len(numbers) > 8 else ""
    return f"partition{'' if len(numbers) == 1 else 's'} {shown}{more}"


def _next_challenge(chain: ChainSight, now: float) -> Epoch:
    epoch = chain.epoch_at(now)
    ahead = [d.challenge for d in chain.deadlines if d.needed and d.challenge > epoch]
    return min(ahead, default=chain.next_challenge)
