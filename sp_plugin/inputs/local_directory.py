"""Source `localDirectory`: a directory of this host, only below those the operator allowed, and only to read."""

from __future__ import annotations

import asyncio
import shutil
import stat
from itertools import chain
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from deals.unixfs_write import UnsupportedFile, add_path
from sp_plugin.inputs.base import (
    InputContext,
    InputIdentity,
    InputMissing,
    Materialised,
    register_source,
)
from sp_plugin.jobs.params import Params

__all__ = ["LocalDirectoryParams", "LocalDirectorySource"]

_MAX_BYTES: Final = 1 << 30
_MAX_FILES: Final = 10_000


class LocalDirectoryParams(Params):
    """`SourcePath`; `ReadWrite` is refused."""

    source_path: str = Field(alias="SourcePath", min_length=1, max_length=4096)
    read_write: Annotated[bool, BeforeValidator(lambda v: v in (True, "true", "True"))] = Field(
        False, alias="ReadWrite"
    )

    @model_validator(mode="after")
    def _read_only(self) -> Self:
        if self.read_write:
            message = "ReadWrite: inputs are read-only; leave it out"
            raise PydanticCustomError("input", "{message}", {"message": message})
        return self


@register_source("localDirectory")
class LocalDirectorySource:
    """Directories and files of this host, copied for the run so that what was approved is what is read."""

    params = LocalDirectoryParams

    async def identify(self, params: LocalDirectoryParams, context: InputContext) -> InputIdentity:
        """See `InputSource.identify`: the UnixFS root of the content, as `ipfs add` would give it."""
        path = _allowed(params, context)
        return await asyncio.to_thread(_identity, path)

    async def materialise(
        self, params: LocalDirectoryParams, context: InputContext, into: Path
    ) -> Materialised:
        """See `InputSource.materialise`."""
        path = _allowed(params, context)
        size = await asyncio.to_thread(_copy, path, into)
        return Materialised(into, size)


def _allowed(params: LocalDirectoryParams, context: InputContext) -> Path:
    path = Path(params.source_path)
    try:
        real = path.resolve(strict=True)
    except OSError as error:
        raise InputMissing(f"{path} cannot be read: {error.strerror}") from error
    if not any(real.is_relative_to(root.resolve()) for root in context.allowed_directories):
        raise InputMissing(f"{path} is not below a directory that this provider allows")
    return real


def _identity(path: Path) -> InputIdentity:
    _measure(path)
    try:
        node = add_path(path, lambda _cid, _block: None)
    except (UnsupportedFile, OSError) as error:
        raise InputMissing(str(error)) from error
    return InputIdentity("localdirectory", node.cid)


def _measure(path: Path) -> int:
    """Bytes of all files, after a look at what they are."""
    size = 0
    for count, item in enumerate(chain([path], path.rglob("*"))):
        mode = item.lstat()
        size += mode.st_size if stat.S_ISREG(mode.st_mode) else 0
        if not (stat.S_ISREG(mode.st_mode) or stat.S_ISDIR(mode.st_mode)):
            raise InputMissing(f"{item} is neither file nor directory")
        if size > _MAX_BYTES or count > _MAX_FILES:
            raise InputMissing(f"{path} holds more than {_MAX_BYTES} bytes or {_MAX_FILES} files")
    return size


def _copy(path: Path, target: Path) -> int:
    size = _measure(path)
    if path.is_dir():
        shutil.copytree(path, target, copy_function=shutil.copyfile)
    else:
        shutil.copyfile(path, target)
    return size
