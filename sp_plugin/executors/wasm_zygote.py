"""The sidecar's end of the process that forks a child for each WASM run (`sp_plugin.wasm_runtime.zygote`).

It is started at the first run and again whenever it is gone. Its runs die with it (PR_SET_PDEATHSIG, or its own clean-up); they
end here with no status, which is a fault of the runtime and is tried again.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import weakref
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sp_plugin import wasm_runtime

__all__ = ["Ended", "Run", "Zygote", "ZygoteLost", "runtime_command", "runtime_environment"]

_MAIN: Final = Path(wasm_runtime.__file__).with_name("__main__.py")
_START_SECONDS: Final = 60.0
_KILL_SECONDS: Final = 10.0
_CHUNK: Final = 1 << 16


class ZygoteLost(Exception):
    """The process that starts runs could not be started, or is gone; the message says what is known."""


def runtime_command(*arguments: str) -> list[str]:
    """The command of one of the processes of `sp_plugin.wasm_runtime`."""
    return [sys.executable, "-I", str(_MAIN), *arguments]


def runtime_environment() -> dict[str, str]:
    """All that those processes find in their environment."""
    return {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended: its wait status, `None` if it was lost with the zygote, and the CPU seconds it took.

    `report` is what it wrote itself, unread: it may be cut short or anything. `said` is the end of the runtime's own standard error.
    """

    status: int | None
    cpu_seconds: float | None = None
    why: str = ""
    report: str = ""
    said: str = ""

    @property
    def exit_code(self) -> int | None:
        """0 to 255, negative for a signal; `None` if it was lost."""
        return None if self.status is None else os.waitstatus_to_exitcode(self.status)


class Run:
    """One child. `pid` is known once it was forked."""

    def __init__(self, number: int, loop: asyncio.AbstractEventLoop) -> None:
        self.number = number
        self.pid: int | None = None
        self.ended: asyncio.Future[Ended] = loop.create_future()


class Zygote:
    """Starts and kills runs. Belongs to the event loop that made it."""

    def __init__(self, log: Path) -> None:
        self._loop = asyncio.get_running_loop()
        self._runs: dict[int, Run] = {}
        self._last = 0
        self._rest, self._unsent = b"", b""
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._log = log
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                runtime_command("zygote", str(os.getpid())),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, bufsize=0,
                start_new_session=True, cwd=log.parent, env=runtime_environment(),
            )  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to, self._from = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._to, False)
        os.set_blocking(self._from, False)
        self._loop.add_reader(self._from, self._hear)
        self._finalizer = weakref.finalize(self, _end, self._process)

    @property
    def pid(self) -> int:
        """Its process ID."""
        return self._process.pid

    def serves(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether it is alive and belongs to this loop."""
        return self._loop is loop and self._finalizer.alive and self._process.poll() is None

    async def wait_ready(self) -> None:
        """Return once it can fork.

        Raises:
            ZygoteLost: it ended or said nothing for a minute.
        """
        try:
            async with asyncio.timeout(_START_SECONDS):
                await asyncio.shield(self._ready)
        except TimeoutError as error:
            self.close()
            message = f"the process that runs WASM programs did not start in {_START_SECONDS:g} s"
            raise ZygoteLost(message) from error

    def start(self, plan: Mapping[str, Any]) -> Run:
        """A child for a plan (`sp_plugin.wasm_runtime.guest`); its end is known from `Run.ended`."""
        self._last += 1
        run = Run(self._last, self._loop)
        self._runs[run.number] = run
        self._tell(f"run {run.number} {json.dumps(plan)}")
        return run

    def hold(self, run: Run, *, still: bool) -> None:
        """Make a run stand still (SIGSTOP), or go on. One that is killed meanwhile ends all the same."""
        self._tell(f"{'stop' if still else 'continue'} {run.number}")

    async def kill(self, run: Run) -> Ended:
        """End a run and say how it ended, which may be by itself. A zygote that does not do so is ended with all its runs."""
        if not run.ended.done():
            self._tell(f"kill {run.number}")
            try:
                async with asyncio.timeout(_KILL_SECONDS):
                    await asyncio.shield(run.ended)
            except TimeoutError:
                self._process.kill()
                self._lose()
        return run.ended.result()

    def close(self) -> None:
        """End it, and what it runs. It takes a moment at most."""
        self._lose()
        self._finalizer()

    def _tell(self, line: str) -> None:
        self._unsent += line.encode() + b"\n"
        self._send()

    def _send(self) -> None:
        try:
            while self._unsent:
                self._unsent = self._unsent[os.write(self._to, self._unsent) :]
        except BlockingIOError:
            self._loop.add_writer(self._to, self._send)
        except OSError:  # it is gone; `_hear` finds out
            self._loop.remove_writer(self._to)
        else:
            self._loop.remove_writer(self._to)

    def _hear(self) -> None:
        try:
            chunk = os.read(self._from, _CHUNK)
        except BlockingIOError:
            return
        if not chunk:
            self._lose()
            self._finalizer()
            return
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            self._take(line.decode())

    def _take(self, line: str) -> None:
        verb, *words = line.split(" ", 2)
        if verb == "ready":
            if not self._ready.done():
                self._ready.set_result(None)
        elif verb == "started":
            if run := self._runs.get(int(words[0])):
                run.pid = int(words[1])
        elif run := self._runs.pop(int(words[0]), None):
            if verb == "ended":
                status, milliseconds, said, report = words[1].split(" ", 3)
                ended = Ended(
                    int(status),
                    int(milliseconds) / 1000,
                    report=report,
                    said="" if said == "-" else bytes.fromhex(said).decode("utf-8", "replace"),
                )
            else:
                ended = Ended(None, why=" ".join(words[1:]))
            if not run.ended.done():
                run.ended.set_result(ended)

    def _lose(self) -> None:
        """Nothing more is coming."""
        with suppress(RuntimeError):  # a loop that was closed before us has forgotten both
            self._loop.remove_reader(self._from)
            self._loop.remove_writer(self._to)
        said = (
            self._log.read_bytes()[-1000:].decode("utf-8", "replace") if self._log.exists() else ""
        )
        why = "the process that runs WASM programs ended" + (f": {said.strip()}" if said else "")
        if not self._loop.is_closed():
            if not self._ready.done():
                self._ready.set_exception(ZygoteLost(why))
                self._ready.exception()  # looked at, whether or not somebody waits
            for run in self._runs.values():
                if not run.ended.done():
                    run.ended.set_result(Ended(None, why=why))
        self._runs.clear()


def _end(process: subprocess.Popen[bytes]) -> None:
    """The end of its input ends it; it kills what it runs first."""
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(OSError):
        process.stdin.close()
    try:
        process.wait(2)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()
