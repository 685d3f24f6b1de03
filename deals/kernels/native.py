"""The kernels of `piece.c`, compiled at installation where there was a compiler, and loaded without Python's ABI."""

from __future__ import annotations

import ctypes
import importlib.util
from functools import cache
from typing import Any, Final

from deals.kernels.base import NotFr32, Readable
from deals.kernels.zeros import ZERO_ROOTS

__all__ = ["NATIVE_NAMES", "NativeKernel", "native_kernels"]

# by the numbers of `piece.c`
NATIVE_NAMES: Final = ("portable", "vector4", "avx2", "sha-ni", "avx512", "armv8")

_NOT_FR32: Final = -2  # what `sp_padded_root` answers then
_ZEROS: Final = b"".join(ZERO_ROOTS[:18])


class NativeKernel:
    """See `Kernel`. The interpreter's lock is free during calls."""

    threads_help = True

    def __init__(self, library: ctypes.CDLL, number: int) -> None:
        self.name = NATIVE_NAMES[number]
        self._library = library
        self._number = number

    def pad(self, data: Readable) -> bytes:
        """See `Kernel.pad`."""
        quads = len(data) // 127
        # filled in place while nobody else has it: a buffer to copy from would cost more than the padding
        out = bytes(128 * quads)
        self._library.sp_pad(_pointer(data), out, quads)
        return out

    def unpad(self, data: Readable) -> bytes:
        """See `Kernel.unpad`."""
        quads = len(data) // 128
        out = bytes(127 * quads)
        self._library.sp_unpad(_pointer(data), out, quads)
        return out

    def unpad_into(self, data: Readable, out: memoryview) -> None:
        """See `Kernel.unpad_into`."""
        quads = len(data) // 128
        if len(out) < 127 * quads:
            raise ValueError(f"{len(out)} bytes have no room for {127 * quads}")
        self._library.sp_unpad(_pointer(data), _pointer(out), quads)

    def payload_root(self, payload: Readable, level: int) -> bytes:
        """See `Kernel.payload_root`."""
        root = ctypes.create_string_buffer(32)
        failed = self._library.sp_payload_root(
            self._number, _pointer(payload), len(payload), level, _ZEROS, root
        )
        if failed:
            raise ValueError(f"{len(payload)} bytes are no payload of a tree of level {level}")
        return root.raw

    def padded_root(self, padded: Readable, level: int) -> bytes:
        """See `Kernel.padded_root`."""
        root = ctypes.create_string_buffer(32)
        failed = self._library.sp_padded_root(
            self._number, _pointer(padded), len(padded), level, _ZEROS, root
        )
        if failed == _NOT_FR32:
            raise NotFr32.within(padded)
        if failed or len(padded) % 128:
            raise ValueError(f"{len(padded)} bytes are no quads of a tree of level {level}")
        return root.raw

    def nodes(self, pairs: Readable) -> bytes:
        """See `Kernel.nodes`."""
        count = len(pairs) // 64
        out = ctypes.create_string_buffer(32 * count)
        self._library.sp_nodes(self._number, _pointer(pairs), out, count)
        return out.raw


@cache
def native_kernels() -> tuple[NativeKernel, ...]:
    """Those that this processor runs; none where the extension was not built."""
    library = _library()
    if library is None:
        return ()
    numbers = range(len(NATIVE_NAMES))
    return tuple(NativeKernel(library, one) for one in numbers if library.sp_has_kernel(one))


def _library() -> ctypes.CDLL | None:
    found = importlib.util.find_spec("deals.kernels._piece")
    if found is None or found.origin is None:
        return None
    try:
        library = ctypes.CDLL(found.origin)
    except OSError:  # built for another machine: as good as not built
        return None
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    library.sp_pad.argtypes = library.sp_unpad.argtypes = [pointer, pointer, size]
    library.sp_pad.restype = library.sp_unpad.restype = None
    library.sp_nodes.argtypes = [ctypes.c_int, pointer, pointer, size]
    if not hasattr(library, "sp_padded_root"):  # left over from an older build of the package
        return None
    library.sp_payload_root.argtypes = library.sp_padded_root.argtypes = [
        ctypes.c_int, pointer, size, ctypes.c_int, pointer, pointer,
    ]  # fmt: skip
    return library


def _pointer(data: Readable) -> Any:
    """Something ctypes takes as a pointer, without a copy where that can be had."""
    if isinstance(data, bytes):
        return data
    view = memoryview(data)
    if view.readonly or not view.contiguous:
        return view.tobytes()
    return (ctypes.c_char * view.nbytes).from_buffer(view)
