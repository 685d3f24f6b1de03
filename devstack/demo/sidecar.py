"""The sidecar as a process of its own, and its commands."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

__all__ = ["CommandFailed", "CommandResult", "SidecarProcess"]

_READY_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.1


class CommandFailed(RuntimeError):
    """A command that should have worked did not; the message has what it wrote to stderr."""


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a command left behind."""

    exit_code: int
    stdout: str
    stderr: str


class SidecarProcess:
    """`sp-plugin run` with one configuration; it can be stopped, killed and started again."""

    def __init__(
        self, config: Path, data_dir: Path, log: Path, program: Sequence[str] = ()
    ) -> None:
        """`program` replaces `python -m sp_plugin` for the running sidecar (tests wrap it)."""
        self.config = config
        self.data_dir = data_dir
        self.log = log
        self._program = tuple(program) or (sys.executable, "-m", "sp_plugin")
        self._process: asyncio.subprocess.Process | None = None
        self._http: aiohttp.ClientSession | None = None

    @property
    def is_running(self) -> bool:
        """Whether the process has been started and has not ended."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        """The process ID of the one started last."""
        assert self._process is not None
        return self._process.pid

    @property
    def url(self) -> str:
        """Where its API listens, as it wrote it into its data directory."""
        return (self.data_dir / "api-url").read_text().strip()

    async def start(self) -> None:
        """Start it and wait until every part of it is ready.

        Raises:
            CommandFailed: it ended, or is not ready after half a minute; with the end of its log.
        """
        (self.data_dir / "api-url").unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._program, "run", "--config", str(self.config),
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + _READY_SECONDS
        while not await self._is_ready():
            if self._process.returncode is not None or time.monotonic() > deadline:
                raise CommandFailed(f"the sidecar did not get ready:\n{self.tail()}")
            await asyncio.sleep(_POLL_SECONDS)

    async def ended(self) -> int:
        """Wait until the process has ended; its return code (negative: the signal)."""
        assert self._process is not None
        return await self._process.wait()

    async def stop(self) -> None:
        """Ask it to stop; kill it when it does not."""
        if self.is_running:
            assert self._process is not None
            self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), _STOP_SECONDS)
            except TimeoutError:
                await self.kill()
        await self._close_http()

    async def kill(self) -> None:
        """End it at once, as `kill -9` does."""
        if self.is_running:
            assert self._process is not None
            self._process.kill()
            await self._process.wait()
        await self._close_http()

    async def get(self, path: str, **query: str) -> Any:
        """The JSON of an API route, asked with the operator's token."""
        if self._http is None:
            token = (self.data_dir / "api-token").read_text().strip()
            self._http = aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"})
        async with self._http.get(self.url + path, params=query) as response:
            if response.status >= 400:
                raise CommandFailed(f"GET {path}: {response.status} {await response.text()}")
            return await response.json()

    async def run(self, *words: str) -> CommandResult:
        """Run an `sp-plugin` command against this sidecar, whatever its exit code."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "sp_plugin", *words,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE, env={**os.environ, "SP_PLUGIN_CONFIG": str(self.config)},
        )  # fmt: skip
        stdout, stderr = await process.communicate()
        code = process.returncode
        assert code is not None
        return CommandResult(code, stdout.decode(), stderr.decode())

    async def json(self, *words: str) -> Any:
        """What an `sp-plugin … --json` command printed.

        Raises:
            CommandFailed: its exit code is not 0.
        """
        result = await self.run(*words, "--json")
        if result.exit_code:
            raise CommandFailed(
                f"sp-plugin {' '.join(words)} ended with {result.exit_code}: {result.stderr.strip()}"
            )
        return json.loads(result.stdout)

    def tail(self, lines: int = 30) -> str:
        """The end of the sidecar's log."""
        with suppress(OSError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        return ""

    async def _is_ready(self) -> bool:
        with suppress(OSError, aiohttp.ClientError):
            async with aiohttp.ClientSession() as http:
                async with http.get(f"{self.url}/health/readyz") as response:
                    return response.status == 200
        return False

    async def _close_http(self) -> None:
        if self._http is not None:
            await self._http.close()
            self._http = None
