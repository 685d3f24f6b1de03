"""Publisher `local`: results stay on this host, as files and as a CAR; the tar.gz that Bacalhau's clients fetch is made for the first of them."""

from __future__ import annotations

import gzip
import secrets
import tarfile
from pathlib import Path
from typing import Final

from sp_plugin.jobs.params import Params
from sp_plugin.publishers.base import (
    RECORD_NAME,
    PublishContext,
    Published,
    Results,
    register_publisher,
)

__all__ = ["LocalParams", "LocalPublisher", "kept_archive", "pack_archive"]

_PATH: Final = "/api/v1/sp/results"


class LocalParams(Params):
    """None."""


@register_publisher("local")
class LocalPublisher:
    """Every run keeps its results; this says where to fetch them."""

    params = LocalParams

    def place(self, params: LocalParams, results: Results, context: PublishContext) -> Published:
        """See `Stays.place`."""
        url = f"{(context.public_url or '').rstrip('/')}{_PATH}/{results.execution_id}.tar.gz"
        return Published("urlDownload", {"URL": url}, {"directory": str(results.directory)})


def kept_archive(home: Path) -> Path:
    """The archive of the results kept in `home`, packed now if nobody wanted it before. Blocking.

    Raises:
        OSError: the disk does not take it.
    """
    archive = home / "results.tar.gz"
    if not archive.is_file():
        pack_archive(home / "files", archive, home / RECORD_NAME)
    return archive


def pack_archive(directory: Path, archive: Path, record: Path | None = None) -> None:
    """Pack the results, and the run record beside them if there is one; equal ones give equal bytes.

    Raises:
        OSError: the disk does not take it.
    """
    temporary = archive.with_name(
        f"{archive.name}.{secrets.token_hex(4)}.tmp"
    )  # two may want it at once
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
