"""`token create|list|remove`: who may call the sidecar's API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sp_plugin.cli.options import ConfigOption, JsonOption, load, run_async

if TYPE_CHECKING:
    from sp_plugin.store.tokens import TokenRepository

__all__ = ["add_to"]

token_app = typer.Typer(no_args_is_help=True, help="Tokens for the sidecar's HTTP API.")


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(token_app, name="token")


@token_app.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose it is; a token of that name is replaced.")],
    scope: Annotated[list[str], typer.Option(help="read, submit, approve or operate; repeat it.")],
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Make a token and print it. It cannot be shown again."""
    import time

    from sp_plugin.cli.output import print_json
    from sp_plugin.config import Scope
    from sp_plugin.errors import BadInput

    if unknown := [given for given in scope if given not in list(Scope)]:
        raise BadInput(f"{unknown[0]!r} is not one of {', '.join(Scope)}", field="--scope")
    if not 0 < len(name) <= 100:
        raise BadInput("1 to 100 characters", field="name")

    async def work() -> str:
        async with _tokens(config) as tokens:
            return (await tokens.create(name, map(Scope, scope), time.time_ns())).reveal()

    token = run_async(work())
    if json:
        print_json({"name": name, "scopes": sorted(set(scope)), "token": token})
    else:
        typer.echo(token)


@token_app.command("list")
def list_(config: ConfigOption = None, json: JsonOption = False) -> None:
    """List tokens by name, without their secrets."""
    from sp_plugin.cli.output import print_json, print_rows

    async def work() -> list[dict[str, Any]]:
        async with _tokens(config) as tokens:
            return [
                {"name": record.name, "scopes": sorted(record.scopes)}
                for record in await tokens.list()
            ]

    rows = run_async(work())
    if json:
        print_json(rows)
    else:
        print_rows(rows, ["name", "scopes"], "no tokens")


@token_app.command()
def remove(
    name: Annotated[str, typer.Argument(help="Whose.")], config: ConfigOption = None
) -> None:
    """Make a token stop working at once."""
    from sp_plugin.errors import NotFound

    async def work() -> bool:
        async with _tokens(config) as tokens:
            return await tokens.remove(name)

    if not run_async(work()):
        raise NotFound("token", name)


@asynccontextmanager
async def _tokens(config: Path | None) -> AsyncIterator[TokenRepository]:
    from sp_plugin.store.migrate import open_store
    from sp_plugin.store.tokens import TokenRepository

    loaded = load(config)
    loaded.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    store = await open_store(loaded.database_url)
    try:
        yield TokenRepository(store)
    finally:
        await store.close()
