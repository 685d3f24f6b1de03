"""How far the reading of a piece has come: the subtree roots of what was read, so that a restart need not begin again.

A root is a commitment to the bytes that were read, so nothing of the file is trusted: if it is wrong, or the piece changed since,
the CommP over all of it is wrong in the end, and the piece is read again from its start (`verify_places`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from deals.subtree_roots import write_whole

__all__ = ["Checkpoint"]

_MAGIC: Final = b"sp-plugin verification under way 1\n"
_EVERY: Final = 64  # subtrees of 4 MiB: a quarter of a GiB is read again at most
_MOST_BYTES: Final = 64 << 20


@dataclass(slots=True)
class Checkpoint:
    """The file `folder/name` for a piece of that commitment and padded size. Its methods block."""

    folder: Path
    name: str
    commitment: bytes
    padded_size: int
    every: int = _EVERY
    _saved: int = field(default=0, init=False)

    def load(self) -> bytes:
        """The roots that were saved, 32 bytes each; none if there is no file, or it is damaged or another piece's."""
        try:
            with (self.folder / self.name).open("rb") as file:
                data = file.read(_MOST_BYTES)
        except OSError:
            return b""
        body, digest = data[:-32], data[-32:]
        head = self._head()
        roots = body[len(head) :]
        whole = body.startswith(head) and hashlib.sha256(body).digest() == digest
        if not whole or len(roots) % 32 or len(roots) // 32 > self.padded_size >> 22:
            return b""
        self._saved = len(roots) // 32
        return roots

    def reached(self, roots: bytes) -> None:
        """Save these roots if enough new ones have come."""
        count = len(roots) // 32
        if count - self._saved < self.every:
            return
        body = self._head() + roots
        write_whole(self.folder, self.name, body + hashlib.sha256(body).digest())
        self._saved = count

    def clear(self) -> None:
        """Forget how far it came."""
        (self.folder / self.name).unlink(missing_ok=True)
        self._saved = 0

    def _head(self) -> bytes:
        return _MAGIC + self.padded_size.to_bytes(8, "big") + self.commitment
