"""The running sidecar: node, store, periodic steps and HTTP API, wired once and stopped in order."""

from __future__ import annotations

import asyncio

from sp_plugin.config import Config

__all__ = ["Sidecar"]


class Sidecar:
    """One sidecar. `async with Sidecar(config) as sidecar: await sidecar.run_until(stop)`."""

    def __init__(self, config: Config) -> None:
        self.config = config

    async def run_until(self, stop: asyncio.Event) -> None:
        """Serve and step until `stop` is set; then finish the rounds under way and close everything."""
        await stop.wait()
