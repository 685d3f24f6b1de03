"""What a kernel does, and the sizes it does it in."""

from __future__ import annotations

from typing import Final, Protocol, Self, TypeAlias

__all__ = ["SUBTREE_LEVEL", "SUBTREE_PAYLOAD", "Kernel", "KernelUnavailable", "NotFr32", "Readable"]

Readable: TypeAlias = bytes | bytearray | memoryview

# The largest tree of one call: 2**17 leaves are 4 MiB padded.
SUBTREE_LEVEL: Final = 17
SUBTREE_PAYLOAD: Final = 127 << (SUBTREE_LEVEL - 2)


class KernelUnavailable(RuntimeError):
    """A kernel that this machine or this installation does not have; says which there are."""


class NotFr32(ValueError):
    """Padded data with a bit that padding always leaves clear; `offset` is that byte's."""

    def __init__(self, offset: int) -> None:
        super().__init__(
            f"padded byte {offset} has a bit that Fr32-padded data cannot have; "
            "the file is damaged or not Fr32-padded"
        )
        self.offset = offset

    @classmethod
    def within(cls, data: Readable) -> Self:
        """The error for the first such byte of `data`."""
        tops = bytes(memoryview(data)[31::32])
        return cls(32 * next(at for at, byte in enumerate(tops) if byte & 0xC0) + 31)

    def behind(self, start: int) -> NotFr32:
        """The same error where the data begins at `start`."""
        return NotFr32(start + self.offset)


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

    def unpad_into(self, data: Readable, out: memoryview) -> None:
        """`unpad`, written to the start of `out`, which has room for it and may begin where `data` does."""
        ...

    def padded_root(self, padded: Readable, level: int) -> bytes:
        """The root over 2**level leaves (level 2 to 17) of whole quads that are padded already, with zeros behind them.

        Raises:
            NotFr32: a word has one of its two top bits set.
        """
        ...

    def payload_root(self, payload: Readable, level: int) -> bytes:
        """The root over 2**level leaves (level 2 to 17) of a payload, padded, with zeros behind it."""
        ...

    def nodes(self, pairs: Readable) -> bytes:
        """The parents of nodes that lie side by side: 32 bytes for every 64."""
        ...
