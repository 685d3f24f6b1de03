"""Recording: the raw inputs of wins that became final are read from the node and stored before anything is computed from them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, Final

from deals.ports import Cursor, OwnBlock, SectorStore
from deals.sectors import lookback_height, sectors_for_election
from fil_plus.awards import AwardError
from fil_plus.periods import PERIOD_EPOCHS
from lotus_client.chain import TipSet, TipSetKey
from lotus_client.errors import LotusDecodeError, LotusRpcError
from lotus_client.types import Epoch
from sp_plugin.earnings.booking import award_drafts
from sp_plugin.earnings.ports import EarningsChain, Holdings
from sp_plugin.earnings.sector_memory import SectorMemory
from sp_plugin.earnings.split_inputs import EarningsSettings
from sp_plugin.earnings.wins import WinRecord, award_part
from sp_plugin.store.earnings import EarningsRepository
from sp_plugin.store.earnings_wins import StoredWin

__all__ = ["WinRecorder"]

_READ_TOGETHER: Final = 8  # wins read from the node at the same time
_SAVE_TOGETHER: Final = 64  # wins saved in one transaction
_ASK_EPOCHS: Final = 30 * PERIOD_EPOCHS  # how long the node is asked for what it did not tell


class WinRecorder:
    """Records the wins of one provider."""

    def __init__(
        self,
        chain: EarningsChain,
        holdings: Holdings,
        earnings: EarningsRepository,
        settings: EarningsSettings,
    ) -> None:
        self._chain = chain
        self._holdings = holdings
        self._earnings = earnings
        self._settings = settings
        self._provider = settings.provider

    async def record(self, final: TipSet) -> int:
        """Record the wins that became final, and ask once more for what earlier ones lack; how many were read."""
        count = 0
        start = await self._proving_period_start(final.key)
        for stored in await self._earnings.unread(self._provider):
            if _ask_again(stored, final.height):
                await self._save(await self._read_more(stored.win, final, self._holdings), start)
                count += 1
        done, _ = await self._earnings.cursor(self._provider, self._settings.start)
        followed = await self._holdings.cursor(self._provider)
        up_to = Epoch(min(final.height, followed.tipset.height) if followed else done)
        if followed is None or up_to <= done or not await self._on_final_chain(followed, final):
            return count
        blocks = await self._holdings.own_blocks(self._provider, Epoch(done + 1), Epoch(up_to + 1))
        sectors = self._sectors(Epoch(done + 1), up_to)
        for first in range(0, len(blocks), _SAVE_TOGETHER):
            chunk = blocks[first : first + _SAVE_TOGETHER]
            wins: list[WinRecord] = []
            for some in range(0, len(chunk), _READ_TOGETHER):
                together = chunk[some : some + _READ_TOGETHER]
                reads = (self._read_win(block, final, sectors) for block in together)
                wins += await asyncio.gather(*reads)
            drafts = [draft for win in wins for draft in award_drafts(win, start)]
            await self._earnings.save_wins(self._provider, wins, drafts, Epoch(chunk[-1].epoch))
        await self._earnings.advance(self._provider, up_to)
        return count + len(blocks)

    async def record_late(self) -> int:
        """Record the blocks that came to light in a gap when it was filled; how many were read."""
        done, _ = await self._earnings.cursor(self._provider, self._settings.start)
        span = await self._earnings.unrecorded(self._provider, done)
        return 0 if span is None else await self.backfill(*span)

    async def backfill(self, first: Epoch, last: Epoch) -> int:
        """Record wins of an earlier range again, as far as the node still knows them; how many were read.

        Wins that are complete are left as they are; those of closed periods come in as supplements.
        """
        final = await self._chain.finalized_tipset()
        start = await self._proving_period_start(final.key)
        up_to = Epoch(min(last, final.height))
        known = {w.win.block: w for w in await self._earnings.wins(self._provider, first, up_to)}
        count = 0
        sectors = self._sectors(first, up_to)
        for block in await self._holdings.own_blocks(self._provider, first, Epoch(up_to + 1)):
            stored = known.get(block.cid)
            if stored is None:
                await self._save(await self._read_win(block, final, sectors), start)
            elif stored.win.problem or not stored.win.is_complete:
                await self._save(await self._read_more(stored.win, final, sectors), start)
            else:
                continue
            count += 1
        return count

    async def _on_final_chain(self, followed: Cursor, final: TipSet) -> bool:
        """Whether what the follower has kept is of the chain that is final.

        It may stand on another fork, or the node may have been exchanged for one that is behind: then nothing is
        recorded, and above all no epoch is ticked off, until the two agree.
        """
        place = followed.tipset
        if place.height <= final.height:
            return (await self._chain.tipset_by_height(place.height, final.key)).key == place.key
        return (await self._chain.tipset_by_height(final.height, place.key)).key == final.key

    def _sectors(self, first: Epoch, last: Epoch) -> SectorMemory:
        """The sector table as far back as the elections from `first` to `last` look."""
        return SectorMemory.for_elections(self._holdings, self._provider, first, last)

    async def _save(self, win: WinRecord, proving_period_start: Epoch) -> None:
        await self._earnings.save_win(win, award_drafts(win, proving_period_start))

    async def _proving_period_start(self, key: TipSetKey) -> Epoch:
        return (await self._chain.funds(self._provider, key)).proving_period_start

    async def _read_win(self, block: OwnBlock, final: TipSet, sectors: SectorStore) -> WinRecord:
        """Everything the node tells of a win; what it cannot tell stays `None`, with the reason."""
        win = WinRecord(
            block=block.cid,
            epoch=block.epoch,
            provider=self._provider,
            tipset=block.tipset,
            finalized=final.key,
            header=block.header,
            win_count=block.win_count,
        )
        return await self._read_more(win, final, sectors)

    async def _read_more(self, win: WinRecord, final: TipSet, sectors: SectorStore) -> WinRecord:
        """The win with what the node can tell of it now; what it told before is kept."""
        problems = []
        for read in await asyncio.gather(
            _nothing() if win.miner_qap is not None else self._read_power(win, sectors),
            _nothing() if win.award() is not None else self._read_award(win),
            return_exceptions=True,
        ):
            if isinstance(read, LotusRpcError | LotusDecodeError | AwardError):
                problems.append(str(read))
            elif isinstance(read, BaseException):
                raise read
            else:
                win = replace(win, **read)
        win = replace(win, finalized=final.key)
        if win.award_trace is not None and win.award() is None:
            problems.append("the tipset's trace has no award that fits the block's win count")
        return replace(win, problem="; ".join(problems))

    async def _read_power(self, win: WinRecord, sectors: SectorStore) -> dict[str, Any]:
        lookback = await self._chain.tipset_after_height(lookback_height(win.epoch), win.tipset)
        version = await self._chain.network_version(win.tipset)
        election = await sectors_for_election(
            self._chain, sectors, self._provider, self._settings.sector_size, lookback
        )
        return {
            "lookback": election.tipset,
            "lookback_height": election.epoch,
            "network_version": version,
            "miner_qap": election.miner_qap,
            "network_qap": election.network_qap,
        }

    async def _read_award(self, win: WinRecord) -> dict[str, Any]:
        reward = await self._chain.reward_state(win.tipset)
        trace = await self._chain.compute_state(win.epoch, win.tipset)
        return {
            "epoch_reward": reward.this_epoch_reward,
            "award_trace": award_part(trace, self._provider),
        }


async def _nothing() -> dict[str, Any]:
    return {}


def _ask_again(stored: StoredWin, final: Epoch) -> bool:
    """Whether to ask the node once more for what is missing: at growing distances, for 30 days."""
    age = final - stored.win.epoch
    return 1 << stored.attempts <= age <= _ASK_EPOCHS
