"""`pieces list|show` (`cli.piece_work` and `cli.aggregates` have the rest), `claims list|show`, `datasets list|show`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sp_plugin.cli import piece_work
from sp_plugin.cli.aggregates import add_to as add_aggregates
from sp_plugin.cli.options import ConfigOption, JsonOption, connect
from sp_plugin.cli.piece_work import Key

__all__ = ["add_to"]

pieces_app = typer.Typer(no_args_is_help=True, help="Pieces this provider holds.")
claims_app = typer.Typer(no_args_is_help=True, help="Claims of this provider.")
datasets_app = typer.Typer(no_args_is_help=True, help="Data that jobs may compute over.")

_MOST_INSIDE = 10_000
_COLUMNS = ["key", "piece_cid", "padded_size", "sector", "state", "datasets", "detail"]


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    add_aggregates(pieces_app)
    app.add_typer(datasets_app, name="datasets")
    app.add_typer(claims_app, name="claims")
    piece_work.add_to(pieces_app)
    app.add_typer(pieces_app, name="pieces")


@pieces_app.command("list")
def list_(
    inside: Annotated[
        str | None,
        typer.Option(metavar="PIECE", help="List the pieces inside this one, an aggregate."),
    ] = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """List the pieces held now, and whether their bytes were found to be right."""
    if inside is not None:
        _print_inside(inside, config, json)
        return
    columns = [*_COLUMNS[:-1], "segments", _COLUMNS[-1]]
    _print(_pieces(config), columns, "no pieces are held", json)


@pieces_app.command("show")
def show_piece(key: Key, config: ConfigOption = None, json: JsonOption = False) -> None:
    """Show a held piece, or one inside it: where it lies, whether its bytes are right, and what is in it."""
    from sp_plugin.cli.api import segment
    from sp_plugin.cli.output import print_fields, print_json

    row = connect(config).get(f"/api/v1/sp/pieces/{segment(key)}")
    (print_json if json else print_fields)(row)


def _print_inside(key: str, config: Path | None, json: bool) -> None:
    """The sub-pieces of a piece; what was refused of its index goes to standard error."""
    from sp_plugin.cli.api import segment

    answer = connect(config).get(f"/api/v1/sp/pieces/{segment(key)}/segments?limit={_MOST_INSIDE}")
    items, faults = answer["items"], answer["faults"]
    for fault in faults:
        typer.echo(f"refused: {fault}", err=True)
    if answer["segments"] is None:
        typer.echo("its index was not read yet: `sp-plugin pieces verify` reads it now", err=True)
    elif answer["segments"] > len(items):
        typer.echo(f"the first {len(items)} of {answer['segments']}", err=True)
    if answer["refused"] and answer["refused"] > len(faults):
        typer.echo(f"and {answer['refused'] - len(faults)} entries more are refused", err=True)
    columns = ["key", "piece_cid", "padded_size", "payload_size", "state", "datasets"]
    _print(items, columns, "no other pieces are in it", json)


@claims_app.command("list")
def claims(config: ConfigOption = None, json: JsonOption = False) -> None:
    """List the held pieces that have a claim."""
    rows = [row for row in _pieces(config) if row["provenance"] == "claim"]
    _print(rows, ["claim_id", "client", *_COLUMNS[1:]], "no claims", json)


@claims_app.command("show")
def show_claim(
    claim_id: Annotated[int, typer.Argument(min=0, help="The claim's ID.")],
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Show the held piece of a claim: where it lies, whether its bytes are right, and what is in it."""
    from sp_plugin.cli.output import print_fields, print_json
    from sp_plugin.errors import NotFound

    for row in _pieces(config):
        if row["claim_id"] == claim_id:
            (print_json if json else print_fields)(row)
            return
    raise NotFound("claim of this provider", claim_id)


@datasets_app.command("list")
def datasets(config: ConfigOption = None, json: JsonOption = False) -> None:
    """List the datasets and how many held pieces are in each."""
    items = _items(config, "datasets")
    rows = items if json else [item | {"pieces": len(item["pieces"])} for item in items]
    _print(rows, ["name", "licence", "steward", "consent", "pieces"], "no datasets", json)


@datasets_app.command()
def show(
    name: Annotated[str, typer.Argument(help="The dataset's name.")],
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Show one dataset and the pieces in it."""
    from sp_plugin.cli.output import print_fields, print_json
    from sp_plugin.errors import NotFound

    for item in connect(config).get("/api/v1/sp/datasets")["items"]:
        if item["name"] == name:
            (print_json if json else print_fields)(item)
            return
    raise NotFound("dataset", name)


def _pieces(config: Path | None) -> list[dict[str, Any]]:
    return _items(config, "pieces")


def _items(config: Path | None, what: str) -> list[dict[str, Any]]:
    """The list; says to standard error of which epochs it is not complete."""
    from sp_plugin.cli.output import print_gaps

    answer = connect(config).get(f"/api/v1/sp/{what}")
    print_gaps(answer["gaps"])
    items: list[dict[str, Any]] = answer["items"]
    return items


def _print(rows: list[dict[str, Any]], columns: list[str], empty: str, json: bool) -> None:
    from sp_plugin.cli.output import print_json, print_rows

    if json:
        print_json(rows)
    else:
        print_rows(rows, columns, empty)
