"""`guard show`: whether jobs are held back on this host, and why."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import typer

from sp_plugin.cli.options import ConfigOption, JsonOption, connect

__all__ = ["add_to"]

guard_app = typer.Typer(no_args_is_help=True, help="What goes before jobs on this host.")

_STATES = {
    "run": "jobs run",
    "no_starts": "no job is started",
    "frozen": "jobs stand still",
    "stop": "jobs are stopped and queued again",
}


def add_to(app: typer.Typer) -> None:
    """Add this command."""
    app.add_typer(guard_app, name="guard")


@guard_app.command()
def show(config: ConfigOption = None, json: JsonOption = False) -> None:
    """Show what jobs may do now, why and until when, and what the guard sees of the chain and of this host."""
    from sp_plugin.cli.output import print_json

    answer = connect(config).get("/api/v1/sp/guard")
    if json:
        print_json(answer)
        return
    for line in _lines(answer):
        typer.echo(line)


def _lines(answer: dict[str, Any]) -> Iterator[str]:
    state = _STATES.get(answer["state"], answer["state"])
    if answer["state"] == "no_starts" and answer["freezable_may_start"]:
        state = "nothing is started that cannot be frozen"
    until = answer["until_epoch"]
    yield f"{state} (role {answer['role']}, since {_time(answer['since'])})"
    yield from (f"  because {reason}" for reason in answer["reasons"])
    if until is not None:
        yield f"  decided anew when what is seen changes, and at epoch {until}"
    if answer["epoch"] is not None:
        yield f"epoch {answer['epoch']}, newest block {answer['head_epoch']}"
    if answer["chain_error"]:
        yield f"the node: {answer['chain_error']}"
    yield from map(_deadline, answer["deadlines"])
    yield from _host(answer["host"])
    if answer["changes"]:
        yield "before:"
    for change in answer["changes"][:10]:
        yield f"  {_time(change['at'])}  {change['state']}: {'; '.join(change['reasons'])}"


def _deadline(deadline: dict[str, Any]) -> str:
    unproven = deadline["unproven"]
    left = f"{len(unproven)} of {len(deadline['partitions'])} partitions without a proof on chain"
    return (
        f"deadline {deadline['index']}: challenge {deadline['challenge_epoch']}, open from "
        f"{deadline['open_epoch']} to {deadline['close_epoch']}, {left}"
    )


def _host(host: dict[str, Any]) -> Iterator[str]:
    yield f"proving: {host['proving'] or 'not known'}, sealing: {host['sealing'] or 'not known'}"
    yield from (f"  seen: {text}" for text in host["seen"])
    yield from (f"  not seen: {text}" for text in host["not_seen"])
    memory, disk = host["memory_available_bytes"], host["disk_free_bytes"]
    yield (
        f"load {_percent(host['load_percent'])} of the processors, waiting for disks "
        f"{_percent(host['io_wait_percent'])}, memory {_gib(memory)}, disk {_gib(disk)} free"
    )


def _percent(value: int | None) -> str:
    return "not known" if value is None else f"{value} %"


def _gib(value: int | None) -> str:
    return "not known" if value is None else f"{value / (1 << 30):.1f} GiB"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
