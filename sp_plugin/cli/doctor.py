"""`doctor`: numbered checks of everything the sidecar needs, each with what to do."""

from __future__ import annotations

import typer

from sp_plugin.cli.options import ConfigOption, JsonOption, load, run_async

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add this command."""
    app.command("doctor")(doctor)


def doctor(config: ConfigOption = None, json: JsonOption = False) -> None:
    """Check configuration, node, permissions, storage, signer and database; exits 1 if something is wrong."""
    from sp_plugin.cli.output import print_json
    from sp_plugin.doctor import examine
    from sp_plugin.errors import ExitCode
    from sp_plugin.logs import configure_logs

    loaded = load(config)
    configure_logs("warning", loaded.log.format)  # standard output is for the checks alone
    checks = run_async(examine(loaded))
    if json:
        print_json([{"name": c.name, "ok": c.ok, "detail": c.detail} for c in checks])
    else:
        for number, check in enumerate(checks, 1):
            mark = "FAIL" if not check.ok else "note" if check.name == "note" else "ok"
            name = "" if check.name == "note" else f"{check.name}: "
            typer.echo(f"{number:2}. {mark:4}  {name}{check.detail}")
        failed = sum(not check.ok for check in checks)
        typer.echo(
            f"{failed} of {len(checks)} checks failed; mend the first one first"
            if failed
            else "nothing is wrong; start with: sp-plugin run"
        )
    if not all(check.ok for check in checks):
        raise typer.Exit(ExitCode.FAILED)
