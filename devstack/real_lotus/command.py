"""`devstack up --lotus …`: which options go together, and running such a devnet until it is interrupted."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from devstack.flavours import Flavour

if TYPE_CHECKING:  # imported on use: most starts are of the embedded devnet
    from devstack.real_lotus.binary import RealLotus
    from devstack.real_lotus.docker import DockerLotus

__all__ = ["DEFAULT_TAG", "LotusKind", "RealUp", "check_options", "run_real"]

DEFAULT_TAG: Final = "v1.36.2"

_RECORD: Final = "real-lotus.json"

# Containers answer only after the image and some GiB of proof parameters were fetched.
_IMAGE_AND_PARAMETERS_SECONDS: Final = 3 * 3600.0


class LotusKind(StrEnum):
    """Whose software makes the devnet; the values are those of `--lotus`."""

    EMBEDDED = "embedded"
    BINARY = "binary"
    DOCKER = "docker"


@dataclass(frozen=True, slots=True)
class RealUp:
    """What was asked for; the tag is of the image."""

    kind: LotusKind
    data_dir: Path
    api_port: int
    miner_port: int
    nv29_epoch: int | None
    tag: str


def check_options(wanted: RealUp, flavour: Flavour, block_time: float, storage_paths: int) -> None:
    """Raise ValueError when the options do not go together, or the directory is of a devnet of the other kind."""
    if wanted.kind is LotusKind.EMBEDDED:
        if (wanted.data_dir / _RECORD).exists():
            raise ValueError(
                f"{wanted.data_dir} belongs to a devnet of real Lotus; start it with --lotus binary or docker"
            )
        return
    if flavour is not Flavour.LOTUS_MINER or storage_paths != 1:
        raise ValueError("--flavour and --storage-paths are of the embedded devnet only")
    if block_time:
        raise ValueError("--block-time is of the embedded devnet only: Lotus' 2k builds take 4 s")
    if not (wanted.api_port and wanted.miner_port):
        raise ValueError("a devnet of real Lotus needs its ports named, not 0")


async def run_real(
    wanted: RealUp, tell: Callable[[str], None], show: Callable[[dict[str, Any]], None]
) -> None:
    """Run until SIGINT or SIGTERM; `show` is given the connections once all answer.

    Raises:
        RealLotusError: it cannot be had, or ended by itself.
    """
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    devnet = asyncio.create_task(_run(wanted, tell, show))
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait((devnet, stopped), return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not devnet.done():
        devnet.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await devnet
        return
    devnet.result()


async def _run(
    wanted: RealUp, tell: Callable[[str], None], show: Callable[[dict[str, Any]], None]
) -> None:
    async with _make(wanted, tell) as net:
        show(
            {
                "FULLNODE_API_INFO": net.api_info,
                "MINER_API_INFO": net.miner_api_info,
                "provider": "t01000",
                "data_dir": str(wanted.data_dir.absolute()),
            }
        )
        await net.wait()


def _make(wanted: RealUp, tell: Callable[[str], None]) -> RealLotus | DockerLotus:
    from devstack.real_lotus.binary import RealLotus, RealLotusConfig
    from devstack.real_lotus.docker import DockerLotus

    config = RealLotusConfig(
        data_dir=wanted.data_dir,
        api_port=wanted.api_port,
        miner_port=wanted.miner_port,
        nv29_epoch=wanted.nv29_epoch,
    )
    if wanted.kind is LotusKind.DOCKER:
        patient = replace(config, patience_seconds=_IMAGE_AND_PARAMETERS_SECONDS)
        return DockerLotus(patient, wanted.tag, tell)
    return RealLotus(config, tell)
