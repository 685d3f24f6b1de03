"""Faults of a storage path: an unsealed copy that is gone, bytes that are not what they were.

What a fault takes away lies beside the file under a dotted name, so that it can be put right after a kill, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from devstack.faults.kinds import Fault
from devstack.provider import SealingProvider
from devstack.storage import FileType
from lotus_client.types import SectorNumber

__all__ = ["FileFaults"]


class FileFaults:
    """Changes files of the providers' storage paths, and changes them back."""

    def __init__(self, providers: Sequence[SealingProvider]) -> None:
        """Also puts right what the faults of a killed devnet left in these storage paths."""
        self._providers = providers
        for provider in providers:
            repo = provider.storage.root.parent
            left = repo.glob("storage*/unsealed/.fault-*")
            for aside in sorted(left, key=lambda path: int(path.name.split("-")[1]), reverse=True):
                _put_right(aside)  # what was done last is undone first

    def hide(self, fault: Fault) -> Callable[[], None]:
        """Take the sector's unsealed file away.

        Raises:
            ValueError: no such provider or file.
        """
        path = self._unsealed(fault)
        aside = path.with_name(f".fault-{fault.id}-whole-{path.name}")
        path.rename(aside)
        return lambda: _put_right(aside)

    def corrupt(self, fault: Fault) -> Callable[[], None]:
        """Flip all bits of a range of the sector's unsealed file.

        Raises:
            ValueError: no such provider, file or range.
        """
        path = self._unsealed(fault)
        offset, size = fault.params["offset"], fault.params["bytes"]
        if offset + size > self._provider(fault).sector_size:
            raise ValueError("the bytes to corrupt are not within the sector")

        with path.open("r+b") as file:
            file.seek(offset)
            before = file.read(size)
            aside = path.with_name(f".fault-{fault.id}-{offset}-{path.name}")
            aside.write_bytes(before)
            file.seek(offset)
            file.write(bytes(byte ^ 0xFF for byte in before))
        return lambda: _put_right(aside)

    def _provider(self, fault: Fault) -> SealingProvider:
        index = fault.params["miner"]
        if index >= len(self._providers):
            raise ValueError(f"there is no miner {index}: {len(self._providers)} run here")
        return self._providers[index]

    def _unsealed(self, fault: Fault) -> Path:
        provider = self._provider(fault)
        number = SectorNumber(fault.params["sector"])
        path = provider.storage.file(FileType.UNSEALED, provider.miner.actor_id, number)
        if not path.exists():
            raise ValueError(f"{provider.miner} has no unsealed file of sector {number}")
        return path


def _put_right(aside: Path) -> None:
    """Undo what a fault did to the file whose name follows the fault's id and the place of its bytes."""
    if not aside.exists():
        return
    _, _, place, name = aside.name.split("-", 3)
    path = aside.with_name(name)
    if place == "whole" and not path.exists():  # unsealed again in the meantime: the new one stays
        aside.rename(path)
        return
    if place != "whole" and path.exists():
        with path.open("r+b") as file:
            file.seek(int(place))
            file.write(aside.read_bytes())
    aside.unlink()
