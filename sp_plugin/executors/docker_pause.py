"""Making a container stand still, by the engine's pause: the cgroup's freezer, which no program in it can withstand."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from docker.errors import APIError

from sp_plugin.executors.pause import Pause

__all__ = ["bring_to"]


async def bring_to(pause: Pause, container: Any, state: Mapping[str, Any]) -> None:
    """Pause or unpause a running container as `pause` is; `state` is the engine's word on it.

    Compared with the engine at every look, so that a container of a sidecar that was killed meanwhile goes on too.
    """
    if bool(state.get("Paused")) is pause.is_on:
        return
    act = container.pause if pause.is_on else container.unpause
    with suppress(
        APIError
    ):  # it ended a moment ago, or somebody else was faster: the next look tells
        await asyncio.to_thread(act)
