"""Running a finished job again to check it: the same program over the same inputs must end the same way.

Compared are the exit code, the fuel and the root CID of all results (streams, exit code and outputs). WASM without clocks and
random numbers gives equal results everywhere; a program that uses either is found out here, and so is a damaged machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sp_plugin.executors.base import ExecutionOutcome, ExecutionRequest, Executor, OutcomeKind
from sp_plugin.jobs.outputs import OutputRefused, check_outputs, pack_results, write_exit_code
from sp_plugin.jobs.removal import remove_tree

__all__ = ["Verification", "run_again"]


@dataclass(frozen=True, slots=True)
class _Result:
    outcome: str
    exit_code: int | None
    fuel: int | None
    output_root: str | None

    def to_json(self) -> dict[str, Any]:
        return {
            "outcome": self.outcome,
            "exit_code": self.exit_code,
            "fuel": self.fuel,
            "output_root": self.output_root,
        }


@dataclass(frozen=True, slots=True)
class Verification:
    """What all runs gave, the first one first. `kind` is `FINISHED` if they are equal, else what the job ends with.

    `cpu_seconds` (wall seconds where the engine counts none) and `output_bytes` are what the runs after the first used.
    """

    kind: OutcomeKind
    message: str
    runs: Sequence[_Result]
    cpu_seconds: float = 0.0
    output_bytes: int = 0

    def to_json(self) -> dict[str, Any]:
        """For the run record."""
        return {
            "is_equal": self.kind is OutcomeKind.FINISHED,
            "runs": [run.to_json() for run in self.runs],
            "usage": {"cpu_seconds": self.cpu_seconds, "output_bytes": self.output_bytes},
        }


async def run_again(
    executor: Executor,
    request: ExecutionRequest,
    first: ExecutionOutcome,
    times: int,
    cancel: asyncio.Event,
) -> Verification:
    """The job run `times` more, one after the other, until one differs; only the first run's results are kept.

    A run that was cancelled or could not be done decides nothing about the program and gives its own kind; so do outputs
    that cannot be taken.
    """
    checks = _Checks(executor, request, first, cancel)
    try:
        kind, message = await checks.run(times)
    except (OutputRefused, OSError) as error:
        kind, message = OutcomeKind.OUTPUT_REFUSED, f"run to check it: {error}"
        checks.results.clear()
    usage = [outcome.usage for outcome in checks.outcomes]
    return Verification(
        kind,
        message,
        checks.results,
        round(sum(one.cpu_seconds or one.wall_seconds for one in usage), 3),
        sum(one.output_bytes or 0 for one in usage),
    )


class _Checks:
    """The runs after the first, with what has come of them so far."""

    def __init__(
        self,
        executor: Executor,
        request: ExecutionRequest,
        first: ExecutionOutcome,
        cancel: asyncio.Event,
    ) -> None:
        self._executor = executor
        self._request = request
        self._first = first
        self._cancel = cancel
        self._work = request.result_dir.parent
        self.results: list[_Result] = []
        self.outcomes: list[ExecutionOutcome] = []  # of the runs after the first

    async def run(self, times: int) -> tuple[OutcomeKind, str]:
        """How the job ends, and why.

        Raises:
            OutputRefused, OSError: the outputs of a run cannot be taken.
        """
        result = await asyncio.to_thread(_result_of, self._first, self._request, self._work)
        self.results.append(result)
        for number in range(1, times + 1):
            outcome = await self._run_once(number)
            if outcome.kind in {OutcomeKind.CANCELLED, OutcomeKind.RUNTIME_FAULT}:
                return outcome.kind, f"run {number + 1} to check it: {outcome.message}"
            if self.results[-1] != self.results[0]:
                return OutcomeKind.UNVERIFIED, _difference(self.results, outcome)
        return OutcomeKind.FINISHED, ""

    async def _run_once(self, number: int) -> ExecutionOutcome:
        result_dir = self._work / f"again-{number}"
        result_dir.mkdir(mode=0o755)
        again = replace(self._request, result_dir=result_dir)
        try:
            outcome = await self._executor.run(again, self._cancel)
            self.outcomes.append(outcome)
            if outcome.kind not in {OutcomeKind.CANCELLED, OutcomeKind.RUNTIME_FAULT}:
                self.results.append(await asyncio.to_thread(_result_of, outcome, again, self._work))
            return outcome
        finally:
            await asyncio.to_thread(remove_tree, result_dir)


def _result_of(outcome: ExecutionOutcome, request: ExecutionRequest, work: Path) -> _Result:
    kind, exit_code, fuel = outcome.kind, outcome.exit_code, outcome.usage.fuel
    if kind is not OutcomeKind.FINISHED:
        return _Result(kind.value, exit_code, fuel, None)
    outputs = [request.result_dir / output.name for output in request.outputs]
    check_outputs(outputs, request.limits)
    write_exit_code(request.result_dir, exit_code)
    car = work / "verifying.car"
    try:
        root = pack_results(request.result_dir, car).root
    finally:
        car.unlink(missing_ok=True)
    return _Result(kind.value, exit_code, fuel, str(root))


def _difference(results: Sequence[_Result], outcome: ExecutionOutcome) -> str:
    first, other = results[0].to_json(), results[-1].to_json()
    parts = [
        f"{name} {first[name]} then {other[name]}" for name in first if first[name] != other[name]
    ]
    ending = f" ({outcome.message})" if outcome.message else ""
    return (
        f"run {len(results)} of the same program over the same inputs differs from the first: "
        f"{'; '.join(parts)}{ending}. Nothing of it is published or earns"
    )
