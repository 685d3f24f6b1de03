"""Options that many commands share, and how they find the configuration and the running sidecar."""

from __future__ import annotations

import os
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

if TYPE_CHECKING:  # the config costs a fifth of a second to import: only when a command needs it
    from sp_plugin.cli.api import Api
    from sp_plugin.config import Config

__all__ = [
    "API_TOKEN_FILE",
    "API_URL_FILE",
    "ConfigOption",
    "JsonOption",
    "connect",
    "load",
    "run_async",
]

API_TOKEN_FILE: Final = "api-token"  # noqa: S105  a file's name, in data_dir
API_URL_FILE: Final = "api-url"  # where the running sidecar listens, in data_dir

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        envvar="SP_PLUGIN_CONFIG",
        show_default=False,
        help="The configuration; else ./sp-plugin.yaml, ~/.config/sp-plugin/config.yaml, /etc/sp-plugin/config.yaml",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]

T = TypeVar("T")


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine, in an event loop of its own."""
    import asyncio

    return asyncio.run(work)


def config_path(given: Path | None) -> Path:
    """The configuration file to use: the given one, or the first usual place that has one."""
    places = [
        Path("sp-plugin.yaml"),
        Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
        / "sp-plugin/config.yaml",
        Path("/etc/sp-plugin/config.yaml"),
    ]
    return given or next((place for place in places if place.is_file()), places[0])


def load(given: Path | None) -> Config:
    """The configuration.

    Raises:
        ConfigError: it is missing or wrong.
    """
    from sp_plugin.config import load_config

    return load_config(config_path(given))


def connect(given: Path | None) -> Api:
    """The running sidecar: `$SP_PLUGIN_URL` and `$SP_PLUGIN_TOKEN`, or what the configuration's data_dir says.

    Raises:
        ConfigError: neither says where it is.
    """
    from lotus_client.secrets import Secret
    from sp_plugin.cli.api import Api
    from sp_plugin.config.fields import SecretFile

    url, token = os.environ.get("SP_PLUGIN_URL"), os.environ.get("SP_PLUGIN_TOKEN")
    if url is None:
        config = load(given)
        written = config.data_dir / API_URL_FILE
        url = (
            written.read_text().strip()
            if written.is_file()
            else f"http://{config.http.host}:{config.http.port}"
        )
        file = SecretFile(config.data_dir / API_TOKEN_FILE)
        if token is None and file.problem() is None:
            return Api(url, file.read())
    return Api(url, Secret(token) if token else None)
