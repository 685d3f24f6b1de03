"""Programs run with their output in a log file: to their end, or as daemons that are stopped later."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from devstack.real_lotus.errors import NotReady, StepFailed

__all__ = ["Daemon", "log_tail", "run_to_end"]

_TAIL_BYTES: Final = 4096
_TAIL_LINES: Final = 15


def log_tail(log: Path) -> str:
    """The last lines of a log, with where the rest is."""
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(file.tell() - _TAIL_BYTES, 0))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    lines = text.splitlines()[-_TAIL_LINES:]
    return "\n".join([*(f"  | {line}" for line in lines), f"  the whole log: {log}"])


async def run_to_end(
    step: str, command: Sequence[str], environment: Mapping[str, str], log: Path
) -> str:
    """What the program printed on its standard output; everything goes into the log as well.

    It is killed when the caller is cancelled.

    Raises:
        StepFailed: it cannot be started, or ended with another code than 0.
    """
    with log.open("ab") as sink:
        sink.write(f"$ {' '.join(command)}\n".encode())
        sink.flush()
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=sink,
                env={**os.environ, **environment},
                start_new_session=True,  # Ctrl-C is for us, who stop things in order
            )
        except OSError as error:
            raise StepFailed(step, f"cannot start {command[0]}: {error}", "") from error
        try:
            output, _ = await process.communicate()
        except asyncio.CancelledError:
            _signal(process, signal.SIGKILL)
            await process.wait()
            raise
        sink.write(output)
    if process.returncode:
        raise StepFailed(step, f"{command[0]} ended with code {process.returncode}", log_tail(log))
    return output.decode(errors="replace")


class Daemon:
    """A program that runs until it is stopped."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process

    @classmethod
    async def start(
        cls, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> Daemon:
        """Start it; its output is appended to the log.

        Raises:
            StepFailed: it cannot be started.
        """
        with log.open("ab") as sink:
            sink.write(f"$ {' '.join(command)}\n".encode())
            sink.flush()
            try:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=sink,
                    stderr=sink,
                    env={**os.environ, **environment},
                    start_new_session=True,
                )
            except OSError as error:
                raise StepFailed(name, f"cannot start {command[0]}: {error}", "") from error
        return cls(name, process, log)

    def check(self) -> None:
        """Raise `NotReady` if it has ended."""
        if self._process.returncode is not None:
            code = self._process.returncode
            raise NotReady(f"{self.name} ended with code {code}", log_tail(self.log))

    async def wait(self) -> None:
        """Until it ends by itself."""
        await self._process.wait()

    async def stop(self, patience_seconds: float, number: signal.Signals = signal.SIGTERM) -> None:
        """Ask it to end, and end it and its children when it does not within that time."""
        if self._process.returncode is not None:
            return
        _signal(self._process, number)
        try:
            async with asyncio.timeout(patience_seconds):
                await self._process.wait()
        except TimeoutError:
            _signal(self._process, signal.SIGKILL)
            await self._process.wait()


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
