"""The follower on a devnet that lives: after every step its index is the one that a follower builds who comes now.

`python -m tests.soak_following --devnet --seconds 3600 [--seed N]`; a seeded slice is in the normal tests. An episode is one
devnet on which a provider seals claimed, agreed and plain pieces, updates, extends, ends and misses sectors, while the chain
reorganises, the connections misbehave, and the follower is killed and started anew. A failure names its seed and step.
"""

from __future__ import annotations

import asyncio
import io
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

from deals.commp import commp
from devstack.chain.forks import ForkShape
from devstack.chain.values import ForkRefused, MessageFailed
from devstack.datacap import grant_datacap
from devstack.deals import DealTerms, publish_deal
from devstack.faults import Scope
from devstack.provider import PieceRejected
from devstack.stack import Devstack
from lotus_client.actors import miner_updates as updates
from lotus_client.actors.methods import VERIFIED_REGISTRY, MinerMethod, VerifregMethod
from lotus_client.actors.miner import PieceActivationManifest
from lotus_client.actors.verifreg import ClaimTerm, ExtendClaimTermsParams
from lotus_client.bitfield import BitField
from lotus_client.errors import LotusUnavailable
from lotus_client.state import SectorOnChainInfo
from lotus_client.types import Epoch, PaddedPieceSize, SectorNumber
from tests.following_world import PROVIDER, Index, allocate, opened
from tests.unit.devstack.chain_story import sealed_cid

__all__ = ["run_devnet_episode"]

_DAY = 2880
_UPDATE_8_MIB = 1  # the registered update proof of 8 MiB sectors
_WIRE_FAULTS = ("drop", "status", "rate-limit", "latency")
_OTHER_FAULTS = ("events-off", "stale-head", "duplicate", "reorder", "cut-off")


class DevnetEpisode:
    """One devnet, and the follower that is to keep up with it."""

    def __init__(self, seed: int, net: Devstack, folder: Path) -> None:
        self.chance = random.Random(seed)
        self.net = net
        self.folder = folder
        self.seen: set[str] = (
            set()
        )  # what happened and was accepted, so that a test can ask for variety
        self._number = 0

    async def begin(self) -> None:
        """Two sectors without data that can be updated, proven once; and DataCap for alice."""
        await grant_datacap(self.net.node, self.net.network.key("alice").address, 1 << 32)
        for _ in range(3):
            await self.net.provider.add_sector()
        await self.net.node.advance(60)
        await self.net.node.advance(_DAY + 60, skip_for=self.net.provider.miner)

    def payload(self) -> bytes:
        """Bytes unlike any before."""
        self._number += 1
        return self.chance.randbytes(self.chance.randint(600, 9000)) + bytes([self._number & 255])

    async def step(self) -> None:
        """Something happens; it is followed through some misfortune, then in peace; and compared."""
        for _ in range(self.chance.randint(1, 3)):
            await self.happen()
        await self.misfortune()
        self.net.faults.clear()
        path = self.folder / "wandering.db"
        async with opened(path, self.net.api_info, range_epochs=self._range()) as index:
            await index.catch_up()
            await self.check(index)

    def _range(self) -> int:
        return self.chance.choice((5, 60, 720))

    async def happen(self) -> None:
        """One thing that happens to a provider or to its chain."""
        names = (
            "claim",
            "claim",
            "ddo",
            "deal",
            "many",
            "snap",
            "lengthen",
            "extend",
            "end",
            "miss",
        )
        name = self.chance.choice((*names, "reorg", "reorg", "reorg", "nulls", "mine", "mine"))
        with suppress(MessageFailed, PieceRejected, ForkRefused, ValueError):
            await getattr(self, f"_{name}")()
            self.seen.add(name)

    async def _mine(self) -> None:
        await self.net.advance(self.chance.randint(1, 40))

    async def _nulls(self) -> None:
        await self.net.node.advance_null(self.chance.randint(1, 6))
        await self.net.advance(1)

    async def _reorg(self) -> None:
        shape = ForkShape(
            null_rounds=self.chance.choice((0, 0, 1, 4)),
            reinclude=self.chance.random() < 0.5,
            length=self.chance.choice((0, 0, 3)),
        )
        await self.net.reorg(depth=self.chance.randint(1, 15), shape=shape)

    async def _claim(self) -> None:
        payload = self.payload()
        await self.net.provider.add_piece(payload, await allocate(self.net, payload))
        await self.net.advance(self.chance.randint(1, 14))

    async def _ddo(self) -> None:
        await self.net.provider.add_piece(self.payload())
        await self.net.advance(self.chance.randint(1, 14))

    async def _many(self) -> None:
        provider = self.net.provider
        staged = []
        for _ in range(self.chance.randint(2, 4)):
            payload = self.payload()
            claimed = self.chance.random() < 0.5
            allocation = await allocate(self.net, payload) if claimed else None
            staged.append(await provider.stage_piece(payload, allocation))
        await provider.add_sector(staged)
        await self.net.advance(self.chance.randint(1, 14))

    async def _deal(self) -> None:
        payload = self.payload()
        found = commp(io.BytesIO(payload))
        deal = await publish_deal(
            self.net.node,
            self.net.network.key("alice"),
            self.net.provider,
            found.piece_cid,
            PaddedPieceSize(found.padded_size),
            terms=DealTerms(verified=self.chance.random() < 0.5),
        )
        await self.net.provider.add_piece(payload, deal=deal)
        await self.net.advance(self.chance.randint(1, 14))

    async def _snap(self) -> None:
        """Data into a sector that was sealed without."""
        number = self.chance.choice(self._proven(empty=True))
        place = self.net.network.pending_state().sector_place(self.net.provider.miner, number)
        assert place is not None
        pieces = (PieceActivationManifest(commp(io.BytesIO(self.payload())).piece_cid, 8 << 20),)
        update = updates.SectorUpdateManifest(
            number, place.deadline, place.partition, sealed_cid(1000 + self._number), pieces
        )
        params = updates.ProveReplicaUpdatesParams(
            (update,), (b"proof",), update_proofs_type=_UPDATE_8_MIB
        )
        await self._told(MinerMethod.PROVE_REPLICA_UPDATES3, params.to_cbor())

    async def _lengthen(self) -> None:
        """A later end for a sector without data: it emits nothing."""
        number = self.chance.choice(self._proven(empty=True))
        state = self.net.network.pending_state()
        place = state.sector_place(self.net.provider.miner, number)
        info = state.sectors(self.net.provider.miner)[number]
        assert place is not None
        extension = updates.ExpirationExtension(
            place.deadline,
            place.partition,
            BitField.from_ints([number]),
            (),
            info.expiration + 10 * _DAY,
        )
        params = updates.ExtendSectorExpirationParams((extension,))
        await self._told(MinerMethod.EXTEND_SECTOR_EXPIRATION2, params.to_cbor())

    async def _extend(self) -> None:
        """Longer terms for a claim."""
        claims = self.net.network.state().claims(self.net.provider.miner)
        number = self.chance.choice(sorted(claims) or _none())
        term = ClaimTerm(PROVIDER, number, claims[number].term_max + 2 * _DAY)
        params = ExtendClaimTermsParams((term,)).to_cbor()
        alice = self.net.network.key("alice")
        method = VerifregMethod.EXTEND_CLAIM_TERMS
        self.net.network.send(alice, VERIFIED_REGISTRY, method, params)
        await self.net.advance(3)

    async def _end(self) -> None:
        self.net.provider.terminate([self.chance.choice(self._proven())])
        await self.net.advance(3)

    async def _miss(self) -> None:
        number = self.chance.choice(self._proven())
        declare = self.chance.choice(
            (self.net.provider.declare_faults, self.net.provider.declare_recovered)
        )
        declare([number])
        await self.net.advance(3)

    async def _told(self, method: MinerMethod, params: bytes) -> None:
        provider = self.net.provider
        self.net.network.send(provider.worker, provider.miner, method, params)
        await self.net.advance(3)

    def _proven(self, *, empty: bool = False) -> list[SectorNumber]:
        """Sectors that stand in a deadline; those without data if asked for."""
        sectors = self.net.network.state().active_sectors(self.net.provider.miner)
        found = [
            number
            for number, info in sorted(sectors.items())
            if not empty or not (info.deal_weight or info.verified_deal_weight)
        ]
        return found or _none()

    async def misfortune(self) -> None:
        """Follow while the wire or the node misbehaves, and perhaps die of it."""
        kind = self.chance.choice((*_WIRE_FAULTS, *_OTHER_FAULTS))
        method = "*" if kind in _WIRE_FAULTS else "ChainNotify"
        scope = Scope(method=method, probability=0.2, seed=self.chance.randrange(1 << 30))
        params = {"retry_after": 0} if kind == "rate-limit" else {}
        params |= {"ms": 5} if kind == "latency" else {}
        self.net.faults.add(
            kind, scope if kind not in ("events-off", "stale-head") else None, **params
        )
        path = self.folder / "wandering.db"
        async with opened(path, self.net.api_info, range_epochs=self._range()) as index:
            work = asyncio.create_task(self._follow_badly(index))
            if self.chance.random() < 0.5:
                await asyncio.sleep(self.chance.random() * 0.1)
                work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            if not work.cancelled() and (error := work.exception()) is not None:
                raise error

    async def _follow_badly(self, index: Index) -> None:
        with suppress(LotusUnavailable):
            await index.catch_up()
            await self.happen()  # while the fault is in force
            await index.catch_up()

    async def check(self, index: Index) -> None:
        """Compare with the state at the head, and with a follower that begins now."""
        head = await index.client.head()
        repository = index.repository
        assert await repository.claims(PROVIDER) == await index.client.claims(PROVIDER, head.key)
        truth = await index.client.active_sectors(PROVIDER, head.key)
        known = await repository.active_sectors(PROVIDER, Epoch(head.height))
        # a later end of a sector without data emits nothing and changes no power: it is not looked for
        assert sorted(map(_weight, known or ())) == sorted(map(_weight, truth))
        assert await repository.gaps(PROVIDER) == ()
        path = self.folder / "scratch.db"
        path.unlink(missing_ok=True)
        async with opened(path, self.net.api_info) as fresh:
            await fresh.catch_up()
            assert await index.content() == await fresh.content()


def _weight(info: SectorOnChainInfo) -> tuple[int, ...]:
    return info.number, info.deal_weight, info.verified_deal_weight, info.activation


def _none() -> list[Any]:
    """Raises: there is nothing of the kind yet, so something else happens."""
    raise ValueError("there is none")


async def run_devnet_episode(seed: int, steps: int, folder: Path) -> set[str]:
    """`steps` steps on one devnet; what happened in them.

    Raises:
        AssertionError: the index is wrong; the note says where.
    """
    async with Devstack() as net:
        episode = DevnetEpisode(seed, net, folder)
        await episode.begin()
        done = 0
        try:
            while done < steps:
                await episode.step()
                done += 1
        except Exception as error:
            error.add_note(f"devnet seed {seed}, step {done}")
            raise
        return episode.seen
