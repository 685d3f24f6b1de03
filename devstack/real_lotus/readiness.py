"""Whether a daemon answers yet, and with which token."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import aiohttp

from devstack.real_lotus.errors import NotReady

__all__ = ["api_info", "wait_until_answers"]

_EVERY_SECONDS: Final = 0.1
_TELL_EVERY_SECONDS: Final = 15.0
_CALL: Final = {"jsonrpc": "2.0", "id": 1, "method": "Filecoin.Version", "params": []}


async def wait_until_answers(
    name: str, port: int, still_there: Callable[[], None], tell: Callable[[str], None]
) -> None:
    """Return once the daemon answers `Version` on `/rpc/v0` of this machine; says every 15 seconds that it waits.

    `still_there` raises when waiting has become pointless.
    """
    started = told = time.monotonic()
    timeout = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        while not await _answers(session, port):
            still_there()
            await asyncio.sleep(_EVERY_SECONDS)
            if time.monotonic() - told > _TELL_EVERY_SECONDS:
                told = time.monotonic()
                tell(f"{name} does not answer yet, after {told - started:.0f} s")


async def _answers(session: aiohttp.ClientSession, port: int) -> bool:
    try:
        async with session.post(f"http://127.0.0.1:{port}/rpc/v0", json=_CALL) as response:
            answer = await response.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError, json.JSONDecodeError, UnicodeDecodeError):
        return False
    return isinstance(answer, dict) and isinstance(answer.get("result"), dict)


def api_info(repo: Path, port: int) -> str:
    """`TOKEN:/ip4/127.0.0.1/tcp/PORT/http`, with the token of the repo.

    Raises:
        NotReady: the repo has no token.
    """
    try:
        token = (repo / "token").read_text().strip()
    except OSError as error:
        raise NotReady(f"there is no token in {repo}: {error}", "") from error
    return f"{token}:/ip4/127.0.0.1/tcp/{port}/http"
