"""`pieces locate|verify|read|unseal`: where a piece is, and the work on it that takes long."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn, Self

import typer

from sp_plugin.cli.options import ConfigOption, JsonOption, connect

if TYPE_CHECKING:
    from sp_plugin.cli.api import Api

__all__ = ["Key", "add_to"]

Key = Annotated[
    str,
    typer.Argument(
        help="A held piece's key, e.g. claim:12, or the piece CID of it or of one inside it."
    ),
]
_POLL_SECONDS: Final = 0.5
_STOPPED: Final = 130  # what a shell reports of Ctrl-C


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (locate, verify, read, unseal):
        app.command()(command)


def locate(key: Key, config: ConfigOption = None, json: JsonOption = False) -> None:
    """Show where every copy of a piece lies, how that is known, and who can give its bytes; exits 1 if nobody can."""
    from sp_plugin.cli.api import segment
    from sp_plugin.cli.output import print_json
    from sp_plugin.errors import ExitCode

    answer = connect(config).get(f"/api/v1/sp/pieces/{segment(key)}/location")
    if json:
        print_json(answer)
    else:
        _print_location(answer)
    if not answer["readable"]:
        raise typer.Exit(ExitCode.FAILED)


def _print_location(answer: dict[str, Any]) -> None:
    copies = answer["copies"]
    typer.echo(f"{answer['piece_cid']}, {answer['padded_size']} bytes padded")
    for one in answer["inside"]:
        offset = "unknown" if one["offset"] is None else one["offset"]
        typer.echo(
            f"  {one['key']}: inside {one['around']}, sector {one['sector']}, offset {offset}, its bytes: {one['state']}"
        )
    for copy in copies:
        offset = "unknown" if copy["offset"] is None else copy["offset"]
        proven = "its bytes were proven" if copy["proven"] else f"its bytes: {copy['state']}"
        typer.echo(
            f"  {copy['key']}: sector {copy['sector']}, offset {offset} (by {copy['offset_known_by']}), {proven}"
        )
        for text in (copy["offset_problem"], copy["detail"]):
            if text:
                typer.echo(f"    {text}")
        for source in copy["sources"]:
            if source["readable"]:
                typer.echo(f"    readable now: {source['source']}")
            else:
                typer.echo(f"    {source['reason']}: {source['source']}: {source['detail']}")
    if answer["left_out"]:
        typer.echo(f"  and {answer['left_out']} copies more")
    if answer["advice"]:
        typer.echo(answer["advice"])


def verify(key: Key, config: ConfigOption = None, json: JsonOption = False) -> None:
    """Read a piece's bytes and compare them with its CID; exits 1 unless they are the piece.

    Ctrl-C stops it; begun again, it goes on at the last quarter of a GiB that it had read.
    """
    from sp_plugin.cli.api import segment
    from sp_plugin.cli.output import print_fields, print_json
    from sp_plugin.errors import ExitCode

    api, path = connect(config), f"/api/v1/sp/pieces/{segment(key)}"
    _follow(api, f"{path}/work/verify")
    answer = api.get(path)
    (print_json if json else print_fields)(answer)
    if answer["state"] != "verified":
        raise typer.Exit(ExitCode.FAILED)


def read(
    key: Key,
    file: Annotated[Path, typer.Argument(help="The file to write; must not exist.")],
    offset: Annotated[int, typer.Option(min=0, help="The first unpadded byte.")] = 0,
    length: Annotated[
        int | None, typer.Option(min=1, help="How many bytes; all by default.")
    ] = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Write the unpadded bytes of a piece to a file, each verified. A piece that was not verified yet is verified first."""
    from sp_plugin.cli.api import segment
    from sp_plugin.cli.output import print_fields, print_json
    from sp_plugin.cli.progress import ProgressLine
    from sp_plugin.errors import BadInput

    api, path = connect(config), f"/api/v1/sp/pieces/{segment(key)}"
    if file.exists():
        raise BadInput(f"{file}: File exists")
    answer = api.get(path)
    if answer["state"] != "verified":
        _follow(api, f"{path}/work/verify")
    total = max(answer["padded_size"] // 128 * 127 - offset, 0)
    total = min(total, length or total)
    line = ProgressLine()
    try:
        size = api.download(
            f"{path}/bytes?offset={offset}&length={length or 0}",
            file,
            on_progress=lambda done: line.show("reading", done, total),
        )
    except OSError as error:
        raise BadInput(f"{file}: {error.strerror}") from error
    finally:
        line.end()
    (print_json if json else print_fields)({"file": str(file), "size": size})


def unseal(
    key: Key,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Ask lotus-miner to unseal a piece's sector and wait for the copy; without its API, name Curio's command and wait.

    Ctrl-C stops the waiting; a miner that has begun goes on.
    """
    from sp_plugin.cli.api import segment
    from sp_plugin.cli.output import print_fields, print_json
    from sp_plugin.errors import ExitCode

    api, path = connect(config), f"/api/v1/sp/pieces/{segment(key)}"
    plan = api.get(f"{path}/unseal-plan")
    if plan["is_there"]:
        typer.echo("an unsealed copy is there already; it is verified", err=True)
    elif plan["command"]:
        typer.echo("nothing is run; unseal it yourself, with Curio by:", err=True)
        typer.echo(f"  {plan['command']}", err=True)
    elif not yes:
        typer.confirm(
            f"unseal sector {plan['sector']}: {plan['sector_bytes'] / 2**30:.2f} GiB on the miner's disk, "
            "and hours of its processors. Do it?",
            abort=True,
            err=True,
        )
    ended = _follow(api, f"{path}/work/unseal")
    answer = api.get(path)
    (print_json if json else print_fields)(answer)
    if ended["error"]:
        typer.echo(f"error: {ended['error']}", err=True)
    if answer["state"] != "verified":
        raise typer.Exit(ExitCode.FAILED)


def _follow(api: Api, path: str) -> dict[str, Any]:
    """Begin the work, show how far it is, and give back how it ended; Ctrl-C stops it there too."""
    from sp_plugin.cli.progress import ProgressLine

    line = ProgressLine()
    try:
        with _CtrlC() as ctrl_c:
            work: dict[str, Any] = api.post(path)
            while work["running"]:
                line.show(work["phase"] or "starting", work["done_bytes"], work["total_bytes"])
                time.sleep(_POLL_SECONDS)
                if ctrl_c.pressed:
                    line.end()
                    _stop(api, path)
                work = api.get(path)
    finally:
        line.end()
    return work


def _stop(api: Api, path: str) -> NoReturn:
    from sp_plugin.errors import SpPluginError

    try:
        api.delete(path)
    except SpPluginError as error:
        typer.echo(f"error: it could not be stopped: {error}", err=True)
    else:
        typer.echo("stopped", err=True)
    raise typer.Exit(_STOPPED)


class _CtrlC:
    """Notes the first Ctrl-C; the second ends the program at once.

    An exception from the signal could be raised, and lost, inside a destructor of the HTTP client.
    """

    def __init__(self) -> None:
        self.pressed = False

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _note(self, *_: object) -> None:
        self.pressed = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
