"""The follower under random forks, null rounds, drops, kills and late news: after every step its index is the one built from scratch.

`python -m tests.soak_following --seconds 3600 [--seed N]` goes on for that long; a seeded slice is in the normal tests. With
`--devnet` it is a real node's chain instead (`tests.soak_devnet`). An
episode is one chain of a few hundred tipsets and one SQLite file; a failure names its seed and step, and repeats with them.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from deals.follower import ChainFollower
from deals.held import fold_pieces
from fil_plus.events import parse_event
from lotus_client.chain import TipSet
from lotus_client.errors import LotusConnectError, LotusTimeout
from lotus_client.types import ClaimId, Epoch, SectorNumber
from sp_plugin.store.base import Store, metadata
from sp_plugin.store.chain import ChainRepository
from sp_plugin.store.chain_codec import encode_entries
from sp_plugin.store.chain_tables import events as event_table
from tests.fakes_chain import (
    OTHER,
    PROVIDER,
    FakeChain,
    World,
    claim_event,
    deal_event,
    make_claim,
    make_sector,
    piece_cid,
    sector_event,
)
from tests.soak_devnet import run_devnet_episode

__all__ = ["Episode", "NervousNode", "run_episode"]

_SCRATCH_EVERY = (
    8  # steps between rebuilds by a whole new follower; the oracles of `check` run at each
)
_LONGEST = 120  # tipsets of a chain before the next episode begins
_STEPS = 40  # of an episode, at most
_TABLES = [table for table in metadata.sorted_tables if table.name.startswith("chain_")]


class Killed(Exception):
    """The process dies here."""


class NervousNode:
    """A node that may hang up before or after any call, and whose chain may change between two calls."""

    def __init__(self, chain: FakeChain, chance: random.Random) -> None:
        self._chain = chain
        self._chance = chance
        self.drops = 0.0
        self.meanwhile: Callable[[], None] | None = None

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._chain, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            await asyncio.sleep(0)
            self._maybe_drop()
            if self.meanwhile is not None and self._chance.random() < 0.2:
                self.meanwhile, change = None, self.meanwhile
                change()
            answer = await method(*args, **kwargs)
            self._maybe_drop()
            return answer

        return call

    def _maybe_drop(self) -> None:
        if self._chance.random() < self.drops:
            raise self._chance.choice((LotusConnectError, LotusTimeout))("hung up")


class MortalStore:
    """A repository whose process may die before or after a write."""

    def __init__(self, repository: ChainRepository, chance: random.Random) -> None:
        self._repository = repository
        self._chance = chance
        self.dies = 0.0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._repository, name)
        if name not in ("apply", "save_snapshot"):
            return method

        async def write(*args: Any) -> None:
            if self._chance.random() < self.dies:
                raise Killed
            await method(*args)
            if self._chance.random() < self.dies:
                raise Killed

        return write


class Episode:
    """One chain and the follower that wanders over it."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.chance = random.Random(seed)
        self.chain = FakeChain()
        self.node = NervousNode(self.chain, self.chance)
        self.folder = folder
        self._number = 0
        self._salt = 0
        self._checked = 0
        self._stood: list[TipSet] = []  # heads at which the follower has caught up

    async def open(self) -> None:
        """Make the database."""
        self.store = await _open(self.folder / "wandering.db")
        self.repository = ChainRepository(self.store)
        self.mortal = MortalStore(self.repository, self.chance)
        self.restart()

    def restart(self) -> None:
        """A new process on the same database."""
        self.follower = ChainFollower(
            self.node,
            self.mortal,  # type: ignore[arg-type]  a proxy
            PROVIDER,
            start_at=Epoch(0),
            range_epochs=self.chance.choice((1, 2, 7, 30, 720)),
        )

    async def step(self) -> None:
        """Change the chain, follow it through some misfortune, then in peace, and compare."""
        self.change()
        await self.misfortune()
        self.node.drops, self.node.meanwhile, self.mortal.dies = 0.0, None, 0.0
        for _ in range(self.chance.choice((1, 1, 2))):  # news may come twice
            await self.follower.catch_up()
        self._stood.append(self.chain.current)
        await self.check()

    def change(self) -> None:
        """One thing that happens to a chain."""
        match self.chance.choice(("mine", "mine", "mine", "reorg", "reorg", "back", "index")):
            case "mine":
                self.mine(self.chance.randint(1, 8))
            case "reorg":
                self.reorg()
            case "back":
                self.rewind(self.chance.randint(1, 3))
            case "index":  # the operator switches the events API off, or on
                self.chain.events_on = not self.chain.events_on

    def reorg(self) -> None:
        """Another fork of depth 1 to 20 becomes heavier; it may be shorter."""
        depth = self.rewind(self.chance.randint(1, 20))
        self.mine(self.chance.randint(1, max(1, depth + 2)))

    def rewind(self, depth: int) -> int:
        depth = min(depth, len(self.chain._chain(None)) - 1)
        self.chain.rewind(depth)
        return depth

    def mine(self, count: int) -> None:
        """Tipsets with what a provider does."""
        for _ in range(count):
            self._salt += 1
            what = self.chance.choice(
                [
                    "plain",
                    "win",
                    "claim",
                    "deal",
                    "ddo",
                    "update",
                    "extend",
                    "remove",
                    "terminate",
                    "fault",
                    "recover",
                    "many",
                ]
            )
            emitted, world = self._happening(what)
            self.chain.mine(
                *emitted,
                miner=PROVIDER if what == "win" else OTHER,
                nulls=self.chance.choice((0, 0, 0, 1, 2, 12)),
                salt=self._salt,
                change=world,
            )

    def _happening(self, what: str) -> tuple[list[Any], World]:
        world = self.chain.world()
        height = self.chain.current.height + 1
        active = sorted(world.active)
        idle = sorted(world.sectors.keys() - world.active)
        if what in ("claim", "deal", "ddo", "many"):
            return self._sealed(what, world, height), world
        if what == "update" and active:
            number = self.chance.choice(active)
            world.sectors[number] = make_sector(number, height, verified=self._weight())
            return [sector_event("sector-updated", number, (piece_cid(height), 1 << 20))], world
        if what == "extend" and world.claims:
            claim = self.chance.choice(sorted(world.claims.values(), key=lambda claim: claim.id))
            longer = make_claim(
                claim.id, claim.sector, claim.term_start, term_max=1_500_000 + height
            )
            world.claims[claim.id] = longer
            return [claim_event("claim-updated", longer)], world
        if what == "remove" and world.claims:
            return [claim_event("claim-removed", world.claims.pop(min(world.claims)))], world
        if what == "terminate" and active:
            world.active -= {active[0]}
            return [sector_event("sector-terminated", active[0])], world
        if what == "fault" and active:
            world.active -= {self.chance.choice(active)}
        elif what == "recover" and idle:
            world.active |= {self.chance.choice(idle)}
        return [], world

    def _sealed(self, what: str, world: World, height: int) -> list[Any]:
        emitted = []
        for _ in range(self.chance.randint(2, 6) if what == "many" else 1):
            self._number += 1
            number = SectorNumber(self._number)
            claim = make_claim(number, number, height)
            if what in ("claim", "many"):
                world.claims[ClaimId(number)] = claim
                emitted.append(claim_event("claim", claim))
            world.sectors[number] = make_sector(number, height, verified=self._weight())
            world.active |= {number}
            pieces = [(claim.data, claim.size), (piece_cid(10_000 + number), 1 << 20)]
            emitted.append(sector_event("sector-activated", number, *pieces))
            if what == "deal":
                emitted += [deal_event("deal-activated", 2 * number + one) for one in (0, 1)]
        return emitted

    def _weight(self) -> int:
        """Unlike any other, so that no two sets of sectors have the same power."""
        return self.chance.randrange(1 << 12, 1 << 22)

    async def misfortune(self) -> None:
        """Follow while the node hangs up, the process is killed, or the chain changes between two reads."""
        kind = self.chance.choice(("none", "drops", "killed", "killed in a write", "meanwhile"))
        if kind == "none":
            return
        if kind == "killed":
            await self._killed_at_some_await()
            return
        self.node.drops = 0.15 if kind == "drops" else 0.0
        self.mortal.dies = 0.5 if kind == "killed in a write" else 0.0
        if kind == "meanwhile":
            self.node.meanwhile = self.chance.choice((self.reorg, lambda: self.mine(2)))
        try:
            await self.follower.catch_up()
        except (LotusConnectError, LotusTimeout):
            pass
        except Killed:
            self.restart()

    async def _killed_at_some_await(self) -> None:
        task = asyncio.create_task(self.follower.catch_up())
        for _ in range(self.chance.randint(0, 60)):
            await asyncio.sleep(0 if self.chance.random() < 0.9 else 0.001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        self.restart()

    async def check(self) -> None:
        """Compare with the chain itself, and with a follower that sees it for the first time."""
        chain = self.chain._chain(None)[::-1]
        head = chain[-1]
        done = chain[:-1] or chain  # the cursor's child must be known
        cursor = await self.repository.cursor(PROVIDER)
        assert cursor is not None
        assert cursor.tipset.key == done[-1].key
        processed = await self.repository.processed(PROVIDER)
        assert [ref.key for ref in processed] == [tipset.key for tipset in done]
        assert await self._events() == self._emitted(done), "an event is lost or counted twice"
        wins = [
            tipset.key.cids[0] for tipset in done if tipset.blocks[0].miner.actor_id == PROVIDER
        ]
        blocks = await self.repository.own_blocks(PROVIDER, Epoch(0), Epoch(1 << 40))
        assert [block.cid for block in blocks] == wins
        assert await self.repository.claims(PROVIDER) == await self.chain.claims(PROVIDER, head.key)
        assert await self.repository.gaps(PROVIDER) == ()
        places = {tipset.key for tipset in chain}
        self._stood = [tipset for tipset in self._stood if tipset.key in places]
        for stood in {head, *self.chance.sample(self._stood, min(3, len(self._stood)))}:
            truth = await self.chain.active_sectors(PROVIDER, stood.key)
            known = await self.repository.active_sectors(PROVIDER, stood.height)
            assert list(known or ()) == truth, f"sectors at {stood.height}"
        await self._check_pieces(done, head)
        self._checked += 1
        if self._checked % _SCRATCH_EVERY == 0:
            await self._check_from_scratch()

    async def _check_pieces(self, done: list[TipSet], head: TipSet) -> None:
        """The held pieces are those that all events of the chain fold to."""
        events = [event for tipset in done for event in self.chain.events.get(tipset.key, [])]
        typed = [value for event in events if (value := parse_event(event, PROVIDER)) is not None]
        world = self.chain._world_at(head.key)
        ends = {number: info.expiration for number, info in world.sectors.items()}
        folded = fold_pieces(PROVIDER, typed, ends)
        pieces = await self.repository.held_pieces(PROVIDER)
        assert {piece.key: piece for piece in pieces} == folded

    async def _check_from_scratch(self) -> None:
        path = self.folder / "scratch.db"
        path.unlink(missing_ok=True)
        store = await _open(path)
        try:
            fresh = ChainRepository(store)
            await ChainFollower(self.chain, fresh, PROVIDER, start_at=Epoch(0)).catch_up()
            assert await self.repository.held_pieces(PROVIDER) == await fresh.held_pieces(PROVIDER)
        finally:
            await store.close()

    async def _events(self) -> Counter[tuple[str, str, bytes]]:
        async with self.store.reading() as connection:
            rows = await connection.execute(event_table.select())
            return Counter((str(row.tipset), str(row.message), row.entries) for row in rows)

    def _emitted(self, tipsets: list[TipSet]) -> Counter[tuple[str, str, bytes]]:
        return Counter(
            (str(tipset.key), str(event.message), encode_entries(event.emitter, event.entries))
            for tipset in tipsets
            for event in self.chain.events.get(tipset.key, [])
        )

    @property
    def is_long(self) -> bool:
        """Whether a new chain should be begun."""
        return len(self.chain._chain(None)) > _LONGEST


async def run_episode(seed: int, steps: int) -> int:
    """At most `steps` steps on one chain; how many there were.

    Raises:
        AssertionError: the index is wrong; the note says where.
    """
    with tempfile.TemporaryDirectory() as folder:
        episode = Episode(seed, Path(folder))
        await episode.open()
        done = 0
        try:
            while done < steps and not episode.is_long:
                await episode.step()
                done += 1
        except Exception as error:
            error.add_note(f"seed {seed}, step {done}")
            raise
        finally:
            await episode.store.close()
        return done


async def _open(path: Path) -> Store:
    store = Store(f"sqlite+aiosqlite:///{path}")
    async with store.transaction() as connection:
        await connection.run_sync(metadata.create_all, tables=_TABLES)
    return store


async def _devnet_episode(seed: int, steps: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        await run_devnet_episode(seed, steps, Path(folder))
    return steps


def main() -> None:
    """Run episodes until the time is over; exits with the failure, if there is one."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=600)
    options.add_argument("--seed", type=int, default=1, help="of the first episode")
    options.add_argument(
        "--devnet", action="store_true", help="drive a devnet, not a chain in memory"
    )
    given = options.parse_args()
    episode = _devnet_episode if given.devnet else run_episode
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    end, seed, steps = time.monotonic() + given.seconds, given.seed, 0
    while time.monotonic() < end:
        steps += asyncio.run(episode(seed, _STEPS))
        seed += 1
    sys.stdout.write(
        f"{steps} steps in {seed - given.seed} episodes: the index was right after each\n"
    )


if __name__ == "__main__":
    main()
