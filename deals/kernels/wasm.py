"""The same C as a WASM module, for an installation without a compiler: three to five times hashlib's speed."""

from __future__ import annotations

import atexit
import threading
from functools import cache
from importlib.resources import files
from typing import Any, Final

from deals.kernels.base import SUBTREE_LEVEL, SUBTREE_PAYLOAD, NotFr32, Readable
from deals.kernels.zeros import ZERO_ROOTS

__all__ = ["WasmKernel", "wasm_kernel"]

_VECTOR4: Final = 1  # KERNEL_VECTOR4 of `piece.c`
_NOT_FR32: Final = -2  # what `sp_padded_root` answers then
_ZEROS: Final = b"".join(ZERO_ROOTS[:18])
_ROOT: Final = 1024  # where a root is written, behind the zeros
_INPUT: Final = 4096
_OUTPUT: Final = _INPUT + (128 << 15)


class _Instance:
    """One instance of the module with its memory; not to be shared by threads."""

    def __init__(self, engine: Any, module: Any) -> None:
        import wasmtime

        self._store = wasmtime.Store(engine)
        exports = wasmtime.Linker(engine).instantiate(self._store, module).exports(self._store)
        self._exports, self._memory = exports, exports["memory"]
        self._room = int(self.call("sp_room"))
        self.write(_ZEROS, 0)

    def call(self, name: str, *arguments: int) -> Any:
        return self._exports[name](self._store, *arguments)

    def at(self, offset: int) -> int:
        return self._room + offset

    def write(self, data: Readable, offset: int) -> None:
        # wasmtime wants bytes or bytearray
        plain = data if isinstance(data, bytes | bytearray) else bytes(data)
        self._memory.write(self._store, plain, self._room + offset)

    def read(self, offset: int, size: int) -> bytes:
        start = self._room + offset
        return bytes(self._memory.read(self._store, start, start + size))


class WasmKernel:
    """See `Kernel`. Every thread has an instance of its own, and calls leave the interpreter's lock."""

    name = "wasm"
    threads_help = True

    def __init__(self) -> None:
        import wasmtime

        self._engine = wasmtime.Engine()
        code = files("deals.kernels").joinpath("piece.wasm").read_bytes()
        self._module = wasmtime.Module(self._engine, code)
        self._local = threading.local()

    def close(self) -> None:
        """Give the engine back; wasmtime cannot do that any more while the interpreter ends."""
        del self._local, self._module, self._engine

    def pad(self, data: Readable) -> bytes:
        """See `Kernel.pad`."""
        return self._quads("sp_pad", data, 127, 128)

    def unpad(self, data: Readable) -> bytes:
        """See `Kernel.unpad`."""
        return self._quads("sp_unpad", data, 128, 127)

    def unpad_into(self, data: Readable, out: memoryview) -> None:
        """See `Kernel.unpad_into`."""
        made = self.unpad(data)
        out[: len(made)] = made

    def payload_root(self, payload: Readable, level: int) -> bytes:
        """See `Kernel.payload_root`."""
        failed, root = self._root("sp_payload_root", payload, level, SUBTREE_PAYLOAD)
        if failed:
            raise ValueError(f"{len(payload)} bytes are no payload of a tree of level {level}")
        return root

    def padded_root(self, padded: Readable, level: int) -> bytes:
        """See `Kernel.padded_root`."""
        failed, root = self._root("sp_padded_root", padded, level, 32 << SUBTREE_LEVEL)
        if failed == _NOT_FR32:
            raise NotFr32.within(padded)
        if failed or len(padded) % 128:
            raise ValueError(f"{len(padded)} bytes are no quads of a tree of level {level}")
        return root

    def _root(self, name: str, data: Readable, level: int, most: int) -> tuple[int, bytes]:
        instance = self._instance()
        if len(data) <= most:
            instance.write(data, _INPUT)
        failed = instance.call(
            name,
            _VECTOR4,
            instance.at(_INPUT),
            len(data),
            level,
            instance.at(0),
            instance.at(_ROOT),
        )
        return int(failed), instance.read(_ROOT, 32)

    def nodes(self, pairs: Readable) -> bytes:
        """See `Kernel.nodes`."""
        instance, out = self._instance(), []
        view = memoryview(pairs)
        for start in range(0, len(view), 1 << 22):
            part = view[start : start + (1 << 22)]
            instance.write(part, _INPUT)
            at = instance.at(_INPUT)
            instance.call("sp_nodes", _VECTOR4, at, at, len(part) // 64)
            out.append(instance.read(_INPUT, len(part) // 2))
        return b"".join(out)

    def _quads(self, name: str, data: Readable, unit: int, made: int) -> bytes:
        instance, out = self._instance(), []
        view, step = memoryview(data), unit << 15
        for start in range(0, len(view), step):
            part = view[start : start + step]
            instance.write(part, _INPUT)
            quads = len(part) // unit
            instance.call(name, instance.at(_INPUT), instance.at(_OUTPUT), quads)
            out.append(instance.read(_OUTPUT, quads * made))
        return b"".join(out)

    def _instance(self) -> _Instance:
        found: _Instance | None = getattr(self._local, "instance", None)
        if found is None:
            found = self._local.instance = _Instance(self._engine, self._module)
        return found


@cache
def wasm_kernel() -> WasmKernel | None:
    """The kernel, compiled once; None where wasmtime does not run."""
    try:
        kernel = WasmKernel()
    except (ImportError, OSError):
        return None
    atexit.register(kernel.close)
    return kernel
