"""Subtree roots of a verified piece: with them a range is verified by reading 4 MiB around it, not the whole piece.

A piece of 32 GiB has 8,192 subtrees, so its roots are a file of 256 KiB. The file is trusted no more than the piece: its roots
must fold to the piece's own commitment each time it is loaded.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Self

from deals.commp import CommpHasher
from deals.fr32 import check_padded_piece_size, read_up_to, unpadded_length
from deals.kernels import SUBTREE_LEVEL, SUBTREE_PAYLOAD, current_kernel
from deals.kernels.zeros import ZERO_ROOTS
from deals.seeking import SeekableReader
from lotus_client.types import PaddedPieceSize

__all__ = [
    "RangeMismatch",
    "RootsError",
    "SubtreeRoots",
    "VerifiedReader",
    "load_roots",
    "roots_of",
    "save_roots",
    "write_whole",
]

_MAGIC: Final = b"sp-plugin subtree roots 1\n"
_SUBTREE: Final = PaddedPieceSize(32 << SUBTREE_LEVEL)
_MOST_BYTES: Final = 64 << 20  # of a file; 2**38 padded bytes need 2 MiB
_KEPT: Final = 2  # verified subtrees that a reader keeps: a range often crosses into the next


class RootsError(ValueError):
    """A file of subtree roots that is not what it should be; the piece must be verified anew."""


class RangeMismatch(OSError):
    """Bytes of a piece are not those that were verified; says where. An OSError, as any failed read is."""


@dataclass(frozen=True, slots=True)
class SubtreeRoots:
    """The roots of a piece's 4 MiB subtrees, in order; those behind the last one given are of zeros.

    A piece below 4 MiB padded is its own only subtree, and `roots` is its commitment.
    """

    padded_size: PaddedPieceSize
    roots: bytes

    @property
    def level(self) -> int:
        """The level of a subtree: 17, or that of a smaller piece."""
        return min(SUBTREE_LEVEL, self.padded_size.bit_length() - 6)

    @property
    def count(self) -> int:
        """How many subtrees the piece has, those of zeros included."""
        return max(1, self.padded_size // _SUBTREE)

    def root(self, index: int) -> bytes:
        """The root of one subtree."""
        return self.roots[32 * index : 32 * index + 32] or ZERO_ROOTS[self.level]

    def commitment(self) -> bytes:
        """The piece's commitment that these roots fold to."""
        nodes, level = self.roots, self.level
        top = self.padded_size.bit_length() - 6
        while level < top:
            if len(nodes) % 64:
                nodes += ZERO_ROOTS[level]
            nodes = current_kernel().nodes(nodes)
            level += 1
        return nodes or ZERO_ROOTS[top]

    def to_bytes(self) -> bytes:
        """The file's form: a line that names it, the size, the roots, and SHA-256 over all of it."""
        body = _MAGIC + self.padded_size.to_bytes(8, "big") + self.roots
        return body + hashlib.sha256(body).digest()

    @classmethod
    def from_bytes(cls, data: bytes, commitment: bytes) -> Self:
        """What a file holds, if it is whole and its roots fold to the piece's commitment.

        Raises:
            RootsError: it is not, or they do not.
        """
        body, digest = data[:-32], data[-32:]
        if not body.startswith(_MAGIC) or hashlib.sha256(body).digest() != digest:
            raise RootsError("it is no file of subtree roots, or it is damaged")
        size, roots = int.from_bytes(body[len(_MAGIC) :][:8], "big"), body[len(_MAGIC) + 8 :]
        try:
            made = cls(check_padded_piece_size(size), roots)
        except ValueError as error:
            raise RootsError(str(error)) from error
        if len(roots) % 32 or len(roots) > 32 * made.count:
            raise RootsError(f"{len(roots)} bytes are not the roots of {made.count} subtrees")
        if made.commitment() != commitment:
            raise RootsError("its roots are those of another piece")
        return made


def roots_of(hasher: CommpHasher, padded_size: int) -> SubtreeRoots:
    """The roots of the piece of `padded_size` whose payload the hasher was fed.

    Raises:
        ValueError: the payload does not fit in it.
    """
    size = check_padded_piece_size(padded_size)
    if size < _SUBTREE:
        return SubtreeRoots(size, hasher.finish().raised_to(size).root)
    return SubtreeRoots(size, hasher.subtree_roots())


def save_roots(folder: Path, name: str, roots: SubtreeRoots) -> None:
    """Keep roots as `folder/name`, whole or not at all."""
    write_whole(folder, name, roots.to_bytes())


def write_whole(folder: Path, name: str, data: bytes) -> None:
    """Write `folder/name` so that it is there whole or not at all, whenever the machine stops."""
    folder.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=".roots-", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).rename(folder / name)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load_roots(folder: Path, name: str, commitment: bytes) -> SubtreeRoots | None:
    """The roots kept as `folder/name`; None if there are none. A file that is not right is removed: it is only a cache."""
    path = folder / name
    try:
        with path.open("rb") as file:
            return SubtreeRoots.from_bytes(file.read(_MOST_BYTES), commitment)
    except FileNotFoundError:
        return None
    except RootsError:
        path.unlink(missing_ok=True)
        return None


class VerifiedReader(SeekableReader):
    """The unpadded bytes of a piece, none given out before the subtree around it was verified.

    It reads whole subtrees from `source` (seekable; it may leave out zeros at the end), keeps two, and closes the source
    with itself if it owns it. With `another`, which makes the source go on elsewhere, wrong bytes are read again there.
    """

    def __init__(
        self,
        source: BinaryIO,
        roots: SubtreeRoots,
        *,
        owns_source: bool = True,
        another: Callable[[], bool] | None = None,
    ) -> None:
        super().__init__(unpadded_length(roots.padded_size))
        self._another = another
        self._owns_source = owns_source
        self._source = source
        self._roots = roots
        self._kept: OrderedDict[int, bytes] = OrderedDict()

    def readinto(self, buffer: object) -> int:
        """Fill the buffer up to the end of the subtree at hand.

        Raises:
            RangeMismatch: the bytes are not the piece's.
        """
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        if self._position >= self._size:
            return 0
        index, skip = divmod(self._position, SUBTREE_PAYLOAD)
        part = memoryview(self._subtree(index))[skip : skip + len(view)]
        view[: len(part)] = part
        self._position += len(part)
        return len(part)

    def close(self) -> None:
        """Close the source too, if it is this reader's own."""
        if not self.closed and self._owns_source:
            self._source.close()
        super().close()

    def _subtree(self, index: int) -> bytes:
        if index in self._kept:
            self._kept.move_to_end(index)
            return self._kept[index]
        data = self._proven(index)
        self._kept[index] = data
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return data

    def _proven(self, index: int) -> bytes:
        start = index * SUBTREE_PAYLOAD
        size = min(SUBTREE_PAYLOAD, self._size - start)
        while True:
            self._source.seek(start)
            data = read_up_to(self._source, size).ljust(size, b"\0")
            root = current_kernel().payload_root(data, self._roots.level)
            if root == self._roots.root(index):
                return data
            if self._another is None or not self._another():
                raise RangeMismatch(
                    f"unpadded bytes {start}..{start + size} are not those of the piece that was verified"
                )
