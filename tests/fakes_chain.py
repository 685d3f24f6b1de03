"""A tiny chain in memory that satisfies `ChainNode`: tipsets, forks, null rounds, events, claims and sectors by tipset.

What is set on a tipset is the effect of its messages; as on a real node, reads at a tipset show its parent's state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from fil_plus.events import claim_entries
from fil_plus.power import sector_qap
from lotus_client import cbor
from lotus_client.address import Address
from lotus_client.chain import BlockHeader, ElectionProof, HeadChange, TipSet, TipSetKey
from lotus_client.cid import (
    FIL_COMMITMENT_SEALED,
    FIL_COMMITMENT_UNSEALED,
    POSEIDON_BLS12_381_A2_FC1,
    SHA2_256_TRUNC254_PADDED,
    Cid,
    dag_cbor_cid,
)
from lotus_client.errors import LotusNotSupported, LotusRpcError
from lotus_client.messages import Message
from lotus_client.state import (
    ActorEvent,
    Beneficiary,
    ChainMessage,
    Claim,
    EventEntry,
    MinerInfo,
    MinerPower,
    PowerPair,
    Receipt,
    SectorOnChainInfo,
)
from lotus_client.types import (
    ActorId,
    AttoFil,
    ClaimId,
    Epoch,
    PaddedPieceSize,
    SectorNumber,
)

PROVIDER = ActorId(1001)
OTHER = ActorId(1000)
SECTOR_SIZE = 8 << 20
REGISTRY = Address.of_id(6)
_MESSAGE = Message(
    to=Address.of_id(6), from_=Address.of_id(PROVIDER), nonce=0, value=AttoFil(0), method=0
)
MARKET = Address.of_id(5)


def piece_cid(number: int) -> Cid:
    digest = number.to_bytes(32, "big")
    return Cid.of_digest(FIL_COMMITMENT_UNSEALED, SHA2_256_TRUNC254_PADDED, digest)


def sealed_cid(number: int) -> Cid:
    digest = number.to_bytes(32, "big")
    return Cid.of_digest(FIL_COMMITMENT_SEALED, POSEIDON_BLS12_381_A2_FC1, digest)


def make_claim(number: int, sector: int, start: int, size: int = 1 << 20, **changes: int) -> Claim:
    claim = Claim(
        id=ClaimId(number),
        provider=PROVIDER,
        client=ActorId(101),
        data=piece_cid(number),
        size=PaddedPieceSize(size),
        term_min=Epoch(518_400),
        term_max=Epoch(1_000_000),
        term_start=Epoch(start),
        sector=SectorNumber(sector),
    )
    return replace(claim, **changes)  # type: ignore[arg-type]


def make_sector(
    number: int, activation: int, verified: int = 0, lifetime: int = 600_000, flags: int = 0
) -> SectorOnChainInfo:
    return SectorOnChainInfo(
        number=SectorNumber(number),
        seal_proof=8,
        sealed_cid=sealed_cid(number),
        activation=Epoch(activation),
        expiration=Epoch(activation + lifetime),
        deal_weight=0,
        verified_deal_weight=verified * lifetime,
        initial_pledge=AttoFil(10**18),
        power_base_epoch=Epoch(activation),
        sector_key_cid=None,
        flags=flags,
        daily_fee=AttoFil(0),
    )


@dataclass
class World:
    """The state after a tipset's messages."""

    claims: dict[ClaimId, Claim] = field(default_factory=dict)
    sectors: dict[SectorNumber, SectorOnChainInfo] = field(default_factory=dict)
    active: frozenset[SectorNumber] = frozenset()

    def copy(self) -> World:
        return World(dict(self.claims), dict(self.sectors), self.active)


@dataclass(frozen=True)
class Emitted:
    """An event as a message emits it."""

    emitter: Address
    entries: tuple[EventEntry, ...]


def entry(key: str, value: object, flags: int = 3) -> EventEntry:
    return EventEntry(flags, key, 0x51, cbor.encode(value))


def sector_event(kind: str, sector: int, *pieces: tuple[Cid, int]) -> Emitted:
    entries = [entry("$type", kind), entry("sector", sector)]
    if kind in ("sector-activated", "sector-updated"):
        entries.append(entry("unsealed-cid", piece_cid(0) if pieces else None))
        for cid, size in pieces:
            entries += [entry("piece-cid", cid), entry("piece-size", size, 1)]
    return Emitted(Address.of_id(PROVIDER), tuple(entries))


def claim_event(kind: str, claim: Claim) -> Emitted:
    return Emitted(REGISTRY, claim_entries(kind, claim))


def deal_event(kind: str, deal: int, client: int = 102) -> Emitted:
    entries = (
        entry("$type", kind),
        entry("id", deal),
        entry("client", client),
        entry("provider", PROVIDER),
    )
    return Emitted(MARKET, entries)


class FakeChain:
    """See the module. `calls` counts the requests by name."""

    def __init__(self) -> None:
        self.tipsets: dict[TipSetKey, TipSet] = {}
        self.worlds: dict[TipSetKey, World] = {}
        self.events: dict[TipSetKey, list[ActorEvent]] = {}
        self.calls: dict[str, int] = {}
        self.events_on = True
        self.receipts_on = True
        self.sector_list_on = True
        self.reads_from = 0  # the lowest height that can be looked at, of tipsets and state
        self.state_from = 0  # the same of state only
        self.finality = 900
        self.pruned_paths = False
        genesis = self._make(TipSetKey(), Epoch(0), OTHER, 0)
        self.worlds[genesis.key] = World()
        self.current = genesis

    # building

    def mine(
        self,
        *emitted: Emitted,
        miner: ActorId = OTHER,
        nulls: int = 0,
        salt: int = 0,
        change: World | None = None,
        messages: Sequence[Sequence[Emitted]] = (),
    ) -> TipSet:
        """A tipset on the head whose messages emit `emitted` (one message) and `messages` (one each)."""
        parent = self.current
        tipset = self._make(parent.key, Epoch(parent.height + 1 + nulls), miner, salt)
        self.worlds[tipset.key] = change if change is not None else self.worlds[parent.key]
        groups = ([emitted] if emitted else []) + list(messages)
        self.events[tipset.key] = [
            ActorEvent(
                item.emitter,
                item.entries,
                False,
                tipset.height,
                tipset.key,
                dag_cbor_cid(cbor.encode([str(tipset.key), number])),
            )
            for number, group in enumerate(groups)
            for item in group
        ]
        self.current = tipset
        return tipset

    def mine_many(self, count: int) -> None:
        for _ in range(count):
            self.mine()

    def world(self) -> World:
        """A copy of the newest world, to change and pass to `mine`."""
        return self.worlds[self.current.key].copy()

    def rewind(self, count: int) -> None:
        """Make an ancestor the head."""
        for _ in range(count):
            self.current = self.tipsets[self.current.parents]

    def _make(self, parents: TipSetKey, height: Epoch, miner: ActorId, salt: int) -> TipSet:
        filler = dag_cbor_cid(cbor.encode([salt]))
        header = BlockHeader(
            miner=Address.of_id(miner),
            ticket=bytes(32),
            election_proof=ElectionProof(1, bytes(96)),
            beacon_entries=(),
            win_post_proof=(),
            parents=parents,
            parent_weight=height,
            height=height,
            parent_state_root=filler,
            parent_message_receipts=filler,
            messages=filler,
            bls_aggregate=None,
            timestamp=1_600_000_000 + 30 * height,
            block_sig=None,
            fork_signaling=0,
            parent_base_fee=AttoFil(100),
        )
        tipset = TipSet(TipSetKey((header.cid,)), (header,), height)
        self.tipsets[tipset.key] = tipset
        return tipset

    def _count(self, name: str) -> None:
        self.calls[name] = self.calls.get(name, 0) + 1

    def _chain(self, key: TipSetKey | None) -> list[TipSet]:
        """From `key` down to genesis."""
        tipset = self.tipsets[key] if key else self.current
        chain = [tipset]
        while tipset.parents:
            tipset = self.tipsets[tipset.parents]
            chain.append(tipset)
        return chain

    def _within_reach(self, height: int) -> None:
        if height < self.reads_from:
            text = "bad tipset height: lookbacks of more than 24h0m0s are disallowed"
            raise LotusRpcError("ChainGetTipSet", 1, text)

    def _world_at(self, key: TipSetKey | None) -> World:
        tipset = self.tipsets[key] if key else self.current
        self._within_reach(tipset.height)
        if tipset.height < self.state_from:
            text = "load state tree: failed to load hamt node: ipld: could not find bafy"
            raise LotusRpcError("StateGetActor", 1, text)
        return self.worlds[tipset.parents or tipset.key]

    # ChainNode

    async def head(self) -> TipSet:
        self._count("head")
        return self.current

    async def finalized_tipset(self) -> TipSet:
        chain = self._chain(None)
        wanted = max(self.current.height - self.finality, 0)
        return next(tipset for tipset in chain if tipset.height <= wanted)

    async def tipset(self, key: TipSetKey) -> TipSet:
        self._count("tipset")
        if key not in self.tipsets:
            raise LotusRpcError("ChainGetTipSet", 1, "ipld: could not find")
        self._within_reach(self.tipsets[key].height)
        return self.tipsets[key]

    async def tipset_by_height(self, height: Epoch, tsk: TipSetKey | None = None) -> TipSet:
        self._count("tipset_by_height")
        chain = self._chain(tsk)
        if height > chain[0].height:
            raise LotusRpcError("ChainGetTipSetByHeight", 1, "height greater than start point")
        self._within_reach(height)
        return next(tipset for tipset in chain if tipset.height <= height)

    async def tipset_after_height(self, height: Epoch, tsk: TipSetKey | None = None) -> TipSet:
        self._count("tipset_after_height")
        chain = self._chain(tsk)
        if height > chain[0].height:
            raise LotusRpcError("ChainGetTipSetAfterHeight", 1, "height greater than start point")
        self._within_reach(height)
        return next(tipset for tipset in reversed(chain) if tipset.height >= height)

    async def path(self, from_: TipSetKey, to: TipSetKey) -> list[HeadChange]:
        self._count("path")
        if self.pruned_paths or from_ not in self.tipsets:
            raise LotusRpcError("ChainGetPath", 1, "ipld: could not find")
        left, right = self.tipsets[from_], self.tipsets[to]
        self._within_reach(min(left.height, right.height))
        reverts, applies = [], []
        while left.key != right.key:
            if left.height >= right.height:
                reverts.append(HeadChange("revert", left))
                left = self.tipsets[left.parents]
            else:
                applies.append(HeadChange("apply", right))
                right = self.tipsets[right.parents]
        return reverts + applies[::-1]

    async def actor_events(
        self,
        emitters: Sequence[Address],
        fields: Mapping[str, Sequence[cbor.CborValue]],
        from_height: Epoch,
        to_height: Epoch,
    ) -> list[ActorEvent]:
        self._count("actor_events")
        if not self.events_on:
            raise LotusNotSupported("GetActorEventsRaw", 1, "not supported")
        wanted = {key: {cbor.encode(value) for value in values} for key, values in fields.items()}
        executed = reversed(self._chain(None)[1:])  # the head's messages are not executed yet
        return [
            event
            for tipset in executed
            if from_height <= tipset.height <= to_height
            for event in self.events.get(tipset.key, [])
            if event.emitter in emitters
            and all(
                any(item.key == key and item.value in values for item in event.entries)
                for key, values in wanted.items()
            )
        ]

    async def parent_messages(self, block: Cid) -> list[ChainMessage]:
        self._count("parent_messages")
        return [ChainMessage(cid, _MESSAGE) for cid in self._messages_before(block)]

    async def parent_receipts(self, block: Cid) -> list[Receipt]:
        self._count("parent_receipts")
        if not self.receipts_on:
            raise LotusRpcError("ChainGetParentReceipts", 1, "ipld: could not find bafy")
        messages = self._messages_before(block)
        return [Receipt(0, b"", 1, cid if events else None) for cid, events in messages.items()]

    async def events_of(self, root: Cid) -> list[tuple[ActorId, tuple[EventEntry, ...]]]:
        self._count("events_of")
        return [
            (event.emitter.actor_id, event.entries)
            for events in self.events.values()
            for event in events
            if event.message == root
        ]

    def _messages_before(self, block: Cid) -> dict[Cid, list[ActorEvent]]:
        parent = self.tipsets[TipSetKey((block,))].parents
        grouped: dict[Cid, list[ActorEvent]] = {dag_cbor_cid(cbor.encode([str(parent), "no"])): []}
        for event in self.events.get(parent, []):
            grouped.setdefault(event.message, []).append(event)
        return grouped

    async def claims(
        self, provider: Address | ActorId, tsk: TipSetKey | None = None
    ) -> dict[ClaimId, Claim]:
        self._count("claims")
        return dict(self._world_at(tsk).claims)

    async def miner_info(
        self, provider: Address | ActorId, tsk: TipSetKey | None = None
    ) -> MinerInfo:
        self._world_at(tsk)
        owner = Address.of_id(100)
        beneficiary = Beneficiary(owner, AttoFil(0), AttoFil(0), Epoch(0))
        return MinerInfo(owner, owner, (), SECTOR_SIZE, 5, beneficiary)

    async def miner_power(
        self, provider: Address | ActorId, tsk: TipSetKey | None = None
    ) -> MinerPower:
        self._count("miner_power")
        world = self._world_at(tsk)
        qap = sum(sector_qap(world.sectors[number], SECTOR_SIZE) for number in world.active)
        pair = PowerPair(len(world.active) * SECTOR_SIZE, qap)
        return MinerPower(pair, PowerPair(1 << 60, 1 << 61), has_min_power=True)

    async def active_sectors(
        self, provider: Address | ActorId, tsk: TipSetKey | None = None
    ) -> list[SectorOnChainInfo]:
        self._count("active_sectors")
        if not self.sector_list_on:
            text = "method 'Filecoin.StateMinerActiveSectors' not found"
            raise LotusNotSupported("StateMinerActiveSectors", -32601, text)
        world = self._world_at(tsk)
        return [world.sectors[number] for number in sorted(world.active)]

    async def sector(
        self, provider: Address | ActorId, number: SectorNumber, tsk: TipSetKey | None = None
    ) -> SectorOnChainInfo | None:
        self._count("sector")
        return self._world_at(tsk).sectors.get(number)
