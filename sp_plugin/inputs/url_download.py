"""Source `urlDownload`: a file from a web server, named by its URL and always by the SHA-256 of its bytes.

A job may say the SHA-256; else the file is fetched when the job comes in, and what was seen then is what approvers sign.
A run gets those bytes or none. As with Bacalhau the target is a directory that holds the file, under the URL's last part;
what the server calls it, or a redirect, does not count, since nobody signed that.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from lotus_client.cid import Cid
from sp_plugin.errors import RefusedByPolicy
from sp_plugin.fetching.client import FetchFailed, FetchRefused, checked_url
from sp_plugin.fetching.downloads import Download, Downloads, cid_of_sha256
from sp_plugin.inputs.base import (
    InputAway,
    InputContext,
    InputIdentity,
    InputMissing,
    Materialised,
    register_source,
)
from sp_plugin.jobs.params import Params

__all__ = ["UrlDownloadParams", "UrlDownloadSource", "file_name_of"]

_KIND: Final = "urldownload"
_MAX_NAME: Final = 200
_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}")


def _url(text: str) -> str:
    try:
        return str(checked_url(text))
    except FetchRefused as error:
        raise PydanticCustomError("url", "{message}", {"message": str(error)}) from error


def _sha256(text: str) -> str:
    if not _SHA256.fullmatch(text.strip()):
        message = "is not a SHA-256 in 64 hex digits, as sha256sum prints it"
        raise PydanticCustomError("sha256", "{message}", {"message": message})
    return text.strip().lower()


class UrlDownloadParams(Params):
    """`URL`, and the `SHA256` of the bytes where it is known."""

    url: Annotated[str, AfterValidator(_url)] = Field(alias="URL", min_length=1, max_length=4096)
    sha256: Annotated[str, AfterValidator(_sha256)] | None = Field(None, alias="SHA256")


@register_source("urlDownload")
class UrlDownloadSource:
    """Files from the web, pinned by content."""

    params = UrlDownloadParams

    async def identify(self, params: UrlDownloadParams, context: InputContext) -> InputIdentity:
        """See `InputSource.identify`: the CID of the bytes as one raw block, and the URL as its path.

        Raises:
            RefusedByPolicy: this provider downloads nothing.
            InputAway: its server does not give it now.
        """
        if context.downloads is None:
            raise RefusedByPolicy(
                "source", ["urlDownload is not among policy.allowed_sources: nothing is fetched"]
            )
        try:
            context.downloads.check(params.url)
            cid = _stated(params, context) or (await context.downloads.pin(params.url)).cid
        except FetchRefused as error:
            raise InputMissing(str(error)) from error
        except FetchFailed as error:
            raise InputAway(str(error)) from error
        return InputIdentity(_KIND, cid, params.url)

    async def materialise(
        self, params: UrlDownloadParams, context: InputContext, into: Path
    ) -> Materialised:
        """See `InputSource.materialise`."""
        if context.downloads is None:
            raise InputMissing("urlDownload is not among policy.allowed_sources")
        try:
            found = await _found(params, context, context.downloads)
        except FetchRefused as error:
            raise InputMissing(str(error)) from error
        except FetchFailed as error:
            raise InputAway(str(error)) from error
        await asyncio.to_thread(_place, found.path, into, file_name_of(params.url))
        return Materialised(into, found.size, fetched_from=found.fetched_from)


async def _found(
    params: UrlDownloadParams, context: InputContext, downloads: Downloads
) -> Download:
    cid = _stated(params, context)
    return await (downloads.pin(params.url) if cid is None else downloads.get(params.url, cid))


def _stated(params: UrlDownloadParams, context: InputContext) -> Cid | None:
    """The CID that the bytes must have: the job says it, or an earlier look found it."""
    if params.sha256 is not None:
        return cid_of_sha256(bytes.fromhex(params.sha256))
    return context.pinned.get(params.url)


def file_name_of(url: str) -> str:
    """What the program finds the file under: the last part of the URL's path, decoded; `file` if there is none that can be a name."""
    name = unquote(urlsplit(url).path.rpartition("/")[2], errors="replace")
    bad = name in ("", ".", "..") or "/" in name or "\0" in name
    return "file" if bad or len(name.encode()) > _MAX_NAME else name


def _place(source: Path, directory: Path, name: str) -> None:
    """The cached file under that name in a new directory. A link keeps it there while the run lasts, also if the cache lets it go."""
    directory.mkdir(mode=0o755)
    target = directory / name
    try:
        os.link(source, target)
    except OSError:  # another disk, or a file system without links
        shutil.copyfile(source, target)
        target.chmod(0o444)
