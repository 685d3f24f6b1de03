"""What the chain says of the wins that a statement's lines name; each is read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deals.sectors import lookback_height
from fil_plus.awards import parse_awards
from fil_plus.power import sector_qap
from lotus_client.address import Address
from lotus_client.chain import TipSet
from lotus_client.state import Claim, SectorOnChainInfo
from lotus_client.types import ActorId, ClaimId, Epoch, NetworkVersion, SectorNumber
from sp_plugin.audit.chain import AuditChain
from sp_plugin.statement_checks import WrongStatement, same

__all__ = ["ChainWin", "ChainWins"]


@dataclass(frozen=True, slots=True)
class ChainWin:
    """What the chain says of one win."""

    tipset: TipSet
    lookback: TipSet
    win_count: int
    credited: int
    tips: int
    miner_qap: int
    network_version: NetworkVersion
    sectors: Mapping[SectorNumber, SectorOnChainInfo]
    claims: Mapping[ClaimId, Claim]


class ChainWins:
    """Reads the wins of `provider` in the chain of `head`; `by_block` has those that were read, by block CID."""

    def __init__(self, chain: AuditChain, provider: ActorId, head: TipSet) -> None:
        self._chain = chain
        self._provider = provider
        self._head = head
        self.by_block: dict[str, ChainWin] = {}

    async def of(self, line: Mapping[str, Any]) -> ChainWin:
        """The win of a statement's line.

        Raises:
            WrongStatement: the chain has no such win, or the sectors' power does not add up to the miner's.
            LotusError: the node cannot tell.
        """
        if line["win"] not in self.by_block:
            self.by_block[line["win"]] = await self._read(line)
        return self.by_block[line["win"]]

    async def _read(self, line: Mapping[str, Any]) -> ChainWin:
        epoch = Epoch(line["epoch"])
        tipset = await self._chain.tipset_by_height(epoch, self._head.key)
        blocks = [block for block in tipset.blocks if str(block.cid) == line["win"]]
        if tipset.height != epoch or not blocks:
            raise WrongStatement(f"block {line['win']} is not in the chain at epoch {epoch}")
        if blocks[0].miner != Address.of_id(self._provider):
            raise WrongStatement(f"block {line['win']} was won by {blocks[0].miner}")
        awards = parse_awards(await self._chain.compute_state(epoch, tipset.key), self._provider)
        if len(awards) != 1:
            raise WrongStatement(
                f"the trace of epoch {epoch} shows {len(awards)} awards of this provider"
            )
        award = awards[0]
        lookback = await self._chain.tipset_after_height(lookback_height(epoch), tipset.key)
        power = await self._chain.miner_power(self._provider, lookback.key)
        sectors = await self._chain.active_sectors(self._provider, lookback.key)
        total = sum(sector_qap(sector, int(line["sector_size"])) for sector in sectors)
        same("sum of the sectors' power", total, power.miner.qap)
        return ChainWin(
            tipset=tipset,
            lookback=lookback,
            win_count=blocks[0].win_count,
            credited=award.credited.value,
            tips=award.gas_reward.value,
            network_version=await self._chain.network_version(tipset.key),
            miner_qap=power.miner.qap,
            sectors={sector.number: sector for sector in sectors},
            claims=await self._chain.claims(self._provider, lookback.key),
        )
