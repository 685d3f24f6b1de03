"""`devstack fork | adopt | set-head | partition | heal`: other chains, and networks that are split."""

from __future__ import annotations

from typing import Annotated

import typer

from devstack.cli_ask import EXIT_BAD_INPUT, DataDir, Json, ask, fail, show

__all__ = ["register"]

Cids = Annotated[list[str], typer.Argument(help="The tipset's block CIDs.")]


def register(app: typer.Typer) -> None:
    """Add these commands to the app."""
    for command in (fork, adopt, set_head, partition, heal):
        app.command()(command)


def fork(
    depth: Annotated[int, typer.Option(min=1, help="Tipsets below the head where it begins.")],
    length: Annotated[int, typer.Option(min=1, help="Tipsets to mine on it.")] = 1,
    null_rounds: Annotated[int, typer.Option(min=0, help="Empty epochs at its start.")] = 0,
    data_dir: DataDir = None,
    *,
    reinclude: Annotated[
        bool, typer.Option("--reinclude", help="It includes the messages of the other side.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Mine a side chain; the head stays. Prints the CIDs of its last tipset, for `adopt`."""
    body = {"depth": depth, "length": length, "null_rounds": null_rounds, "reinclude": reinclude}
    answer = ask("fork", body, data_dir)
    show(answer, " ".join(answer["tipset"]), as_json)


def adopt(
    tipset: Cids,
    grow: Annotated[int, typer.Option(min=0, help="Tipsets to mine on it first.")] = 0,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Offer a side chain to the node, which takes it if it is heavier."""
    answer = ask("adopt", {"tipset": tipset, "grow": grow}, data_dir)
    show(answer, _moved(answer), as_json)


def set_head(tipset: Cids, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Make a known tipset the head, heavier or not."""
    answer = ask("set-head", {"tipset": tipset}, data_dir)
    show(answer, _moved(answer), as_json)


def partition(
    groups: Annotated[list[str], typer.Argument(help="Nodes that reach each other: 0 1,2")],
    shares: Annotated[
        str | None, typer.Option(help="Mining power of each group, e.g. 2,1; default: equal.")
    ] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Split the network between the nodes; each side goes on mining."""
    body: dict[str, object] = {"groups": [_numbers(group) for group in groups]}
    if shares is not None:
        body["shares"] = _numbers(shares)
    answer = ask("partition", body, data_dir)
    show(answer, f"groups: {answer['groups']}", as_json)


def heal(data_dir: DataDir = None, as_json: Json = False) -> None:
    """Join the network; every node takes the heaviest chain."""
    answer = ask("heal", {}, data_dir)
    text = f"head is at epoch {answer['height']}"
    if answer["refused"]:
        text += (
            f"; nodes {answer['refused']} refuse it: the fork begins below what is final for them"
        )
    show(answer, text, as_json)


def _moved(answer: dict[str, object]) -> str:
    return f"reverted {answer['reverted']}, applied {answer['applied']}, head is at epoch {answer['height']}"


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        fail(f"whole numbers with commas between, got {text!r}", EXIT_BAD_INPUT)
