"""A day of a large provider, epoch by epoch: what jobs get of it, and that no partition is ever late.

140 partitions over the 48 deadlines. The prover works as lotus-miner does (Lotus `storage/wdpost/wdpost_changehandler.go`): one
deadline after the other, from the epoch behind the challenge; the message goes out 4 epochs behind the opening.
A job that runs beside it makes it half as fast here, which is far worse than a niced one is.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from lotus_client.types import Epoch
from sp_plugin.guard.decide import GuardState, decide, due_now
from sp_plugin.guard.proof_watch import ProofWatch
from sp_plugin.guard.sights import Activity, DueDeadline, HostSight
from tests.unit.sp_plugin.guard.parts import LOOKBACK, PROVER, WINDOW, sight, time_of

DAY, DEADLINES, PARTITIONS = 2880, 48, 140
LOOKS = 3  # in an epoch: one every ten seconds
SUBMIT_CONFIDENCE = 4


@dataclass
class Proof:
    """One deadline of the day. Times are epochs; `left` is work in epochs of an idle machine."""

    index: int
    partitions: int
    left: float
    landed: int | None = None

    @property
    def open(self) -> int:
        return self.index * WINDOW


@dataclass
class Prover:
    """Makes proofs and sends them; says whether it is at work."""

    proofs: list[Proof]
    random: random.Random
    late: list[int] = field(default_factory=list)
    earliest: int = 1 - LOOKBACK  # first epoch of work, from the opening

    def at_work(self, epoch: int) -> Proof | None:
        for proof in self.proofs:
            if proof.left > 0 and proof.open + self.earliest <= epoch < proof.open + WINDOW:
                return proof
        return None

    def work(self, epoch: int, beside_jobs: bool) -> bool:
        proof = self.at_work(epoch)
        if proof is not None:
            proof.left -= (0.5 if beside_jobs else 1.0) / LOOKS
        return proof is not None

    def send(self, epoch: int) -> None:
        for proof in self.proofs:
            sends = proof.left <= 0 and epoch >= proof.open + SUBMIT_CONFIDENCE
            if proof.landed is None and sends and epoch < proof.open + WINDOW:
                # in a block of one of the next epochs, in the state of the tipset behind that
                proof.landed = epoch + self.random.randint(1, 3) + 1
            if epoch == proof.open + WINDOW - 1 and (proof.landed or DAY * 2) > epoch:
                self.late.append(proof.index)


def a_day(rng: random.Random, per_partition: tuple[float, float]) -> list[Proof]:
    counts = [PARTITIONS // DEADLINES + (n < PARTITIONS % DEADLINES) for n in range(DEADLINES)]
    rng.shuffle(counts)
    return [
        Proof(index + 1, count, sum(rng.uniform(*per_partition) for _ in range(count)))
        for index, count in enumerate(counts)
    ]


def seen(proofs: list[Proof], epoch: int) -> Iterator[DueDeadline]:
    """The open deadline and the next one, as the chain shows them."""
    for proof in proofs:
        if proof.open - WINDOW <= epoch < proof.open + WINDOW:
            needed = tuple(range(proof.partitions))
            covered = proof.landed is not None and proof.landed <= epoch
            opens = proof.open
            yield DueDeadline(
                proof.index, Epoch(opens - LOOKBACK), Epoch(opens), Epoch(opens + WINDOW),
                needed, () if covered else needed,
            )  # fmt: skip


def run_day(prover: Prover, *, sees_work: bool) -> tuple[float, set[GuardState]]:
    """The share of the day that jobs ran, and the states there were."""
    watch, state = ProofWatch(), GuardState.RUN
    ran, looks, states = 0, 0, set()
    for epoch in range(WINDOW - LOOKBACK, WINDOW - LOOKBACK + DAY):
        prover.send(epoch)
        for part in range(LOOKS):
            busy = prover.work(epoch, state in {GuardState.RUN, GuardState.NO_STARTS})
            chain = sight(epoch, *seen(prover.proofs, epoch))
            due = due_now(chain, Epoch(epoch))
            activity = (Activity.BUSY if busy else Activity.IDLE) if sees_work else None
            watch = watch.look(due[0] if due else None, activity, Epoch(epoch))
            now = time_of(epoch) + part * 10
            state = decide(PROVER, chain, HostSight(proving=activity), watch, now=now).state
            states.add(state)
            ran += state in {GuardState.RUN, GuardState.NO_STARTS}
            looks += 1
    return ran / looks, states


@pytest.mark.parametrize("seed", range(3))
def test_jobs_get_seventy_percent_of_the_day_where_the_prover_is_seen_and_nothing_is_late(seed):
    rng = random.Random(seed)
    prover = Prover(a_day(rng, (2.0, 4.0)), rng)  # one to two minutes a partition
    share, states = run_day(prover, sees_work=True)
    assert sum(proof.partitions for proof in prover.proofs) == PARTITIONS
    assert share >= 0.70
    assert prover.late == []
    assert GuardState.STOP not in states


@pytest.mark.parametrize("seed", range(2))
def test_by_the_chain_alone_jobs_get_less_since_no_proof_lands_before_the_opening(seed):
    rng = random.Random(seed)
    prover = Prover(a_day(rng, (2.0, 4.0)), rng)
    share, _ = run_day(prover, sees_work=False)
    assert 0.5 < share < 1 - (LOOKBACK + 1) / WINDOW
    assert prover.late == []


def test_a_prover_that_begins_at_the_opening_is_not_late_either():
    rng = random.Random(7)
    prover = Prover(a_day(rng, (2.0, 4.0)), rng, earliest=0)  # as Curio's tasks do
    share, states = run_day(prover, sees_work=True)
    assert prover.late == []
    assert share > 0.4
    assert GuardState.STOP not in states


def test_a_prover_that_needs_nearly_all_of_its_time_has_the_machine_for_itself():
    rng = random.Random(8)
    prover = Prover(a_day(rng, (14.0, 16.0)), rng)  # up to 48 of 60 epochs for a deadline
    share, _ = run_day(prover, sees_work=True)
    assert prover.late == []
    assert share < 0.4
