"""The `sp-plugin` command: nouns, then verbs; `--json` on everything that prints.

Exit codes: 0 ok, 1 failed, 2 bad input or config, 3 refused by policy, 4 node or sidecar unreachable.

Design notes
------------
* Modules of this package import only typer and the standard library at the top, so that `--help` is quick; each command
  imports what it needs.
* Commands about jobs, approvals, pieces and money talk to the running sidecar's HTTP API; commands about files
  (`commp`, `car`, `config`) need none. `ledger check` and `audit` read the store and the node themselves: a check that
  asked the sidecar would only repeat what it says.
* Packages that are not ours to import (devstack) add commands by the entry-point group `sp_plugin.commands`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

import typer

from sp_plugin.cli import (
    approvals,
    car,
    commp,
    config,
    doctor,
    guard,
    jobs,
    money,
    pieces,
    results,
    run,
    tokens,
)

__all__ = ["app", "main"]

_GROUP: Final = "sp_plugin.commands"

app = typer.Typer(
    name="sp-plugin",
    help="A sidecar for Filecoin storage providers: runs approved jobs over verified data and pays their authors.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

for _module in (
    run,
    config,
    doctor,
    guard,
    commp,
    car,
    pieces,
    results,
    jobs,
    approvals,
    money,
    tokens,
):
    _module.add_to(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and leave with its exit code; errors that are the user's to mend are printed without a traceback."""
    from lotus_client.errors import LotusError
    from sp_plugin.cli.output import fail
    from sp_plugin.errors import ExitCode, SpPluginError, exit_code_of

    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        _add_plugins(given)
        app(given)
    except (SpPluginError, LotusError) as error:
        sys.exit(fail(error, exit_code_of(error)))
    except BrokenPipeError:  # e.g. `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitCode.FAILED)


def _add_plugins(given: list[str]) -> None:
    """Load the commands of other packages, but only where they are called or listed."""
    first = next((word for word in given if not word.startswith("-")), None)
    if first in _own_names():
        return
    from importlib.metadata import entry_points

    for entry in entry_points(group=_GROUP):
        if first in (None, entry.name):
            app.add_typer(entry.load(), name=entry.name)


def _own_names() -> set[str | None]:
    commands = {command.name for command in app.registered_commands}
    return {name for name in commands | {group.name for group in app.registered_groups} if name}
