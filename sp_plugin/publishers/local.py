"""Publisher `local`: results stay on this host, as files, as a CAR and as the tar.gz that Bacalhau's clients fetch."""

from __future__ import annotations

import asyncio
import gzip
import tarfile
from pathlib import Path
from typing import Final

from sp_plugin.jobs.params import Params
from sp_plugin.publishers.base import (
    RECORD_NAME,
    PublishContext,
    Published,
    PublishError,
    Results,
    register_publisher,
)

__all__ = ["LocalParams", "LocalPublisher", "archive_path", "pack_archive"]

_PATH: Final = "/api/v1/sp/results"


class LocalParams(Params):
    """None."""


@register_publisher("local")
class LocalPublisher:
    """Every run keeps its results directory and its archive; this says where to fetch them."""

    params = LocalParams

    async def publish(
        self, params: LocalParams, results: Results, context: PublishContext
    ) -> Published:
        """See `Publisher.publish`."""
        archive = archive_path(context.results_dir, results.execution_id)
        try:
            if not archive.is_file():  # a run packs it, whatever its publisher
                await asyncio.to_thread(pack_archive, results.directory, archive, results.record)
        except OSError as error:
            raise PublishError(f"the results archive cannot be written: {error}") from error
        url = f"{(context.public_url or '').rstrip('/')}{_PATH}/{results.execution_id}.tar.gz"
        return Published("urlDownload", {"URL": url}, {"archive": str(archive)})


def archive_path(results_dir: Path, execution_id: str) -> Path:
    """Where the archive of an execution's results lies."""
    return results_dir / execution_id / "results.tar.gz"


def pack_archive(directory: Path, archive: Path, record: Path | None = None) -> None:
    """Pack the results, and the run record beside them if there is one; equal ones give equal bytes.

    Raises:
        OSError: the disk does not take it.
    """
    temporary = archive.with_name(archive.name + ".tmp")
    try:
        with (
            temporary.open("wb") as out,
            gzip.GzipFile("", "wb", fileobj=out, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w") as tar,
        ):
            for path in sorted(directory.rglob("*")):
                tar.add(path, path.relative_to(directory), recursive=False, filter=_plain)
            if record is not None and record.is_file():
                tar.add(record, RECORD_NAME, recursive=False, filter=_plain)
        temporary.rename(archive)
    finally:
        temporary.unlink(missing_ok=True)


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """Names and bytes only: who ran it and when is not part of a result."""
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mtime = 0
    info.mode = 0o755 if info.isdir() else 0o644
    return info
