"""Publisher `ipfs`: the results' CAR in a directory of this host, under its root CID, and pushed to a Kubo node if there is one.

What is pushed has two roots: that of the results, and the signed record of the run as a file of its own. Both are pinned.
"""

from __future__ import annotations

import asyncio
import io
import shutil
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

from deals.car import CarWriter
from deals.unixfs_write import add_file
from lotus_client.cid import Cid
from sp_plugin.jobs.params import Params
from sp_plugin.publishers.base import (
    RECORD_NAME,
    PublishContext,
    Published,
    PublishError,
    Results,
    register_publisher,
)
from sp_plugin.publishers.kubo_api import KuboApi, KuboError

__all__ = ["IpfsParams", "IpfsPublisher", "copy_whole"]

_CHUNK: Final = 1 << 20


class IpfsParams(Params):
    """None."""


@register_publisher("ipfs")
class IpfsPublisher:
    """One CAR per root; equal results share it."""

    params = IpfsParams

    async def publish(
        self, params: IpfsParams, results: Results, context: PublishContext
    ) -> Published:
        """See `Publisher.publish`."""
        target = context.cars_dir / f"{results.root}.car"
        record = context.cars_dir / f"{results.root}.{RECORD_NAME}"
        try:
            await asyncio.to_thread(copy_whole, results.car, target, by=results.ran_as)
            await asyncio.to_thread(
                copy_whole, results.record, record, by=results.ran_as, again=True
            )
        except OSError as error:
            raise PublishError(f"the CAR cannot be written: {error}") from error
        details: dict[str, Any] = {"car": str(target), "run_record": str(record)}
        if context.kubo is not None:
            details |= await _push(context.kubo, results)
        return Published("ipfs", {"CID": str(results.root)}, details)


async def _push(kubo: KuboApi, results: Results) -> dict[str, Any]:
    """Import the results and their record into the node, and see that it has pinned both."""
    blocks: dict[Cid, bytes] = {}
    with io.BytesIO(await asyncio.to_thread(results.record.read_bytes)) as record:
        record_cid = add_file(record, blocks.__setitem__).cid
    roots = (results.root, record_cid)
    try:
        async with aclosing(_car_with_record(results.car, roots, blocks)) as parts:
            imported = await kubo.import_car(f"{results.root}.car", parts)
    except KuboError as error:
        raise PublishError(str(error), again=error.again) from error
    missing = set(roots) - imported.pinned
    if missing:
        names = ", ".join(map(str, missing))
        raise PublishError(f"{kubo.url} took the CAR, and does not say that it pinned {names}")
    return {"kubo": kubo.url, "run_record_cid": str(record_cid), "blocks": imported.blocks}


async def _car_with_record(
    car: Path, roots: tuple[Cid, Cid], record: Mapping[Cid, bytes]
) -> AsyncGenerator[bytes, None]:
    """The CAR of the results with the blocks of their record as a second root, made while it is sent."""
    plain = io.BytesIO()
    CarWriter(plain, roots[:1])
    out = io.BytesIO()
    writer = CarWriter(out, roots)
    yield out.getvalue()
    file = await asyncio.to_thread(car.open, "rb")
    try:
        if await asyncio.to_thread(file.read, plain.tell()) != plain.getvalue():
            raise PublishError(f"{car} is not the CAR that was packed", again=False)
        while chunk := await asyncio.to_thread(file.read, _CHUNK):
            yield chunk
    finally:
        await asyncio.to_thread(file.close)
    out.seek(0)
    out.truncate()
    for cid, block in record.items():
        writer.put(cid, block)
    yield out.getvalue()


def copy_whole(source: Path, target: Path, *, by: str, again: bool = False) -> None:
    """Copy a file so that `target` is there whole or not at all; one that is there is kept, unless it is written `again`.

    `by` is the run: two with equal results may be published at once, and one that is killed finds its own half when it goes on.
    """
    if target.exists() and not again:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f"{target.name}.{by}.tmp")
    try:
        shutil.copyfile(source, temporary)
        temporary.rename(target)
    finally:
        temporary.unlink(missing_ok=True)
