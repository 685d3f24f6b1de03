"""`config check|print|default` and `init`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sp_plugin.cli.options import ConfigOption, JsonOption, config_path, load

if TYPE_CHECKING:
    from sp_plugin.config import HostRole

__all__ = ["add_to"]

config_app = typer.Typer(no_args_is_help=True, help="The configuration file.")


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("init")(init)
    app.add_typer(config_app, name="config")


@config_app.command()
def check(config: ConfigOption = None, json: JsonOption = False) -> None:
    """Check the configuration and show every problem with its line."""
    from sp_plugin.cli.output import print_json
    from sp_plugin.config.notes import config_notes
    from sp_plugin.errors import ConfigError, ExitCode

    try:
        loaded = load(config)
    except ConfigError as error:
        if not json:
            raise
        problems = [{"where": item.where, "message": item.message} for item in error.problems]
        print_json({"ok": False, "problems": problems})
        raise typer.Exit(ExitCode.BAD_INPUT) from error
    notes = config_notes(loaded)
    if json:
        print_json({"ok": True, "problems": [], "notes": list(notes)})
        return
    for note in notes:
        typer.echo(f"note: {note}")
    typer.echo(f"{config_path(config)}: ok")


@config_app.command("print")
def print_(config: ConfigOption = None, json: JsonOption = False) -> None:
    """Print the configuration in force: file, environment and defaults. Secrets are shown as ***."""
    import yaml

    from sp_plugin.cli.output import print_json
    from sp_plugin.config.example import plain_values

    values: dict[str, Any] = plain_values(load(config))
    if json:
        print_json(values)
    else:
        typer.echo(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), nl=False)


@config_app.command()
def default() -> None:
    """Print a configuration with every key, its default and the reason it exists."""
    from sp_plugin.config.example import example_config

    typer.echo(example_config(), nl=False)


def init(
    actor: Annotated[str, typer.Option(help="Your miner actor, e.g. f01234.")],
    data_dir: Annotated[
        Path, typer.Option(help="Where the sidecar keeps its database and results.")
    ],
    network: Annotated[str, typer.Option(help="The network's name.")] = "mainnet",
    endpoint: Annotated[
        str, typer.Option(help="The Lotus node: multiaddr or URL.")
    ] = "/ip4/127.0.0.1/tcp/1234/http",
    token_file: Annotated[
        Path | None, typer.Option(help="File with a token of the node, mode 600.")
    ] = None,
    storage_path: Annotated[
        list[Path] | None,
        typer.Option(help="Directory that holds `unsealed/`; repeat it for several."),
    ] = None,
    host_role: Annotated[
        str | None,
        typer.Option(
            help="What else this host does: prover, sealer, storage or compute. Asked for on a terminal."
        ),
    ] = None,
    path: Annotated[Path, typer.Argument(help="The file to write.")] = Path("sp-plugin.yaml"),
) -> None:
    """Write a first configuration. It computes over nothing and pays nothing until you say so."""
    from sp_plugin.config import parse_config
    from sp_plugin.config.example import first_config
    from sp_plugin.errors import Conflict

    text = first_config(
        actor=actor,
        data_dir=str(data_dir.absolute()),
        network=network,
        endpoint=endpoint,
        token_file=None if token_file is None else str(token_file.absolute()),
        storage_paths=[str(item.absolute()) for item in storage_path or ()],
        host_role=_role(host_role),
    )
    parse_config(text, "what you gave")
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise Conflict(f"{path} is there already; it was not changed") from error
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    typer.echo(f"wrote {path}; next: edit it, then: sp-plugin doctor --config {path}")


def _role(given: str | None) -> HostRole | None:
    """The role that was given, or is answered on a terminal; None elsewhere, which is taken for a prover."""
    from sp_plugin.config import HostRole
    from sp_plugin.errors import BadInput

    if given is None and sys.stdin.isatty():
        typer.echo(
            "What else does this host do for the provider?\n"
            "  prover   it computes WindowPoSts; jobs stand still while proofs are due\n"
            "  sealer   it seals sectors\n"
            "  storage  it holds sectors\n"
            "  compute  nothing"
        )
        given = typer.prompt("guard.host_role", default=HostRole.PROVER.value)
    if given is None:
        return None
    try:
        return HostRole(given)
    except ValueError as error:
        known = ", ".join(HostRole)
        raise BadInput(
            f"{given!r} is no role; it is one of {known}", field="--host-role"
        ) from error
