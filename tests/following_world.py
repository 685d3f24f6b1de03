"""A devnet's chain followed into stores of one's own, to be compared."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from deals.commp import commp
from deals.follower import ChainFollower
from devstack.datacap import allocate_piece
from devstack.stack import Devstack
from lotus_client.api_info import ApiInfo
from lotus_client.client import LotusClient
from lotus_client.transport.retry import RetryPolicy
from lotus_client.types import ActorId, AllocationId, Epoch
from sp_plugin.store.base import Store, metadata
from sp_plugin.store.chain import ChainRepository

__all__ = ["PROVIDER", "Index", "allocate", "opened"]

PROVIDER = ActorId(1001)

# Everything the index is for. Full reads of sectors depend on when the head was looked at, so the table is compared by
# what it answers, not row by row; which tipsets are kept depends on the cursor alone.
_COMPARED = ("chain_events", "chain_held_pieces", "chain_own_blocks", "chain_gaps")


class Index:
    """A store, and a follower of a node into it."""

    def __init__(self, store: Store, client: LotusClient, **options: Any) -> None:
        self.store = store
        self.client = client
        self.repository = ChainRepository(store)
        self.follower = ChainFollower(client, self.repository, PROVIDER, **options)

    async def catch_up(self) -> None:
        await self.follower.catch_up()

    async def content(self) -> dict[str, list[tuple[Any, ...]]]:
        """The rows without their numbers, sorted."""
        found: dict[str, list[tuple[Any, ...]]] = {}
        async with self.store.reading() as connection:
            for table in (t for t in metadata.sorted_tables if t.name in _COMPARED):
                columns = [c for c in table.columns if c.name not in ("id", "payload_size")]
                rows = await connection.execute(table.select().with_only_columns(*columns))
                found[table.name] = sorted(tuple(map(str, row)) for row in rows)
        cursor = await self.repository.cursor(PROVIDER)
        assert cursor is not None
        found["cursor"] = [(str(cursor.tipset.height), str(cursor.tipset.key))]
        return found


@asynccontextmanager
async def opened(path: Path, api_info: str, **options: Any) -> AsyncIterator[Index]:
    """An index in a new or an existing file; the client tries once more after a pause too short to matter."""
    options.setdefault("start_at", Epoch(0))
    store = Store(f"sqlite+aiosqlite:///{path}")
    async with store.transaction() as connection:
        await connection.run_sync(metadata.create_all)
    quick = RetryPolicy(attempts=2, first_pause_seconds=0.01, longest_retry_after_seconds=0)
    client = LotusClient.connect(ApiInfo.parse(api_info), timeout_seconds=5, retry=quick)
    try:
        async with client:
            yield Index(store, client, **options)
    finally:
        await store.close()


async def allocate(net: Devstack, payload: bytes) -> AllocationId:
    """An allocation by alice for the payload."""
    found = commp(io.BytesIO(payload))
    alice = net.network.key("alice")
    return await allocate_piece(
        net.node, alice, net.provider.miner, found.piece_cid, found.padded_size
    )
