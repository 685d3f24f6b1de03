"""The inner loops of pieces: Fr32 and the hashing of trees, in the fastest form this machine has.

Design notes
------------
* One C file, `piece.c`, holds all native kernels: AVX-512 with 16 nodes side by side, SHA instructions of x86 and ARM with two
  messages interleaved, AVX2, the compiler's own vectors, plain C. It is an optional extension: an installation without a compiler
  succeeds, and the same C, compiled to WASM and kept in the tree, takes its place; without wasmtime, hashlib does.
* Which native kernel is best is measured, for 20 ms at the first use: newer instructions are not faster everywhere.
  `SP_PLUGIN_KERNEL=name` overrides it.
* A fallback is silent, so `commp --json` and `doctor` name the kernel in use.
* The padding block of every node is a constant, so its message schedule is too; zeros are not hashed at all.
"""

from __future__ import annotations

from deals.kernels.base import (
    SUBTREE_LEVEL,
    SUBTREE_PAYLOAD,
    Kernel,
    KernelUnavailable,
    NotFr32,
    Readable,
)
from deals.kernels.choice import all_kernels, current_kernel, kernel_named

__all__ = [
    "SUBTREE_LEVEL",
    "SUBTREE_PAYLOAD",
    "Kernel",
    "KernelUnavailable",
    "NotFr32",
    "Readable",
    "all_kernels",
    "current_kernel",
    "kernel_named",
]
