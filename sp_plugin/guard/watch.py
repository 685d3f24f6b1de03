"""The guard at work: looks at the chain and the host every few seconds, decides, and holds jobs back or lets them go."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from lotus_client.errors import LotusError, LotusUnavailable
from lotus_client.types import Epoch
from sp_plugin.config.guard import HostRole
from sp_plugin.guard.decide import GuardState, Verdict, decide, due_now
from sp_plugin.guard.proof_watch import ProofWatch
from sp_plugin.guard.sights import ChainSight, GuardRules, HostSight
from sp_plugin.jobs.hold import Hold
from sp_plugin.metrics import GUARD_STATE, GUARD_STOPS

__all__ = ["Change", "Guard", "LooksAtChain", "LooksAtHost", "Report"]

_CHAIN_SECONDS: Final = 10.0  # a node that hangs must not keep a challenge from being noticed
_HOST_SECONDS: Final = 10.0
_REMEMBERED: Final = 50

log = structlog.get_logger()


class LooksAtChain(Protocol):
    """`ChainEye` is one; None in its place where the chain does not matter."""

    newest: ChainSight | None

    async def look(self) -> ChainSight: ...


class LooksAtHost(Protocol):
    """`HostEye` is one."""

    async def look(self) -> HostSight: ...


@dataclass(frozen=True, slots=True)
class Change:
    """That the state became another. `at` is in Unix seconds."""

    at: float
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Report:
    """Everything an operator may want to know. `epoch` is that of the clock, None where no chain was seen."""

    rules: GuardRules
    verdict: Verdict
    since: float
    epoch: Epoch | None
    chain: ChainSight | None
    why_unseen: str
    host: HostSight
    changes: tuple[Change, ...]


class Guard:
    """Decides for one sidecar. `clock` gives Unix seconds. Before the first look a prover's jobs stand still.

    `tell` hears after each look what an operator should see; an empty text while jobs may do everything.
    """

    def __init__(
        self,
        rules: GuardRules,
        hold: Hold,
        chain: LooksAtChain | None,
        host: LooksAtHost,
        clock: Callable[[], float],
    ) -> None:
        self._rules, self._hold = rules, hold
        self._chain, self._host, self._clock = chain, host, clock
        self.tell: Callable[[str], object] = lambda _: None
        self._watch = ProofWatch()
        self._sight = HostSight()
        self._why_unseen = ""
        self._changes: deque[Change] = deque(maxlen=_REMEMBERED)
        first = Verdict(GuardState.RUN, ("the guard has not looked yet",))
        if rules.role is HostRole.PROVER:
            first = Verdict(GuardState.FROZEN, first.reasons)
        self._verdict, self._since = first, clock()
        self._obey(first)

    async def step(self) -> bool:
        """One round: observe, decide, act. What is not seen is decided upon as unknown, and then raised.

        Raises:
            LotusError: a prover's node did not answer; jobs are held back by what it last said, and the clock.
        """
        unseen = await self._look_at_chain()
        self._decide()  # a challenge must not wait for a host that is slow to look at
        try:
            async with asyncio.timeout(_HOST_SECONDS):
                self._sight = await self._host.look()
        except BaseException:
            self._sight = HostSight(unseen=("this host could not be looked at",))
            raise
        finally:
            self._watch_prover()
            self._decide()
        if unseen is not None:
            raise unseen
        return False

    def report(self) -> Report:
        """How things stand."""
        chain = None if self._chain is None else self._chain.newest
        return Report(
            self._rules,
            self._verdict,
            self._since,
            None if chain is None else chain.epoch_at(self._clock()),
            chain,
            self._why_unseen,
            self._sight,
            tuple(reversed(self._changes)),
        )

    async def _look_at_chain(self) -> LotusError | None:
        if self._chain is None:
            return None
        try:
            async with asyncio.timeout(_CHAIN_SECONDS):
                await self._chain.look()
        except TimeoutError:
            unseen: LotusError = LotusUnavailable(f"no answer in {_CHAIN_SECONDS:g} s")
        except LotusError as error:
            unseen = error
        else:
            self._why_unseen = ""
            return None
        self._why_unseen = str(unseen)[:300]
        return unseen

    def _watch_prover(self) -> None:
        if self._chain is not None and (chain := self._chain.newest) is not None:
            epoch = chain.epoch_at(self._clock())
            due = due_now(chain, epoch)
            self._watch = self._watch.look(due[0] if due else None, self._sight.proving, epoch)

    def _decide(self) -> None:
        now = self._clock()
        chain = None if self._chain is None else self._chain.newest
        verdict = decide(
            self._rules, chain, self._sight, self._watch, now=now, why_unseen=self._why_unseen
        )
        before, self._verdict = self._verdict, verdict
        if before.state is not verdict.state:
            self._since = now
            self._changes.append(Change(now, verdict))
            self._log(before, verdict)
        if before != verdict:
            self._obey(verdict)
        held = verdict.state is not GuardState.RUN
        self.tell(f"{verdict.state}: {verdict.why}" if held else "")
        for state in GuardState:
            GUARD_STATE.labels(state.value).set(state is verdict.state)

    def _log(self, before: Verdict, verdict: Verdict) -> None:
        fields = {"before": before.state.value, "reason": verdict.why, "until_epoch": verdict.until}
        if verdict.state is GuardState.STOP:
            GUARD_STOPS.inc()
            log.error("guard_stops_jobs", **fields)
        else:
            log.info("guard_changed", state=verdict.state.value, **fields)

    def _obey(self, verdict: Verdict) -> None:
        match verdict.state:
            case GuardState.RUN:
                self._hold.run()
            case GuardState.NO_STARTS:
                may = verdict.freezable_may_start
                self._hold.no_starts(verdict.why, freezable_may_start=may)
            case GuardState.FROZEN:
                self._hold.freeze(verdict.why)
            case GuardState.STOP:
                self._hold.stop(verdict.why)
