"""Miner software in one page: sends the window PoSts of chosen miners, so that their sectors stay proven."""

from __future__ import annotations

from typing import Protocol

from devstack.chain.actors.miner_state import deadline_now
from devstack.chain.actors.policy import MAX_POST_PARTITIONS
from devstack.chain.states import MinerState, Partition
from lotus_client.actors.miner import PoStPartition, SubmitWindowedPoStParams
from lotus_client.bitfield import BitField
from lotus_client.cid import Cid

__all__ = ["AutomaticProver", "post_messages", "provable"]

_PROOF_BYTES = 192


def provable(partition: Partition) -> bool:
    """Whether there is anything to prove: healthy, unproven or recovering sectors."""
    return bool((partition.live - partition.faults.keys()) or partition.recoveries)


def post_messages(
    state: MinerState, epoch: int, randomness: bytes
) -> list[SubmitWindowedPoStParams]:
    """The PoSts that the deadline open at `epoch` still lacks, up to three partitions each."""
    now = deadline_now(state.proving_period_start, epoch)
    deadline = state.deadlines[now.index]
    due = [
        index
        for index, partition in enumerate(deadline.partitions)
        if index not in deadline.posted and provable(partition)
    ]
    proof = (state.details.window_post_proof, bytes((1,)) * _PROOF_BYTES)
    return [
        SubmitWindowedPoStParams(
            now.index,
            tuple(PoStPartition(index, BitField()) for index in due[at : at + MAX_POST_PARTITIONS]),
            (proof,),
            now.challenge,
            randomness,
        )
        for at in range(0, len(due), MAX_POST_PARTITIONS)
    ]


class AutomaticProver:
    """Keeps the sectors of chosen miners proven by pushing their PoSt messages as their windows open."""

    def __init__(self, chain: ProvingChain) -> None:
        self._chain = chain
        self._miners: dict[int, tuple[int, list[Cid]]] = {}  # miner -> window, messages sent in it
        self._skips: dict[
            int, tuple[int, int]
        ] = {}  # miner -> windows left to skip, window being skipped

    def set(self, miner: int, *, enabled: bool) -> None:
        """Start or stop proving for a miner."""
        if enabled:
            self._miners.setdefault(miner, (-1, []))
        else:
            self._miners.pop(miner, None)

    @property
    def miners(self) -> tuple[int, ...]:
        """Whom it works for."""
        return tuple(self._miners)

    def skip(self, miner: int, windows: int) -> None:
        """Send nothing in the miner's next windows that have something to prove."""
        self._skips[miner] = (windows, -1)

    def _skipped(self, miner: int, window: int) -> bool:
        left, skipping = self._skips.get(miner, (0, -1))
        if skipping == window:
            return True
        if left == 0:
            self._skips.pop(miner, None)
            return False
        self._skips[miner] = (left - 1, window)
        return True

    def before_epoch(self, epoch: int) -> None:
        """Push what the windows open at `epoch` lack; again when a message was lost or failed."""
        for miner, (window, sent) in self._miners.items():
            state = self._chain.miner_state(miner)
            now = deadline_now(state.proving_period_start, epoch)
            if not state.deadlines[now.index].partitions or now.challenge >= epoch - 1:
                continue
            waiting = sent if window == now.open else []
            if any(self._chain.is_pending(cid) for cid in waiting):
                continue
            randomness = self._chain.post_randomness(now.challenge)
            due = post_messages(state, epoch, randomness)
            if due and not self._skipped(miner, now.open):
                cids = [self._chain.push_post(miner, one) for one in due]
                self._miners[miner] = (now.open, cids)


class ProvingChain(Protocol):
    """What the prover needs of the network."""

    def miner_state(self, miner: int) -> MinerState: ...
    def is_pending(self, cid: Cid) -> bool: ...
    def post_randomness(self, epoch: int) -> bytes: ...
    def push_post(self, miner: int, params: SubmitWindowedPoStParams) -> Cid: ...
