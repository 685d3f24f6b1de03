"""A tree of tipsets with one head, and a node that tells of it as badly as it can."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Callable

from lotus_client.address import Address
from lotus_client.chain import BlockHeader, HeadChange, TipSet, TipSetKey
from lotus_client.cid import dag_cbor_cid
from lotus_client.errors import LotusConnectError, LotusDecodeError, LotusError, LotusStatePruned
from lotus_client.types import AttoFil, Epoch

ROOT = dag_cbor_cid(b"\xa0")


class HeadWorld:
    """What a perfect node would know."""

    def __init__(self) -> None:
        self._serial = itertools.count()
        self.head = self._make(TipSetKey(), 0)
        self.genesis = self.head

    def _make(self, parents: TipSetKey, height: int) -> TipSet:
        header = BlockHeader(
            miner=Address.of_id(1000 + next(self._serial)), ticket=None, election_proof=None, beacon_entries=(),
            win_post_proof=(), parents=parents, parent_weight=0, height=Epoch(height), parent_state_root=ROOT,
            parent_message_receipts=ROOT, messages=ROOT, bls_aggregate=None, timestamp=0, block_sig=None,
            fork_signaling=0, parent_base_fee=AttoFil(100),
        )  # fmt: skip
        tipset = TipSet(TipSetKey((header.cid,)), (header,), Epoch(height))
        self.__dict__.setdefault("known", {})[tipset.key] = tipset
        return tipset

    known: dict[TipSetKey, TipSet]

    def mine(self, count: int) -> list[HeadChange]:
        """Tipsets on the head, every third after a null round; the applies."""
        changes = []
        for _ in range(count):
            height = self.head.height + (2 if len(self.known) % 3 == 0 else 1)
            self.head = self._make(self.head.key, height)
            changes.append(HeadChange("apply", self.head))
        return changes

    def rewind(self, depth: int) -> list[HeadChange]:
        """The head goes back; the reverts."""
        changes = []
        for _ in range(depth):
            if self.head is self.genesis:
                break
            changes.append(HeadChange("revert", self.head))
            self.head = self.known[self.head.parents]
        return changes

    def canonical(self) -> set[TipSetKey]:
        keys, tipset = {self.genesis.key}, self.head
        while tipset is not self.genesis:
            keys.add(tipset.key)
            tipset = self.known[tipset.parents]
        return keys

    def path(self, start: TipSet, end: TipSet) -> list[HeadChange]:
        reverts, applies = [], []
        while start.key != end.key:
            if start.height >= end.height:
                reverts.append(HeadChange("revert", start))
                start = self.known[start.parents]
            else:
                applies.append(HeadChange("apply", end))
                end = self.known[end.parents]
        return reverts + applies[::-1]


class HostileNode:
    """A node that works through a script, one action for each time the stream is read; at its end it tells the truth."""

    def __init__(self, world: HeadWorld, script: list[tuple[str, int]]) -> None:
        self.world = world
        self.script = list(script)
        self.finished = False
        self._served = set(world.known)
        self._told: list[list[HeadChange]] = []
        self._path_trouble: list[str] = []
        self._head_trouble = 0
        self.connections = 0

    async def head(self) -> TipSet:
        if self._head_trouble:
            self._head_trouble -= 1
            raise LotusConnectError("away")
        return self.world.head

    async def tipset(self, key: TipSetKey) -> TipSet:
        return self._get(key)

    def _get(self, key: TipSetKey) -> TipSet:
        if key not in self._served:
            raise LotusStatePruned("ChainGetTipSet", 1, "block not found")
        return self.world.known[key]

    async def path(self, from_: TipSetKey, to: TipSetKey) -> list[HeadChange]:
        trouble = self._path_trouble.pop() if self._path_trouble else ""
        if trouble == "away":
            raise LotusConnectError("away")
        changes = self.world.path(self._get(from_), self._get(to))
        return {"lies": changes[1:], "backwards": changes[::-1], "nothing": []}.get(
            trouble, changes
        )

    async def notify(self) -> AsyncGenerator[list[HeadChange], None]:
        self.connections += 1
        yield [HeadChange("current", self.world.head)]
        while self.script:
            action, count = self.script.pop(0)
            batch = self._act(action, count)
            self._served |= set(self.world.known) if action != "forget" else set()
            if isinstance(batch, LotusError):
                raise batch
            if batch is None:
                return
            self._told.append(batch)
            yield batch
        self._path_trouble, self._head_trouble = [], 0
        last = self.world.mine(1)
        self._served |= {self.world.head.key}
        self.finished = True
        yield last

    def _act(self, action: str, count: int) -> list[HeadChange] | LotusError | None:
        world = self.world
        acts: dict[str, Callable[[], list[HeadChange] | LotusError | None]] = {
            "mine": lambda: world.mine(count),
            "reorg": lambda: world.rewind(count) + world.mine(count + 1),
            "rewind": lambda: world.rewind(count),
            "silent": lambda: world.mine(count)[:0],
            "untold-reorg": lambda: (world.rewind(count) + world.mine(count))[:0],
            "reorder": lambda: world.mine(count + 1)[::-1],
            "partial": lambda: world.mine(count + 1)[-1:],
            "half": lambda: (world.rewind(count) + world.mine(count))[count:],
            "duplicate": lambda: [*world.mine(1) * 2],
            "again": lambda: self._told[-1] if self._told else [],
            "stale": lambda: self._told[-count] if len(self._told) >= count else [],
            "drop": lambda: LotusConnectError("reset"),
            "junk": lambda: LotusDecodeError("frame", "not JSON"),
            "close": lambda: None,
            "forget": self._forget,
        }
        if action in acts:
            return acts[action]()
        if action == "head-away":
            self._head_trouble = count
        else:
            self._path_trouble = [action.removeprefix("path-")] * count
        return []

    def _forget(self) -> list[HeadChange]:
        self._served &= self.world.canonical()
        return []


ACTIONS = [
    "mine", "reorg", "rewind", "silent", "untold-reorg", "reorder", "partial", "half", "duplicate", "again", "stale",
    "drop", "junk", "close", "forget", "head-away", "path-away", "path-lies", "path-backwards", "path-nothing",
]  # fmt: skip


class Follower:
    """A consumer that checks every step: it begins where the last one ended, and hangs together."""

    def __init__(self, at: TipSet) -> None:
        self.stack = [at]

    def take(self, reverted: tuple[TipSet, ...], applied: tuple[TipSet, ...], head: TipSet) -> None:
        for tipset in reverted:
            assert tipset.key == self.stack[-1].key
            self.stack.pop()
        for tipset in applied:
            assert tipset.parents == self.stack[-1].key
            self.stack.append(tipset)
        assert self.stack[-1].key == head.key
        assert not {t.key for t in reverted} & {t.key for t in applied}
