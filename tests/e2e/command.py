"""`sp-plugin` commands as processes of their own."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping

from devstack.demo.sidecar import CommandResult

__all__ = ["run_command"]


async def run_command(*words: str, environment: Mapping[str, str] | None = None) -> CommandResult:
    """What a command that ends by itself left behind; killed after a minute."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sp_plugin", *words,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE, env={**os.environ, **(environment or {})},
    )  # fmt: skip
    try:
        async with asyncio.timeout(60):
            stdout, stderr = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    assert process.returncode is not None
    return CommandResult(process.returncode, stdout.decode(), stderr.decode())
