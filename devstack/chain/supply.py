"""How much FIL circulates, by the two ways that Lotus counts it (`chain/stmgr/supply.go`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from devstack.chain.actors.miner_state import available_balance
from devstack.chain.actors.multisig import locked_amount
from devstack.chain.actors.policy import TOTAL_SUPPLY, circulating_supply
from devstack.chain.states import Actor, StateTree

__all__ = ["SupplyDetails", "spendable_supply", "supply_details"]

_REWARD, _RESERVE, _BURNT = 2, 90, 99
# f00, f01, f02, f03, f04, f06, f010, f090 and f099: what they hold does not circulate.
_OUTSIDE: Final = frozenset({0, 1, _REWARD, 3, 4, 6, 10, _RESERVE, _BURNT})
_INITIAL_REWARD: Final = 1_100_000_000 * 10**18
_INITIAL_RESERVE: Final = 300_000_000 * 10**18


@dataclass(frozen=True, slots=True)
class SupplyDetails:
    """The parts of the supply that the actors reckon with, in attoFIL; `circulating` is their sum by sign.

    The devnet's genesis has no vesting schedule: whatever neither f02 nor f090 got was free at once.
    """

    vested: int
    mined: int
    burnt: int
    locked: int
    circulating: int
    reserve_disbursed: int


def supply_details(tree: StateTree) -> SupplyDetails:
    """What `StateVMCirculatingSupplyInternal` tells of this state."""
    actors = tree.actors
    return SupplyDetails(
        vested=TOTAL_SUPPLY - _INITIAL_REWARD - _INITIAL_RESERVE,
        mined=_INITIAL_REWARD - actors[_REWARD].balance,
        burnt=actors[_BURNT].balance,
        locked=actors[4].state.total_pledge,
        circulating=max(circulating_supply(actors), 0),
        reserve_disbursed=_INITIAL_RESERVE - actors[_RESERVE].balance,
    )


def spendable_supply(tree: StateTree, epoch: int) -> int:
    """What `StateCirculatingSupply` answers: all balances, without what miners and multisigs have locked."""
    return sum(
        _spendable(actor, epoch)
        for actor_id, actor in tree.actors.items()
        if actor_id not in _OUTSIDE
    )


def _spendable(actor: Actor, epoch: int) -> int:
    if actor.code == "storageminer":
        return max(available_balance(actor.state, actor.balance), 0)
    if actor.code == "multisig":
        return max(actor.balance - locked_amount(actor.state, epoch), 0)
    return actor.balance
