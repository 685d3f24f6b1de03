"""How programs are compiled and run: the two sets of wasmtime settings. Code of one cannot be loaded by the other."""

from __future__ import annotations

from typing import Final

from wasmtime import Config, Engine

__all__ = ["FLAVOURS", "FUELLED", "PLAIN", "make_engine"]

PLAIN: Final = "plain"
# Counts instructions, and makes what WebAssembly leaves open (bits of NaN, relaxed SIMD) the same everywhere.
FUELLED: Final = "fuelled"
FLAVOURS: Final = (PLAIN, FUELLED)


def make_engine(flavour: str) -> Engine:
    """A fresh engine of that flavour."""
    config = Config()
    config.wasm_component_model = True
    config.shared_memory = False  # a shared memory is outside the store's limits
    if flavour == FUELLED:
        config.consume_fuel = True
        config.cranelift_nan_canonicalization = True
        config.wasm_relaxed_simd_deterministic = True
    return Engine(config)
