"""Source `inline`: bytes that the job carries as a data URL. A `application/gzip` one is a tar.gz and becomes a directory.

That rule is Bacalhau's own, with which its clients send directories and files above 512 bytes.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import gzip
import io
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Annotated, Final
from urllib.parse import unquote_to_bytes

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from lotus_client.cid import RAW, Cid
from sp_plugin.inputs.base import (
    InputContext,
    InputIdentity,
    InputMissing,
    Materialised,
    register_source,
)
from sp_plugin.jobs.params import Params

__all__ = ["InlineParams", "InlineSource"]

_MAX_MEMBERS: Final = 10_000


def _data_url(text: str) -> str:
    try:
        _decode(text)
    except ValueError as error:
        raise PydanticCustomError("url", "{message}", {"message": str(error)}) from error
    return text


def _decode(url: str) -> tuple[str, bytes]:
    """Media type and bytes (RFC 2397)."""
    head, comma, data = url.partition(",")
    if not head.lower().startswith("data:") or not comma:
        raise ValueError("is not a data URL; it looks like data:text/plain;base64,aGk=")
    media_type, *attributes = head[5:].split(";")
    raw = unquote_to_bytes(data)
    if "base64" in (attribute.strip().lower() for attribute in attributes):
        try:
            raw = base64.b64decode(raw + b"=" * (-len(raw) % 4), validate=True)
        except binascii.Error as error:
            raise ValueError(f"its base64 cannot be decoded: {error}") from error
    return media_type.strip().lower(), raw


class InlineParams(Params):
    """`URL`, a data URL."""

    url: Annotated[str, AfterValidator(_data_url)] = Field(alias="URL")


@register_source("inline")
class InlineSource:
    """Small files inside the job itself."""

    params = InlineParams

    async def identify(self, params: InlineParams, context: InputContext) -> InputIdentity:
        """See `InputSource.identify`: the CID of the bytes as they were sent."""
        _, data = _decode(params.url)
        return InputIdentity("inline", Cid.of_sha2_256(RAW, data))

    async def materialise(
        self, params: InlineParams, context: InputContext, into: Path
    ) -> Materialised:
        """See `InputSource.materialise`."""
        media_type, data = _decode(params.url)
        if media_type != "application/gzip":
            _write(into, data)
            return Materialised(into, len(data))
        try:
            size = await asyncio.to_thread(_unpack, data, into, context.max_inline_bytes)
        except (tarfile.TarError, gzip.BadGzipFile, EOFError, OSError, zlib.error) as error:
            raise InputMissing(f"an inline tar.gz cannot be unpacked: {error}") from error
        return Materialised(into, size)


def _write(target: Path, data: bytes) -> None:
    """In the event loop's thread: a job's body is small, and a thread would take longer."""
    target.write_bytes(data)


def _unpack(data: bytes, target: Path, limit: int) -> int:
    """Regular files and directories of a tar.gz, written below the new directory `target`; gives back their bytes."""
    target.mkdir()
    total = count = 0
    with tarfile.open(fileobj=io.BytesIO(data), mode="r|gz") as archive:
        for member in archive:
            count += 1
            total += member.size
            if total > limit or count > _MAX_MEMBERS:
                raise InputMissing(
                    f"an inline tar.gz unpacks to more than {limit} bytes or {_MAX_MEMBERS} files"
                )
            path = PurePosixPath(member.name)
            if path.is_absolute() or ".." in path.parts:
                raise InputMissing(f"an inline tar.gz leaves its directory: {member.name[:200]!r}")
            if member.isdir():
                (target / path).mkdir(parents=True, exist_ok=True)
            elif member.isreg():
                (target / path).parent.mkdir(parents=True, exist_ok=True)
                source = archive.extractfile(member)
                assert source is not None
                (target / path).write_bytes(source.read())
            else:
                raise InputMissing(
                    f"an inline tar.gz holds {member.name[:200]!r}, which is neither file nor directory"
                )
    return total
