"""How much FIL there is. Source: Lotus `chain/stmgr/supply.go`."""

from __future__ import annotations

from devstack.auth import Permission
from devstack.chain.supply import spendable_supply, supply_details
from devstack.node import FullNode
from devstack.rpc.encode import amount_json
from devstack.rpc.methods import Method
from devstack.rpc.params import TIPSET_KEY
from devstack.rpc.resolve import state_at
from lotus_client.chain import TipSetKey

__all__ = ["METHODS"]


def _supply(node: FullNode, key: TipSetKey) -> str:
    state = state_at(node, key)
    return amount_json(spendable_supply(state.tree, state.epoch - 1))


def _details(node: FullNode, key: TipSetKey) -> dict[str, str]:
    found = supply_details(state_at(node, key).tree)
    return {
        "FilVested": amount_json(found.vested),
        "FilMined": amount_json(found.mined),
        "FilBurnt": amount_json(found.burnt),
        "FilLocked": amount_json(found.locked),
        "FilCirculating": amount_json(found.circulating),
        "FilReserveDisbursed": amount_json(found.reserve_disbursed),
    }


METHODS: tuple[Method[FullNode], ...] = (
    Method("StateCirculatingSupply", Permission.READ, (TIPSET_KEY,), _supply),
    Method("StateVMCirculatingSupplyInternal", Permission.READ, (TIPSET_KEY,), _details),
)
