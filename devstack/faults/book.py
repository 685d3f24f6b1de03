"""The faults in force, and whether a call meets one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from devstack.faults.kinds import Fault, FaultKind, Scope, checked_params

__all__ = ["FaultBook", "Strike"]


@dataclass(frozen=True, slots=True)
class Strike:
    """One call that a fault hit. `draw` is 32 bits that only the fault and the number of the call decide."""

    fault: Fault
    draw: int

    def __getitem__(self, name: str) -> Any:
        return self.fault.params[name]


@dataclass(slots=True)
class _Running:
    fault: Fault
    undo: Callable[[], None] | None = None
    seen: int = 0
    struck: int = 0


class FaultBook:
    """Faults by id. A kind that changes something outside of calls has an `action`, which returns how to undo it."""

    def __init__(self) -> None:
        self._running: dict[int, _Running] = {}
        self._next_id = 1
        self._actions: dict[FaultKind, Callable[[Fault], Callable[[], None]]] = {}

    def __bool__(self) -> bool:
        return bool(self._running)

    def on(self, kind: FaultKind, action: Callable[[Fault], Callable[[], None]]) -> None:
        """Do `action` when a fault of that kind is added, and what it returns when the fault ends."""
        self._actions[kind] = action

    def add(self, kind: FaultKind | str, scope: Scope | None = None, **params: Any) -> Fault:
        """Put a fault in force.

        Raises:
            ValueError: no such kind, or parameters it does not take.
            OSError: a file that it would change is not there.
        """
        try:
            kind = FaultKind(kind)
        except ValueError:
            raise ValueError(f"no fault is called {kind!r}: {', '.join(FaultKind)}") from None
        fault = Fault(self._next_id, kind, scope or Scope(), checked_params(kind, params))
        action = self._actions.get(kind)
        running = _Running(fault, action(fault) if action is not None else None)
        self._next_id += 1
        self._running[fault.id] = running
        return fault

    def entries(self) -> list[tuple[Fault, int, int]]:
        """Each fault with the number of calls it matched and struck."""
        return [(one.fault, one.seen, one.struck) for one in self._running.values()]

    def clear(self, fault_id: int | None = None) -> int:
        """End one fault, or all; how many ended.

        Raises:
            ValueError: no fault of that id.
        """
        if fault_id is not None and fault_id not in self._running:
            raise ValueError(f"there is no fault {fault_id}")
        ending = list(self._running) if fault_id is None else [fault_id]
        for one in reversed(ending):  # what was done last is undone first
            self._end(one)
        return len(ending)

    def strike(self, kinds: Collection[FaultKind], endpoint: str, method: str) -> list[Strike]:
        """The faults of these kinds that hit this call, oldest first; counts the call for each that matches."""
        strikes: list[Strike] = []
        for running in list(self._running.values()):
            fault = running.fault
            if fault.kind in kinds and fault.scope.covers(endpoint, method):
                struck = self._count(running)
                if struck is not None:
                    strikes.append(struck)
        return strikes

    def _count(self, running: _Running) -> Strike | None:
        fault, scope = running.fault, running.fault.scope
        running.seen += 1
        draw = _draw(fault, running.seen)
        hit = running.seen > scope.skip and draw < scope.probability * (1 << 32)
        running.struck += hit
        if running.struck == scope.count > 0 or running.seen == scope.calls > 0:
            self._end(fault.id)
        return Strike(fault, _draw(fault, -running.seen)) if hit else None

    def _end(self, fault_id: int) -> None:
        running = self._running.pop(fault_id)
        if running.undo is not None:
            running.undo()


def _draw(fault: Fault, number: int) -> int:
    text = f"fault|{fault.kind}|{fault.scope.seed}|{number}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "big")
