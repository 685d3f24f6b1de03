"""The kernel without anything but Python: big integers for Fr32, hashlib for the tree."""

from __future__ import annotations

import hashlib
import struct
from typing import Final

from deals.kernels.base import NotFr32, Readable
from deals.kernels.zeros import ZERO_ROOTS

__all__ = ["PythonKernel"]

# Quads per big integer: large enough that Python's cost per operation vanishes, small enough for the CPU cache.
_QUADS_PER_BLOCK: Final = 64
_BLOCK_UNPADDED: Final = 127 * _QUADS_PER_BLOCK
_BLOCK_PADDED: Final = 128 * _QUADS_PER_BLOCK


def _repeat(bits: int, shift: int) -> int:
    """`bits` ones at `shift` within every 1024-bit padded quad of a block."""
    quad = ((1 << bits) - 1) << shift
    return int.from_bytes(quad.to_bytes(128, "little") * _QUADS_PER_BLOCK, "little")


_UNPADDED_WORDS: Final = tuple(_repeat(254, 254 * word) for word in range(4))
_PADDED_WORDS: Final = tuple(_repeat(254, 256 * word) for word in range(4))
_PAIR: Final = struct.Struct("64s")
# Clears the two top bits of a byte, by bytes.translate.
_TRUNCATE: Final = bytes(byte & 0x3F for byte in range(256))


class PythonKernel:
    """See `Kernel`. hashlib keeps the interpreter's lock for messages as short as a node, so threads do not help."""

    name = "hashlib"
    threads_help = False

    def pad(self, data: Readable) -> bytes:
        """See `Kernel.pad`."""
        word0, word1, word2, word3 = _UNPADDED_WORDS
        out: list[bytes] = []
        for start in range(0, len(data), _BLOCK_UNPADDED):
            block = bytes(data[start : start + _BLOCK_UNPADDED])
            quads = range(0, len(block), 127)
            n = int.from_bytes(b"\0".join([block[at : at + 127] for at in quads]), "little")
            n = n & word0 | (n & word1) << 2 | (n & word2) << 4 | (n & word3) << 6
            out.append(n.to_bytes(len(quads) * 128, "little"))
        return b"".join(out)

    def unpad(self, data: Readable) -> bytes:
        """See `Kernel.unpad`."""
        word0, word1, word2, word3 = _PADDED_WORDS
        out: list[bytes] = []
        for start in range(0, len(data), _BLOCK_PADDED):
            block = data[start : start + _BLOCK_PADDED]
            n = int.from_bytes(block, "little")
            n = n & word0 | (n & word1) >> 2 | (n & word2) >> 4 | (n & word3) >> 6
            spread = n.to_bytes(len(block), "little")
            out += [spread[at : at + 127] for at in range(0, len(spread), 128)]
        return b"".join(out)

    def unpad_into(self, data: Readable, out: memoryview) -> None:
        """See `Kernel.unpad_into`."""
        made = self.unpad(data)
        out[: len(made)] = made

    def padded_root(self, padded: Readable, level: int) -> bytes:
        """See `Kernel.padded_root`."""
        if len(padded) % 128 or len(padded) > 32 << level:
            raise ValueError(f"{len(padded)} bytes are no quads of a tree of level {level}")
        if max(bytes(padded[31::32]), default=0) > 0x3F:
            raise NotFr32.within(padded)
        return self._fold(bytes(padded).rstrip(b"\0"), level)

    def payload_root(self, payload: Readable, level: int) -> bytes:
        """See `Kernel.payload_root`."""
        data = bytes(payload).rstrip(b"\0")  # zeros need not be hashed
        return self._fold(self.pad(data + bytes(-len(data) % 127)), level)

    def _fold(self, nodes: bytes, level: int) -> bytes:
        nodes += bytes(-len(nodes) % 32)
        for current in range(level):
            if not nodes:
                break
            if len(nodes) % 64:
                nodes += ZERO_ROOTS[current]
            nodes = self.nodes(nodes)
        return nodes or ZERO_ROOTS[level]

    def nodes(self, pairs: Readable) -> bytes:
        """See `Kernel.nodes`."""
        sha256 = hashlib.sha256
        # struct hands out the pairs a quarter faster than slicing does
        joined = bytearray(
            b"".join([sha256(pair).digest() for (pair,) in _PAIR.iter_unpack(pairs)])
        )
        joined[31::32] = joined[31::32].translate(_TRUNCATE)
        return bytes(joined)
