"""`job submit|list|describe|logs|get|cancel|wait|digest`, and `policy explain|test`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from sp_plugin.cli.checked_runs import VerifyOption, ask_to_verify
from sp_plugin.cli.options import ConfigOption, JsonOption, connect

__all__ = ["JOBS", "add_to"]

JOBS: Final = "/api/v1/orchestrator/jobs"
_OVER: Final = frozenset({"Completed", "Failed", "Stopped"})
_POLL_SECONDS: Final = 0.5

job_app = typer.Typer(no_args_is_help=True, help="Jobs: submit, follow, fetch results.")
policy_app = typer.Typer(no_args_is_help=True, help="This provider's own rules for jobs.")

JobId = Annotated[str, typer.Argument(help="A job's ID, the beginning of it, or its name.")]


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    from sp_plugin.cli import job_runs, job_signing

    app.add_typer(job_app, name="job")
    job_runs.add_to(app, job_app)
    job_signing.add_to(job_app)
    app.add_typer(policy_app, name="policy")


@job_app.command()
def submit(
    file: Annotated[Path, typer.Argument(help="A job in YAML or JSON; - reads standard input.")],
    verify: VerifyOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Hand in a job. It waits until enough approvers have signed what it will do."""
    from sp_plugin.cli.output import print_json

    job = _read_job(file)
    ask_to_verify(job, verify)
    answer = connect(config).put(JOBS, {"Job": job})
    if json:
        print_json(answer)
        return
    for warning in answer["Warnings"]:
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(answer["JobID"])


@job_app.command("list")
def list_(
    limit: Annotated[
        int, typer.Option(min=1, max=1000, help="At most so many, newest first.")
    ] = 20,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """List jobs, newest first."""
    from sp_plugin.cli.output import print_json, print_rows

    items = connect(config).get(JOBS, limit=limit, reverse="true")["Items"]
    if json:
        print_json(items)
        return
    rows = [
        {
            "id": item["ID"],
            "name": item["Name"] if item["Name"] != item["ID"] else "",
            "engine": item["Tasks"][0]["Engine"]["Type"],
            "state": item["State"]["StateType"],
            "message": item["State"]["Message"],
        }
        for item in items
    ]
    print_rows(rows, ["id", "name", "engine", "state", "message"], "no jobs")


@job_app.command()
def describe(job_id: JobId, config: ConfigOption = None, json: JsonOption = False) -> None:
    """Show a job, its executions and what happened to it."""
    from sp_plugin.cli.api import segment
    from sp_plugin.cli.output import print_fields, print_json, print_rows
    from sp_plugin.jobs.signed import is_payees_own

    answer = connect(config).get(f"{JOBS}/{segment(job_id)}", include="executions,history")
    if json:
        print_json(answer)
        return
    job = answer["Job"]
    print_fields(
        {
            "id": job["ID"],
            "state": job["State"]["StateType"],
            "message": job["State"]["Message"],
            "engine": job["Tasks"][0]["Engine"]["Type"],
            "payee": job["Meta"].get("filecoin.payee"),
            "signed by": job.get("Signer") or None,
            "payee agrees": is_payees_own(job.get("Signer") or None, job["Meta"]) or None,
        }
    )
    typer.echo()
    rows = [
        {
            "execution": item["ID"],
            "exit_code": (item["RunOutput"] or {}).get("ExitCode"),
            "message": item["ComputeState"]["Message"],
        }
        for item in answer["Executions"]["Items"]
    ]
    print_rows(rows, ["execution", "exit_code", "message"], "not run yet")
    typer.echo()
    events = [
        {"time": item["Time"][:19], "topic": item["Event"]["Topic"], "message": item["Comment"]}
        for item in answer["History"]["Items"]
    ]
    print_rows(events, ["time", "topic", "message"], "nothing happened yet")


@job_app.command()
def logs(
    job_id: JobId,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the job is over.")
    ] = False,
    tail: Annotated[
        bool, typer.Option("--tail", help="With --follow: only what is written from now on.")
    ] = False,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Print what the newest execution wrote: stdout to stdout, stderr to stderr."""
    from sp_plugin.cli.api import segment
    from sp_plugin.cli.output import print_json
    from sp_plugin.errors import Conflict

    if follow:
        from sp_plugin.cli.following import follow_logs

        follow_logs(connect(config), job_id, tail=tail)
        return
    answer = connect(config).get(f"/api/v1/sp/jobs/{segment(job_id)}/logs")
    if json:
        print_json(answer)
        return
    if answer["execution_id"] is None:
        raise Conflict(f"job {job_id} has not run yet")
    sys.stdout.write(answer["stdout"])
    sys.stderr.write(answer["stderr"])


@job_app.command()
def get(
    job_id: JobId,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Directory for the archives.")
    ] = Path(),
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Download the results of each completed execution as <execution>.tar.gz."""
    from urllib.parse import urlsplit

    from sp_plugin.cli.api import segment
    from sp_plugin.cli.output import print_json
    from sp_plugin.errors import BadInput, Conflict

    api = connect(config)
    items = api.get(f"{JOBS}/{segment(job_id)}/results")["Items"]
    if not items:
        raise Conflict(f"job {job_id} has no results")
    fetched = []
    for item in items:
        name = urlsplit(item["Params"]["URL"]).path.rsplit("/", 1)[1]
        try:
            size = api.download(f"/api/v1/sp/results/{segment(name)}", output / Path(name).name)
        except OSError as error:
            raise BadInput(f"{error.filename}: {error.strerror}") from error
        fetched.append({"file": str(output / Path(name).name), "size": size})
    if json:
        print_json(fetched)
        return
    for entry in fetched:
        typer.echo(entry["file"])


@job_app.command()
def cancel(
    job_id: JobId,
    reason: Annotated[str, typer.Option(help="Kept in the job's history.")] = "",
    config: ConfigOption = None,
) -> None:
    """Stop a job that waits or runs."""
    from sp_plugin.cli.api import segment

    connect(config).delete(f"{JOBS}/{segment(job_id)}", {"reason": reason})


@job_app.command()
def retry(job_id: JobId, config: ConfigOption = None) -> None:
    """Let a job that waits for its next attempt be tried at once, e.g. when the server it publishes to is back."""
    from sp_plugin.cli.api import segment

    connect(config).post(f"/api/v1/sp/jobs/{segment(job_id)}/retry")


@job_app.command()
def wait(
    job_id: JobId,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds; 0 waits for ever.")] = 0,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Wait until a job is over; exits 1 unless it completed."""
    import time

    from sp_plugin.cli.api import segment
    from sp_plugin.cli.output import print_json
    from sp_plugin.errors import ExitCode, SpPluginError

    api, until = connect(config), time.monotonic() + timeout
    while True:
        job = api.get(f"{JOBS}/{segment(job_id)}")["Job"]
        if job["State"]["StateType"] in _OVER:
            break
        if timeout and time.monotonic() > until:
            state = job["State"]
            raise SpPluginError(
                f"still {state['StateType']} after {timeout:g} s: {state['Message']}"
            )
        time.sleep(_POLL_SECONDS)
    if json:
        print_json(job)
    else:
        typer.echo(f"{job['State']['StateType']}: {job['State']['Message']}")
    if job["State"]["StateType"] != "Completed":
        raise typer.Exit(ExitCode.FAILED)


@job_app.command()
def digest(job_id: JobId, config: ConfigOption = None, json: JsonOption = False) -> None:
    """Show what approvers sign: the bundle of a job, its digest and the text for the wallet."""
    from sp_plugin.cli.api import segment
    from sp_plugin.cli.output import print_json

    answer = connect(config).get(f"/api/v1/sp/jobs/{segment(job_id)}/bundle")
    if json:
        print_json(answer)
        return
    print_json(answer["bundle"])
    typer.echo(answer["digest"])


@policy_app.command()
def explain(job_id: JobId, config: ConfigOption = None, json: JsonOption = False) -> None:
    """Show every rule for a job, kept or not; exits 3 if one forbids it."""
    from sp_plugin.cli.api import segment

    _show_policy(connect(config).get(f"/api/v1/sp/jobs/{segment(job_id)}/policy"), json)


@policy_app.command("test")
def try_job(
    file: Annotated[Path, typer.Argument(help="A job in YAML or JSON; - reads standard input.")],
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Show every rule for a job that is not handed in; exits 3 if one forbids it."""
    _show_policy(connect(config).post("/api/v1/sp/policy/test", {"Job": _read_job(file)}), json)


def _show_policy(answer: dict[str, Any], json: bool) -> None:
    from sp_plugin.cli.output import print_json, print_rows
    from sp_plugin.errors import ExitCode

    if json:
        print_json(answer)
    else:
        rows = [item | {"": "ok" if item["kept"] else "NO"} for item in answer["findings"]]
        print_rows(rows, ["", "rule", "detail"], "no rules")
    if not answer["allowed"]:
        raise typer.Exit(ExitCode.REFUSED)


def _read_job(file: Path) -> dict[str, Any]:
    from sp_plugin.cli.reading import read_structure

    return read_structure(file, "job")
