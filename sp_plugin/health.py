"""What works at the moment and what does not, and why: the source of `/health/readyz` and of `doctor`'s last line."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

__all__ = ["ComponentState", "Health"]


@dataclass(frozen=True, slots=True)
class ComponentState:
    """One part's state; `reason` says what is wrong and what to do, and is empty when it is well.

    `note` is something an operator should look at although the part works.
    """

    name: str
    ready: bool
    reason: str
    since: datetime
    note: str = ""


class Health:
    """The parts that must be well for the sidecar to be ready. A part begins as not ready ("starting")."""

    def __init__(self, names: tuple[str, ...], now: datetime) -> None:
        self._states = {name: ComponentState(name, False, "starting", now) for name in names}

    def well(self, name: str, now: datetime) -> None:
        """Record that the part works."""
        self._set(name, ready=True, reason="", now=now)

    def unwell(self, name: str, reason: str, now: datetime) -> None:
        """Record that it does not; `since` stays while the state stays, the reason is the newest."""
        self._set(name, ready=False, reason=reason, now=now)

    def note(self, name: str, text: str) -> bool:
        """Put a note beside a part, an empty one takes it away; whether that is news."""
        before = self._states[name]
        self._states[name] = replace(before, note=text)
        return text != before.note

    def _set(self, name: str, *, ready: bool, reason: str, now: datetime) -> None:
        before = self._states.get(name)
        since = before.since if before and before.ready == ready else now
        note = before.note if before else ""
        self._states[name] = ComponentState(name, ready, reason, since, note)

    @property
    def states(self) -> tuple[ComponentState, ...]:
        """All parts, in the order they were named."""
        return tuple(self._states.values())

    @property
    def is_ready(self) -> bool:
        """Whether every part works."""
        return all(state.ready for state in self._states.values())
