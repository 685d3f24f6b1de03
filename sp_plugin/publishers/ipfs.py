"""Publisher `ipfs`: the results' CAR in a directory of this host, under its root CID, for `ipfs dag import` or a gateway."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from sp_plugin.jobs.params import Params
from sp_plugin.publishers.base import (
    PublishContext,
    Published,
    PublishError,
    Results,
    register_publisher,
)

__all__ = ["IpfsParams", "IpfsPublisher", "copy_whole"]


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
        try:
            await asyncio.to_thread(copy_whole, results.car, target)
        except OSError as error:
            raise PublishError(f"the CAR cannot be written: {error}") from error
        return Published("ipfs", {"CID": str(results.root)}, {"car": str(target)})


def copy_whole(source: Path, target: Path) -> None:
    """Copy a file so that `target` is there whole or not at all; one that is there already is kept."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(target.name + ".tmp")
    try:
        shutil.copyfile(source, temporary)
        temporary.rename(target)
    finally:
        temporary.unlink(missing_ok=True)
