"""What a kernel does, and the sizes it does it in."""

from __future__ import annotations

from typing import Final, Protocol, TypeAlias

__all__ = ["SUBTREE_LEVEL", "SUBTREE_PAYLOAD", "Kernel", "KernelUnavailable", "Readable"]

Readable: TypeAlias = bytes | bytearray | memoryview

# The largest tree of one call: 2**17 leaves are 4 MiB padded.
SUBTREE_LEVEL: Final = 17
SUBTREE_PAYLOAD: Final = 127 << (SUBTREE_LEVEL - 2)


class KernelUnavailable(RuntimeError):
    """A kernel that this machine or this installation does not have; says which there are."""


class Kernel(Protocol):
    """One way to do the work. Every one gives the same bytes; they differ in speed only."""

    @property
    def name(self) -> str:
        """What it is called in `commp --json`, `doctor` and `SP_PLUGIN_KERNEL`."""
        ...

    @property
    def threads_help(self) -> bool:
        """Whether calls from several threads run side by side."""
        ...

    def pad(self, data: Readable) -> bytes:
        """The Fr32 form of whole quads of 127 bytes."""
        ...

    def unpad(self, data: Readable) -> bytes:
        """The payload of whole padded quads of 128 bytes."""
        ...

    def payload_root(self, payload: Readable, level: int) -> bytes:
        """The root over 2**level leaves (level 2 to 17) of a payload, padded, with zeros behind it."""
        ...

    def nodes(self, pairs: Readable) -> bytes:
        """The parents of nodes that lie side by side: 32 bytes for every 64."""
        ...
