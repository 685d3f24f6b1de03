"""Which steps of the set-up are finished, in a file that survives being cut off at any moment."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

from devstack.real_lotus.errors import RealLotusError
from lotus_client.json_text import read_json

__all__ = ["Record"]

_NAME: Final = "real-lotus.json"


class Record:
    """The finished steps of one data directory, each with what it found out."""

    def __init__(self, root: Path) -> None:
        """Raises RealLotusError when the file is there but cannot be read."""
        self._file = root / _NAME
        self._steps: dict[str, Any] = {}
        if self._file.exists():
            try:
                steps = read_json(self._file.read_bytes())
            except (OSError, ValueError) as error:
                raise RealLotusError(f"{self._file} cannot be read: {error}") from error
            if not isinstance(steps, dict):
                raise RealLotusError(f"{self._file} is not a record of finished steps")
            self._steps = steps

    def __contains__(self, step: str) -> bool:
        return step in self._steps

    def get(self, step: str) -> Any:
        """What the finished step found out."""
        return self._steps[step]

    def finish(self, step: str, found: Any = None) -> None:
        """Record a step as finished."""
        self._steps[step] = found
        temporary = self._file.with_suffix(".new")
        with temporary.open("w") as file:
            json.dump(self._steps, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._file)
