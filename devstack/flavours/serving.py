"""The provider's part of a devnet by flavour: its storage paths, its RPC and its market server."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web

from devstack.flavours.kinds import Flavour
from devstack.miner_node import MinerNode
from devstack.provider import SealingProvider
from devstack.rpc.methods import MethodTable
from devstack.rpc.miner import table_miner
from devstack.storage import StoragePath, StoragePaths, write_storage_list

__all__ = ["forget_storage", "make_storage", "market_app", "rpc_table"]


def forget_storage(repo: Path) -> None:
    """Delete the storage paths of a provider's repo: sectors of an earlier chain mean nothing on another one."""
    for root in (repo / "storage", *repo.glob("storage-*")):
        if (root / "sectorstore.json").exists():
            shutil.rmtree(root)


def make_storage(repo: Path, count: int) -> StoragePaths:
    """The storage paths `storage`, `storage-2`, … in the provider's repo, made if they are missing, and the list of them."""
    roots = [repo / ("storage" if n == 1 else f"storage-{n}") for n in range(1, count + 1)]
    storage = StoragePaths([StoragePath(root) for root in roots])
    write_storage_list(repo, storage.paths)
    return storage


def rpc_table(flavour: Flavour) -> MethodTable[MinerNode]:
    """The methods on the provider's `/rpc/v0`: lotus-miner's, or Curio's."""
    if flavour.has_miner_api:
        return table_miner()
    from devstack.rpc.curio import CurioState, table_curio

    return table_curio(CurioState(datetime.now(UTC)))


def market_app(flavour: Flavour, provider: SealingProvider) -> web.Application | None:
    """booster-http or Curio's market server; None where there is no such server."""
    # imported when needed: most devnets have none, and start sooner without
    if flavour is Flavour.BOOST:
        from devstack.flavours.booster_http import booster_http_app

        return booster_http_app(provider)
    if flavour is Flavour.CURIO:
        from devstack.flavours.curio_market import curio_market_app

        return curio_market_app(provider)
    return None
