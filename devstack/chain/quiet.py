"""Epochs without messages, executed directly: awards and cron change four states, and nothing has to be called.

Most epochs of a devnet are such. The states are changed by the functions that the actors themselves use, so the outcome is
that of `execute`'s calls, only without the encoding, decoding and bookkeeping of calls between actors. Whatever is
not plainly quiet (a deadline's or a deal's cron that is due, a debt, a penalty) is left to the calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from devstack.chain.actors import miner, power, reward, vesting
from devstack.chain.machine import Environment
from devstack.chain.market_state import MarketState
from devstack.chain.states import Actor, CronState, MinerState, PowerState, RewardState, StateTree
from devstack.chain.table import replace
from lotus_client.chain import BlockHeader

__all__ = ["quiet_epoch"]

_REWARD, _CRON, _POWER, _MARKET, _BURNT = 2, 3, 4, 5, 99
_ENTRIES: Final = CronState().entries
_NEVER: Final = 1 << 62


def quiet_epoch(
    tree: StateTree, environment: Environment, headers: Sequence[BlockHeader]
) -> StateTree | None:
    """The state after the awards of blocks without messages and the epoch's cron; None if there is more to do.

    Without headers it is a null round.
    """
    epoch = environment.epoch
    if environment.tracing or epoch == environment.config.nv29_epoch:
        return None
    actors = tree.flat()
    powers: PowerState = actors[_POWER].state
    market: MarketState = actors[_MARKET].state
    if actors[_CRON].state.entries != _ENTRIES:
        return None
    if min(_first(powers.cron_queue), _first(market.deal_ops_by_epoch)) <= epoch:
        return None
    changed = {_REWARD, _POWER, _MARKET}
    for header in headers:
        winner = header.miner.actor_id
        if not _award(actors, environment, winner, header.win_count):
            return None
        changed |= {winner, _BURNT} if environment.network_version >= 29 else {winner}
    powers = power.ticked(actors[_POWER].state, epoch)
    rewards: RewardState = reward.next_epoch(actors[_REWARD].state, epoch + 1, powers.total_raw)
    _set(actors, _POWER, powers)
    _set(actors, _REWARD, rewards)
    _set(actors, _MARKET, replace(market, last_cron=epoch))
    return tree.changed(actors, changed)


def _award(actors: dict[int, Actor], environment: Environment, winner: int, wins: int) -> bool:
    """Pay a winner; False, with `actors` spoilt, when that takes more than changing the states."""
    paid = actors.get(winner)
    if wins <= 0 or paid is None or paid.code != "storageminer":
        return False
    before: MinerState = paid.state
    if before.fee_debt:
        return False
    source = actors[_REWARD]
    state, amount, burnt = reward.awarded(
        source.state, wins, 0, source.balance, environment.network_version
    )
    after = vesting.add_award(before, environment.epoch, miner.locked_part(amount))
    actors[_REWARD] = replace(source, state=state, balance=source.balance - amount - burnt)
    actors[winner] = replace(paid, state=after, balance=paid.balance + amount)
    if burnt:
        sink = actors[_BURNT]
        actors[_BURNT] = replace(sink, balance=sink.balance + burnt)
    if pledge := after.locked_funds - before.locked_funds:
        powers: PowerState = actors[_POWER].state
        _set(actors, _POWER, replace(powers, total_pledge=powers.total_pledge + pledge))
    return True


def _set(actors: dict[int, Actor], actor_id: int, state: object) -> None:
    actors[actor_id] = replace(actors[actor_id], state=state)


class _ByIdentity:
    """A map as a key of a cache, compared by identity: it never changes, and its CID need not be computed."""

    __slots__ = ("epochs",)

    def __init__(self, epochs: Iterable[int]) -> None:
        self.epochs = epochs

    def __hash__(self) -> int:
        return id(self.epochs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByIdentity) and other.epochs is self.epochs


def _first(queue: Iterable[int]) -> int:
    """The first epoch that has something queued."""
    return _first_of(_ByIdentity(queue))


@lru_cache(maxsize=16)
def _first_of(queue: _ByIdentity) -> int:
    return min(queue.epochs, default=_NEVER)
