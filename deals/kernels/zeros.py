"""The roots of trees over zeros, by level."""

from __future__ import annotations

import hashlib
from typing import Final

__all__ = ["MAX_LEVEL", "ZERO_ROOTS", "node"]

MAX_LEVEL: Final = 57  # 2**62 bytes


def node(left: bytes, right: bytes) -> bytes:
    """The parent of two nodes: SHA-256 of both, with the two top bits of its last byte cleared."""
    digest = hashlib.sha256(left + right).digest()
    return digest[:31] + bytes([digest[31] & 0x3F])


def _zero_roots() -> tuple[bytes, ...]:
    roots = [bytes(32)]
    while len(roots) <= MAX_LEVEL:
        roots.append(node(roots[-1], roots[-1]))
    return tuple(roots)


ZERO_ROOTS: Final = _zero_roots()
