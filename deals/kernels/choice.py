"""Which kernel to use: the one that is named, else the fastest by a short measurement."""

from __future__ import annotations

import os
import time
from functools import cache
from typing import Final

from deals.kernels.base import Kernel, KernelUnavailable
from deals.kernels.native import native_kernels
from deals.kernels.pure import PythonKernel
from deals.kernels.wasm import wasm_kernel

__all__ = ["all_kernels", "current_kernel", "kernel_named"]

_VARIABLE: Final = "SP_PLUGIN_KERNEL"
_SAMPLE: Final = bytes(range(256)) * 64 * 4  # 1,024 nodes
_SECONDS: Final = 0.004  # for each native kernel


def all_kernels() -> tuple[Kernel, ...]:
    """Every kernel that works here, the fallbacks last."""
    wasm = wasm_kernel()
    return (*native_kernels(), *([] if wasm is None else [wasm]), PythonKernel())


def kernel_named(name: str) -> Kernel:
    """The kernel of that name.

    Raises:
        KernelUnavailable: there is none here.
    """
    known = {kernel.name: kernel for kernel in all_kernels()}
    try:
        return known[name]
    except KeyError:
        raise KernelUnavailable(
            f"there is no kernel {name!r} on this machine; there are: {', '.join(known)}"
        ) from None


@cache
def current_kernel() -> Kernel:
    """What Fr32 and CommP use in this process.

    Raises:
        KernelUnavailable: `SP_PLUGIN_KERNEL` names one that is not there.
    """
    if named := os.environ.get(_VARIABLE):
        return kernel_named(named)
    native = native_kernels()
    if native:
        return max(native, key=_rate)
    return wasm_kernel() or PythonKernel()


def _rate(kernel: Kernel) -> float:
    """Nodes a second, the best of several short rounds: a busy machine only ever slows a round down."""
    best, started = 0.0, time.perf_counter()
    while True:
        before = time.perf_counter()
        kernel.nodes(_SAMPLE)
        now = time.perf_counter()
        best = max(best, 1 / (now - before))
        if now - started > _SECONDS:
            return best
