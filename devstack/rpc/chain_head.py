"""Moving and weighing the head. Source: Lotus `node/impl/full/chain.go`, `node/impl/full/sync.go`."""

from __future__ import annotations

from devstack.auth import Permission
from devstack.node import FullNode
from devstack.rpc.encode import amount_json
from devstack.rpc.methods import Method
from devstack.rpc.params import TIPSET_KEY
from lotus_client.chain import TipSetKey

__all__ = ["METHODS"]


async def _set_head(node: FullNode, key: TipSetKey) -> None:
    await node.set_head(key)


def _weight(node: FullNode, key: TipSetKey) -> str:
    return amount_json(node.network.weight(key))


def _validate(node: FullNode, key: TipSetKey) -> bool:
    node.network.tipset(key)  # every tipset that the node knows it has executed itself
    return True


METHODS: tuple[Method[FullNode], ...] = (
    Method("ChainSetHead", Permission.ADMIN, (TIPSET_KEY,), _set_head),
    Method("ChainTipSetWeight", Permission.READ, (TIPSET_KEY,), _weight),
    Method("SyncValidateTipset", Permission.READ, (TIPSET_KEY,), _validate),
)
