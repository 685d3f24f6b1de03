"""Compiling one program, in a process of its own: it reads a plan from standard input and reports on standard output.

The plan (JSON): module, sha256, flavour, target (path of the product), memory_bytes, cpu_seconds, parent. The report (JSON):
`kind` (an OutcomeKind, or `compiled`), `message`, and of a compiled program `form` (`module` or `component`), `sha256` of the
product, `imports` (for each module it wants the first name wanted of it) and `exports`.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

from wasmtime import Module, WasmtimeError
from wasmtime.component import Component

from sp_plugin.wasm_runtime.engines import make_engine
from sp_plugin.wasm_runtime.sandbox import die_with, step_back
from sp_plugin.wasm_runtime.streams import write_all

__all__ = ["main"]

# The first eight bytes: magic, version, layer. Source: the component model's binary format, `Binary.md`.
_COMPONENT = b"\0asm\x0d\0\x01\0"


def main() -> None:
    """Compile what the plan names."""
    plan = json.load(sys.stdin.buffer)
    die_with(plan["parent"])
    step_back()
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    seconds = plan["cpu_seconds"]
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_DATA, (plan["memory_bytes"], plan["memory_bytes"]))
    write_all(1, json.dumps(_compile(plan)).encode())


def _compile(plan: dict[str, Any]) -> dict[str, Any]:
    try:
        code = Path(plan["module"]).read_bytes()
    except OSError as error:
        return _refused("input_missing", f"the module cannot be read: {error}")
    if hashlib.sha256(code).hexdigest() != plan["sha256"]:
        return _refused("input_missing", "the module's bytes are not those of the job (SHA-256)")
    engine = make_engine(plan["flavour"])
    compiled: Module | Component
    try:
        if code.startswith(_COMPONENT):
            compiled = Component(engine, code)
            shape = compiled.type
            report = {
                "form": "component",
                "imports": dict.fromkeys(sorted(shape.imports(engine)), ""),
                "exports": sorted(shape.exports(engine)),
            }
        else:
            compiled = Module(engine, code)
            report = {
                "form": "module",
                "imports": {item.module: item.name or "" for item in reversed(compiled.imports)},
                "exports": [item.name for item in compiled.exports][:1000],
            }
    except WasmtimeError as error:
        reason = " | ".join(str(error).strip().splitlines())[:1000]
        return _refused("invalid_program", f"not a WASM module that can run here: {reason}")
    except MemoryError:
        return _refused("out_of_memory", "compiling the module takes too much memory")
    product = bytes(compiled.serialize())
    Path(plan["target"]).write_bytes(product)
    digest = hashlib.sha256(product).hexdigest()
    return report | {"kind": "compiled", "message": "", "sha256": digest}


def _refused(kind: str, message: str) -> dict[str, Any]:
    return {"kind": kind, "message": message}
