"""`run`: the sidecar itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from sp_plugin.cli.options import ConfigOption, load, run_async

if TYPE_CHECKING:
    from sp_plugin.config import Config

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add this command."""
    app.command("run")(run)


def run(config: ConfigOption = None) -> None:
    """Run the sidecar until it is told to stop (SIGINT, SIGTERM)."""
    from sp_plugin.logs import configure_logs

    loaded = load(config)
    configure_logs(loaded.log.level, loaded.log.format)
    run_async(_serve(loaded))


async def _serve(config: Config) -> None:
    import asyncio
    import signal

    from sp_plugin.opening import open_sidecar

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with open_sidecar(config) as sidecar:
        await sidecar.run_until(stop)
