"""`devstack fault …` and `devstack sector …`: what goes wrong on a running devnet."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from devstack.cli_ask import EXIT_BAD_INPUT, DataDir, Json, ask, fail, show

__all__ = ["app", "sector_app"]

app = typer.Typer(
    help="Let the devnet's nodes answer wrongly, late or not at all, as real ones do now and then.",
    no_args_is_help=True,
)
sector_app = typer.Typer(
    help="Sectors that go wrong, by real messages of their provider.", no_args_is_help=True
)

Sectors = Annotated[list[int], typer.Argument(min=0, help="Sector numbers.")]
Miner = Annotated[int, typer.Option(min=0, help="The provider, counted from 0.")]


@app.command()
def kinds() -> None:
    """List the kinds of faults and their parameters."""
    from devstack.faults.kinds import KINDS

    for kind, spec in KINDS.items():
        numbers = [f"{name}={default}" for name, (default, _, _) in spec.numbers.items()]
        parameters = ", ".join([*numbers, *(f"{name}=…" for name in spec.texts)])
        typer.echo(f"{kind:<18}{spec.what}{f' ({parameters})' if parameters else ''}")


@app.command()
def add(
    kind: Annotated[str, typer.Argument(help="See `fault kinds`.")],
    settings: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME=VALUE]...", help="The kind's parameters.")
    ] = None,
    *,
    endpoint: Annotated[str, typer.Option(help="Pattern: node, node1, gateway, miner…")] = "*",
    method: Annotated[str, typer.Option(help="Pattern of methods, e.g. 'Mpool*'.")] = "*",
    skip: Annotated[int, typer.Option(min=0, help="Matching calls to let pass first.")] = 0,
    probability: Annotated[
        float, typer.Option(min=0, max=1, help="That a matching call is struck.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Decides which calls.")] = 0,
    count: Annotated[int, typer.Option(min=0, help="Over after so many strikes; 0: never.")] = 0,
    calls: Annotated[
        int, typer.Option(min=0, help="Over after so many matching calls; 0: never.")
    ] = 0,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Put a fault in force: `fault add latency ms=500 --method 'State*' --count 3`."""
    scope = {
        "endpoint": endpoint, "method": method, "skip": skip, "probability": probability,
        "seed": seed, "count": count, "calls": calls,
    }  # fmt: skip
    body = {"kind": kind, "scope": scope, "params": dict(map(_setting, settings or []))}
    answer = ask("fault-add", body, data_dir)
    show(answer, f"fault {answer['id']}: {answer['kind']}", as_json)


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        fail(f"a parameter is NAME=VALUE, got {text!r}", EXIT_BAD_INPUT)
    return name, int(value) if value.lstrip("-").isdecimal() else value


@app.command("list")
def list_(data_dir: DataDir = None, as_json: Json = False) -> None:
    """List the faults in force and how often they matched and struck."""
    answer = ask("fault-list", {}, data_dir)
    lines = [
        f"{one['id']:>4}  {one['kind']:<18}{one['scope']['endpoint']} {one['scope']['method']}"
        f"  struck {one['struck']} of {one['seen']} calls"
        for one in answer["faults"]
    ]
    show(answer, "\n".join(lines) or "no faults", as_json)


@app.command()
def clear(
    number: Annotated[int | None, typer.Argument(min=1, help="Default: all of them.")] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """End one fault, or all of them."""
    answer = ask("fault-clear", {} if number is None else {"id": number}, data_dir)
    show(answer, f"{answer['cleared']} cleared", as_json)


@sector_app.command("fault")
def fault(
    sectors: Sectors, miner: Miner = 0, data_dir: DataDir = None, as_json: Json = False
) -> None:
    """Declare sectors faulty; mines until it is done."""
    _sectors("sector-fault", "declared faulty", sectors, miner, data_dir, as_json=as_json)


@sector_app.command()
def recover(
    sectors: Sectors, miner: Miner = 0, data_dir: DataDir = None, as_json: Json = False
) -> None:
    """Declare faulty sectors recovered; their next window PoSt brings their power back."""
    _sectors("sector-recover", "declared recovered", sectors, miner, data_dir, as_json=as_json)


@sector_app.command()
def terminate(
    sectors: Sectors, miner: Miner = 0, data_dir: DataDir = None, as_json: Json = False
) -> None:
    """End sectors early, with the termination fee."""
    _sectors("sector-terminate", "terminated", sectors, miner, data_dir, as_json=as_json)


@sector_app.command()
def skip_post(
    windows: Annotated[int, typer.Argument(min=1, help="How many windows.")] = 1,
    miner: Miner = 0,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Let the provider miss its next window PoSts."""
    answer = ask("skip-post", {"windows": windows, "miner": miner}, data_dir)
    show(answer, f"the next {windows} window PoSts are not sent", as_json)


def _sectors(
    action: str, done: str, sectors: list[int], miner: int, data_dir: DataDir, *, as_json: bool
) -> None:
    answer = ask(action, {"sectors": sectors, "miner": miner}, data_dir)
    show(answer, f"{done} at epoch {answer['height']} by {answer['cid']}", as_json)
