"""Lotus' programs on PATH, and whether they can make a devnet together."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from devstack.real_lotus.errors import MissingBinaries, WrongVersion

__all__ = ["PROGRAMS", "LotusVersion", "check_versions", "find_programs", "parse_version"]

PROGRAMS: Final = ("lotus", "lotus-miner", "lotus-seed", "lotus-shed")

# The first release with the chain indexer, without which there is no event API to follow.
_OLDEST: Final = (1, 31, 0)
_VERSION: Final = re.compile(r"version (\d+)\.(\d+)\.(\d+)(\S*)")
_TIMEOUT_SECONDS: Final = 30

_HOW: Final = (
    "build them with `make 2k lotus-shed` in a checkout of github.com/filecoin-project/lotus, "
    "or use --lotus docker"
)


@dataclass(frozen=True, slots=True, order=True)
class LotusVersion:
    """A version as `--version` prints it: numbers, and the rest (`-rc1+2k+git.1234`)."""

    numbers: tuple[int, int, int]
    rest: str

    @property
    def is_2k(self) -> bool:
        """Whether it was built for a devnet; the `debug` build has the same constants."""
        return bool({"2k", "debug"} & set(self.rest.split("+")))

    def __str__(self) -> str:
        return ".".join(map(str, self.numbers)) + self.rest


def parse_version(text: str) -> LotusVersion | None:
    """The version in a line such as `lotus version 1.36.2+2k+git.b835fab7`; None if there is none."""
    found = _VERSION.search(text)
    if found is None:
        return None
    major, minor, patch = (int(found[index]) for index in (1, 2, 3))
    return LotusVersion((major, minor, patch), found[4])


async def find_programs(path: str | None = None) -> dict[str, LotusVersion]:
    """The versions of all programs that are needed; `path` replaces $PATH.

    Raises:
        MissingBinaries: some are not there.
        WrongVersion: one does not say its version.
    """
    missing = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if missing:
        raise MissingBinaries(f"not found on PATH: {', '.join(missing)}; {_HOW}")
    return {name: await _version_of(name) for name in PROGRAMS}


def check_versions(versions: Mapping[str, LotusVersion]) -> LotusVersion:
    """The version they share.

    Raises:
        WrongVersion: no 2k build, too old, or different ones; says which.
    """
    lotus = versions["lotus"]
    for name, version in versions.items():
        if not version.is_2k:
            raise WrongVersion(
                f"{name} {version} is not a 2k build, so it knows only public networks; {_HOW}"
            )
        if version.numbers < _OLDEST:
            oldest = ".".join(map(str, _OLDEST))
            raise WrongVersion(f"{name} {version} is too old: {oldest} is the first that will do")
        if version != lotus:
            raise WrongVersion(f"lotus is {lotus} but {name} is {version}; build all together")
    return lotus


async def _version_of(name: str) -> LotusVersion:
    process = await asyncio.create_subprocess_exec(
        name, "--version",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            output, _ = await process.communicate()
    except TimeoutError as error:
        process.kill()
        await process.wait()
        raise WrongVersion(f"`{name} --version` does not end") from error
    version = parse_version(output.decode(errors="replace"))
    if version is None:
        raise WrongVersion(f"`{name} --version` does not print a Lotus version")
    return version
