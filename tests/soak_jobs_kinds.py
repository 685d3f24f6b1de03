"""The jobs of the soak: small WASM programs, and a container, each with the one way in which it must end."""

from __future__ import annotations

import base64
import io
import shutil
import tarfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import wasmtime

from tests.integration.executors.wasm_programs import FOREVER, program

__all__ = ["KINDS", "TICKS", "Kind", "container", "import_image", "is_told_whole"]

_LINES = 40
TICKS = "".join(f"tick {number:02}\n" for number in range(_LINES))
_IMAGE = "sp-plugin-soak"

# Prints a line every ten milliseconds: `tick 00` and so on.
_TICKING = f"""
(local $i i32)
(i64.store (i32.const 1024) (i64.const 0x0a3030206b636974))
(i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 8))
(i64.store (i32.const 152) (i64.const 10000000)) (i32.store (i32.const 144) (i32.const 1))
(loop $l
  (i32.store8 (i32.const 1029) (i32.add (i32.const 48) (i32.div_u (local.get $i) (i32.const 10))))
  (i32.store8 (i32.const 1030) (i32.add (i32.const 48) (i32.rem_u (local.get $i) (i32.const 10))))
  (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
  (drop (call $poll (i32.const 128) (i32.const 192) (i32.const 1) (i32.const 256)))
  (local.set $i (i32.add (local.get $i) (i32.const 1)))
  (br_if $l (i32.lt_u (local.get $i) (i32.const {_LINES}))))
"""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a job of this kind does, how often it comes, and its state at the end unless it is stopped."""

    name: str
    weight: int
    ends: str = "Completed"
    body: str = ""
    always_stopped: bool = False
    ticks: bool = False

    def job(self, name: str) -> dict[str, Any]:
        """A job of this kind."""
        source = {"Type": "inline", "Params": {"URL": _module(self.body)}}
        task = {
            "Name": "main",
            "Engine": {"Type": "wasm", "Params": {"EntryModule": "/main.wasm"}},
            "InputSources": [{"Source": source, "Target": "/main.wasm"}],
            "Publisher": {"Type": "local"},
            "Timeouts": {"ExecutionTimeout": 60},
        }
        return {"Type": "batch", "Name": name, "Tasks": [task]}


KINDS = (
    Kind("nothing", 50),
    Kind("code", 10, body="(call $exit (i32.const 3))"),
    Kind("ticks", 20, body=_TICKING, ticks=True),
    Kind("trap", 8, ends="Failed", body="unreachable"),
    Kind("forever", 12, body=FOREVER, always_stopped=True),
)


@cache
def _module(body: str) -> str:
    code = bytes(wasmtime.wat2wasm(program(body)))
    return "data:application/wasm;base64," + base64.b64encode(code).decode()


def is_told_whole(text: str, *, completed: bool) -> bool:
    """Whether a log is what one execution after another wrote from its beginning on, the last one all of it."""
    runs = text.split("tick 00\n")[1:]
    whole = TICKS.removeprefix("tick 00\n")
    if not text.startswith("tick 00\n"):
        return not completed and TICKS.startswith(text)
    return all(whole.startswith(run) for run in runs) and (not completed or runs[-1] == whole)


def container(image: str, name: str) -> dict[str, Any]:
    """A job that prints and sleeps in a container."""
    engine = {
        "Type": "docker",
        "Params": {"Image": image, "Parameters": ["sh", "-c", "echo begun; sleep 0.3; echo done"]},
    }
    task = {"Name": "main", "Engine": engine, "Publisher": {"Type": "local"}}
    return {"Type": "batch", "Name": name, "Tasks": [task]}


def import_image(client: Any) -> str:
    """An image with nothing but a static busybox, put into an engine; its ID.

    Raises:
        FileNotFoundError: there is no static busybox here (Debian: busybox-static).
    """
    busybox = Path(shutil.which("busybox") or "/bin/busybox")
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.add(busybox, "bin/busybox")
        for name in ("sh", "echo", "sleep"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
    client.api.import_image_from_data(out.getvalue(), repository=_IMAGE, changes=["ENV PATH=/bin"])
    return str(client.images.get(_IMAGE).id)
