"""A chain in which one provider wins at chosen epochs: fake of what earnings and audit read."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from deals.gaps import Gap
from deals.ports import Cursor, OwnBlock, SectorSnapshot, TipSetRef
from deals.sectors import SectorHistory, SectorInterval
from fil_plus.pieces import HeldPiece, Provenance, ProvenanceKind
from fil_plus.power import sector_qap
from fil_plus.win_values import ProducedPiece, UsedPiece
from lotus_client import cbor
from lotus_client.address import Address
from lotus_client.chain import BlockHeader, ElectionProof, TipSet, TipSetKey
from lotus_client.cid import Cid, dag_cbor_cid
from lotus_client.errors import LotusRpcError
from lotus_client.messages import Message
from lotus_client.state import (
    ActorState,
    ChainMessage,
    Claim,
    MessageLookup,
    MinerFunds,
    MinerPower,
    PowerPair,
    Receipt,
    RewardState,
    SectorOnChainInfo,
)
from lotus_client.types import (
    ActorId,
    AttoFil,
    ClaimId,
    Epoch,
    NetworkVersion,
    PaddedPieceSize,
    SectorNumber,
)

PROVIDER = ActorId(1001)
EMPTY = dag_cbor_cid(b"\x80")
MIB = 1 << 20
SECTOR_SIZE = 8 * MIB
PIECE_CID = Cid.parse("baga6ea4seaqao7s73y24kcutaosvacpdjgfe5pw76ooefnyqw4ynr3d2y6x2mpq")


def sector(number: int, verified: int) -> SectorOnChainInfo:
    """An active sector of 10,000 epochs with `verified` bytes of verified data."""
    return SectorOnChainInfo(
        number=SectorNumber(number),
        seal_proof=5,
        sealed_cid=EMPTY,
        activation=Epoch(10),
        expiration=Epoch(100_010),
        deal_weight=0,
        verified_deal_weight=verified * 100_000,
        initial_pledge=AttoFil(10**18),
        power_base_epoch=Epoch(10),
        sector_key_cid=None,
        flags=0,
        daily_fee=AttoFil(10**12),
    )


def claim(number: int, size: int) -> Claim:
    """A claim of the whole test in sector 1."""
    return Claim(
        id=ClaimId(number),
        provider=PROVIDER,
        client=ActorId(1500),
        data=PIECE_CID,
        size=PaddedPieceSize(size),
        term_min=Epoch(0),
        term_max=Epoch(200_000),
        term_start=Epoch(20),
        sector=SectorNumber(1),
    )


@dataclass
class FakeEarningsChain:
    """Tipsets at every epoch up to `head_epoch`; the provider wins at `wins` (epoch -> win count)."""

    head_epoch: int
    wins: Mapping[int, int]
    reward: int = 5 * 10**18
    tips: int = 1000
    version: int = 28
    sectors: list[SectorOnChainInfo] = field(
        default_factory=lambda: [sector(1, 4 * MIB), sector(2, 0)]
    )
    claims_: dict[ClaimId, Claim] = field(
        default_factory=lambda: {ClaimId(7): claim(7, 2 * MIB), ClaimId(8): claim(8, 2 * MIB)}
    )
    pruned: set[int] = field(default_factory=set)
    extra_power: int = 0
    full_reads: int = 0
    proving_period_start: int = 123
    payments: dict[Cid, tuple[int, Message]] = field(default_factory=dict)
    _tipsets: dict[int, TipSet] = field(default_factory=dict)

    def at(self, epoch: int) -> TipSet:
        """The tipset at an epoch."""
        if epoch not in self._tipsets:
            mine = epoch in self.wins
            header = BlockHeader(
                miner=Address.of_id(PROVIDER if mine else 1000),
                ticket=epoch.to_bytes(4, "big"),
                election_proof=ElectionProof(self.wins.get(epoch, 1), b""),
                beacon_entries=(),
                win_post_proof=(),
                parents=TipSetKey((dag_cbor_cid(cbor.encode(epoch - 1)),)),
                parent_weight=0,
                height=Epoch(epoch),
                parent_state_root=EMPTY,
                parent_message_receipts=EMPTY,
                messages=EMPTY,
                bls_aggregate=None,
                timestamp=0,
                block_sig=None,
                fork_signaling=0,
                parent_base_fee=AttoFil(100),
            )
            self._tipsets[epoch] = TipSet(TipSetKey((header.cid,)), (header,), Epoch(epoch))
        return self._tipsets[epoch]

    def _epoch_of(self, key: TipSetKey) -> int:
        for epoch, tipset in self._tipsets.items():
            if tipset.key == key:
                return epoch
        raise LotusRpcError("ChainGetTipSet", 1, "could not find tipset")

    async def head(self) -> TipSet:
        return self.at(self.head_epoch)

    async def finalized_tipset(self) -> TipSet:
        return self.at(max(0, self.head_epoch - 900))

    async def tipset(self, key: TipSetKey) -> TipSet:
        return self.at(self._epoch_of(key))

    async def tipset_by_height(self, height: Epoch, tsk: TipSetKey) -> TipSet:
        return self.at(height)

    async def tipset_after_height(self, height: Epoch, tsk: TipSetKey) -> TipSet:
        return self.at(height)

    async def network_name(self) -> str:
        return "testnet"

    async def network_version(self, tsk: TipSetKey) -> NetworkVersion:
        return NetworkVersion(self.version)

    async def miner_power(self, provider: ActorId, tsk: TipSetKey) -> MinerPower:
        qap = sum(sector_qap(s, SECTOR_SIZE) for s in self.sectors) + self.extra_power
        return MinerPower(PowerPair(qap, qap), PowerPair(qap * 9, qap * 9), has_min_power=True)

    async def active_sectors(self, provider: ActorId, tsk: TipSetKey) -> list[SectorOnChainInfo]:
        self.full_reads += 1
        return self.sectors

    async def claims(self, provider: ActorId, tsk: TipSetKey) -> dict[ClaimId, Claim]:
        return self.claims_

    async def funds(self, provider: ActorId, tsk: TipSetKey) -> MinerFunds:
        nothing = AttoFil(0)
        return MinerFunds(
            nothing, nothing, nothing, nothing, nothing, Epoch(self.proving_period_start)
        )

    async def reward_state(self, tsk: TipSetKey) -> RewardState:
        return RewardState(AttoFil(self.reward), Epoch(0), AttoFil(0))

    async def compute_state(self, height: Epoch, tsk: TipSetKey) -> dict[str, Any]:
        if height in self.pruned:
            raise LotusRpcError("StateCompute", 1, "ipld: could not find state")
        win_count = self.wins.get(height)
        if win_count is None:
            return {"Trace": None}
        credited = self.reward * win_count // 5 + self.tips
        params = cbor.encode(
            [
                Address.of_id(PROVIDER).to_bytes(),
                cbor.encode_bigint(0),
                cbor.encode_bigint(self.tips),
                win_count,
            ]
        )
        miner = f"t0{PROVIDER}"
        ok = {"ExitCode": 0}
        apply = {"From": "t02", "To": miner, "Value": str(credited), "Method": 14}
        award = {"From": "t00", "To": "t02", "Value": "0", "Method": 2, "Nonce": height}
        award["Params"] = base64.b64encode(params).decode()
        trace = {"Msg": award, "MsgRct": ok, "Subcalls": [{"Msg": apply, "MsgRct": ok}]}
        return {"Trace": [{"Msg": award, "MsgRct": ok, "ExecutionTrace": trace}]}

    # payments

    def pay(self, epoch: int, message: Message) -> Cid:
        """Include a message at an epoch."""
        self.payments[message.cid] = (epoch, message)
        inclusion, child = self.at(epoch), self.at(epoch + 1)
        header = child.blocks[0]
        fixed = BlockHeader(
            **{n: getattr(header, n) for n in BlockHeader.__dataclass_fields__}
            | {"parents": inclusion.key}
        )
        self._tipsets[epoch + 1] = TipSet(TipSetKey((fixed.cid,)), (fixed,), Epoch(epoch + 1))
        return message.cid

    async def search_msg(
        self, cid: Cid, *, limit: int = -1, allow_replaced: bool = False
    ) -> MessageLookup | None:
        if cid not in self.payments:
            return None
        tipset = self.at(self.payments[cid][0] + 1)
        return MessageLookup(cid, Receipt(0, b"", 1, None), tipset.key, tipset.height)

    async def messages_in_tipset(self, tsk: TipSetKey) -> list[ChainMessage]:
        epoch = self._epoch_of(tsk)
        return [ChainMessage(cid, m) for cid, (at, m) in self.payments.items() if at == epoch]

    async def actor(self, address: Address, tsk: TipSetKey) -> ActorState:
        epoch = self._epoch_of(tsk)
        balance = sum(
            m.value.value for at, m in self.payments.values() if m.to == address and at < epoch
        )
        return ActorState(EMPTY, EMPTY, 0, AttoFil(balance), None)


@dataclass
class FakeHoldings:
    """The follower's index of that chain, always up to its head."""

    chain: FakeEarningsChain
    snapshot: tuple[SectorOnChainInfo, ...] | None = None
    forget: bool = False
    unknown: tuple[Gap, ...] = ()

    async def cursor(self, provider: ActorId) -> Cursor:
        head = self.chain.at(self.chain.head_epoch)
        return Cursor(TipSetRef(head.height, head.key), Epoch(0))

    async def own_blocks(
        self, provider: ActorId, from_epoch: Epoch, to_epoch: Epoch
    ) -> list[OwnBlock]:
        blocks = []
        for epoch in sorted(self.chain.wins):
            if from_epoch <= epoch < to_epoch:
                tipset = self.chain.at(epoch)
                header = tipset.blocks[0]
                blocks.append(
                    OwnBlock(
                        Epoch(epoch), tipset.key, header.cid, header.win_count, header.to_cbor()
                    )
                )
        return blocks

    async def held_pieces(self, provider: ActorId, *, at: Epoch | None = None) -> list[HeldPiece]:
        return [
            HeldPiece(
                provider=PROVIDER,
                piece_cid=c.data,
                padded_size=c.size,
                payload_size=None,
                sector=c.sector,
                offset=None,
                provenance=Provenance(ProvenanceKind.CLAIM, c.id),
                client=c.client,
                from_epoch=c.term_start,
                to_epoch=c.end,
            )
            for c in self.chain.claims_.values()
            if at is None or c.term_start <= at < c.end
        ]

    async def active_sectors(
        self, provider: ActorId, at: Epoch
    ) -> tuple[SectorOnChainInfo, ...] | None:
        return self.snapshot

    async def sector_history(self, provider: ActorId, first: Epoch, last: Epoch) -> SectorHistory:
        known = self.snapshot is not None
        intervals = [SectorInterval(info, Epoch(0), None) for info in self.snapshot or ()]
        return SectorHistory(intervals, Epoch(0) if known else None)

    async def active_power(self, provider: ActorId, at: Epoch) -> int | None:
        return None

    async def known_sectors(self, provider: ActorId) -> frozenset[SectorNumber]:
        return frozenset()

    async def gaps(self, provider: ActorId) -> tuple[Gap, ...]:
        return self.unknown

    async def save_snapshot(self, provider: ActorId, snapshot: SectorSnapshot) -> None:
        self.snapshot = None if self.forget else snapshot.sectors


@dataclass
class FakeRegister:
    """The jobs' shares."""

    produced_: list[ProducedPiece] = field(default_factory=list)
    used_: list[UsedPiece] = field(default_factory=list)
    untraced_: list[str] = field(default_factory=list)

    async def produced(self) -> list[ProducedPiece]:
        return self.produced_

    async def used(self) -> list[UsedPiece]:
        return self.used_

    async def untraced(self) -> list[str]:
        return self.untraced_
