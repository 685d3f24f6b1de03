"""Faults of a storage path: an unsealed copy that is gone, bytes that are not what they were."""

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
        self._providers = providers

    def hide(self, fault: Fault) -> Callable[[], None]:
        """Take the sector's unsealed file away.

        Raises:
            ValueError: no such provider or file.
        """
        path = self._unsealed(fault)
        hidden = path.with_name(f".missing-{fault.id}-{path.name}")
        path.rename(hidden)

        def restore() -> None:
            if not path.exists():  # unsealed again in the meantime: the new one stays
                hidden.rename(path)
            else:
                hidden.unlink()

        return restore

    def corrupt(self, fault: Fault) -> Callable[[], None]:
        """Flip all bits of a range of the sector's unsealed file.

        Raises:
            ValueError: no such provider, file or range.
        """
        path = self._unsealed(fault)
        offset, size = fault.params["offset"], fault.params["bytes"]
        if offset + size > self._provider(fault).sector_size:
            raise ValueError("the bytes to corrupt are not within the sector")

        def flip() -> None:
            if not path.exists():
                return  # gone, and with it what was wrong with it
            with path.open("r+b") as file:
                file.seek(offset)
                before = file.read(size)
                file.seek(offset)
                file.write(bytes(byte ^ 0xFF for byte in before))

        flip()
        return flip

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
