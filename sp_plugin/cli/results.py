"""`results list|show|check`: what jobs have brought, and whether a run record is what the sidecar signed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from sp_plugin.cli.options import ConfigOption, JsonOption, connect

__all__ = ["add_to"]

results_app = typer.Typer(no_args_is_help=True, help="What jobs have brought.")

_UNSIGNED: Final = "not signed"


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(results_app, name="results")


@results_app.command("list")
def results(config: ConfigOption = None, json: JsonOption = False) -> None:
    """List completed executions."""
    from sp_plugin.cli.output import print_json, print_rows

    items = connect(config).get("/api/v1/sp/results")["items"]
    if json:
        print_json(items)
    else:
        print_rows(items, ["execution_id", "job_id", "exit_code"], "no results")


@results_app.command("show")
def show_result(
    execution_id: Annotated[str, typer.Argument(help="An execution's ID, or its beginning.")],
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Show the run record of a completed execution: what went in, what came out, what it took, who signed it."""
    from sp_plugin.cli.output import print_fields, print_json
    from sp_plugin.errors import BadInput, NotFound

    api = connect(config)
    items = api.get("/api/v1/sp/results")["items"]
    found = [item for item in items if item["execution_id"].startswith(execution_id)]
    if not found:
        raise NotFound("completed execution", execution_id)
    if len(found) > 1:
        raise BadInput(f"{len(found)} executions begin with {execution_id}; write more of the ID")
    (item,) = found
    record = item["record"]
    signature = _signature(record, api.get("/api/v1/sp/record-key")["address"])
    if json:
        print_json(item | {"signature": signature})
        return
    usage = record.get("usage") or {}
    print_fields(
        {
            "execution": item["execution_id"],
            "job": item["job_id"],
            "exit code": item["exit_code"],
            "executor": record.get("executor_version"),
            "bundle": record.get("bundle_digest"),
            "inputs": [_named(part) for part in record.get("inputs", [])],
            "output": (record.get("output") or {}).get("root_cid"),
            "published": item["published"].get("Type"),
            "place": _place(item["published"]),
            "piece": (record.get("published") or {}).get("piece_cid"),
            "wall seconds": usage.get("wall_seconds"),
            "fuel": usage.get("fuel"),
            "equal runs": _equal_runs(record),
            "signature": signature,
            "files kept": item["available"],
        }
    )


@results_app.command("check")
def check(
    record: Annotated[
        Path, typer.Argument(help="A run record, or what results show --json prints.")
    ],
    files: Annotated[
        Path | None, typer.Option(help="The unpacked results; they must be the record's.")
    ] = None,
    signer: Annotated[
        str | None, typer.Option(help="The address that must have signed; the sidecar serves it.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Check a run record without the sidecar: its signature, and the results it speaks of. Exits 1 if they differ."""
    from lotus_client.address import Address, AddressError
    from sp_plugin.cli.output import print_fields, print_json
    from sp_plugin.cli.reading import read_structure
    from sp_plugin.errors import BadInput, SpPluginError
    from sp_plugin.jobs.records import check_record

    values = read_structure(record, "run record")
    values = values["record"] if isinstance(values.get("record"), dict) else values
    try:
        wanted = None if signer is None else Address.parse(signer)
    except AddressError as error:
        raise BadInput(f"--signer: {error}") from error
    try:
        found = check_record(values, wanted)
    except BadInput as error:
        raise SpPluginError(str(error)) from error
    root = (values.get("output") or {}).get("root_cid")
    if files is not None and (have := _root_of(files)) != root:
        raise SpPluginError(f"{files} has the root {have}, the record says {root}")
    result = {
        "signer": str(found),
        "execution": values.get("execution_id"),
        "bundle": values.get("bundle_digest"),
        "output": root,
        "files": "not compared" if files is None else "equal",
    }
    (print_json if json else print_fields)(result)


def _root_of(directory: Path) -> str:
    """The root CID of unpacked results, as the sidecar packs them."""
    from sp_plugin.errors import BadInput
    from sp_plugin.jobs.outputs import OutputRefused, root_of_results

    if not directory.is_dir():
        raise BadInput(f"{directory} is not a directory")
    try:
        return str(root_of_results(directory))
    except (OutputRefused, OSError) as error:
        raise BadInput(f"{directory} cannot be packed: {error}") from error


def _named(part: dict[str, Any]) -> str:
    """An input as people know it: the piece, the URL, or the CID."""
    url = part.get("path") if part.get("source") == "urldownload" else None
    return str(part.get("piece_key") or url or part["cid"])


def _place(published: dict[str, Any]) -> str | None:
    """Where results went, where it is not this sidecar."""
    params = published.get("Params") or {}
    if published.get("Type") == "s3":
        return f"s3://{params.get('Bucket')}/{params.get('Key')}"
    return params.get("CID")


def _signature(record: dict[str, Any], signer: str) -> str:
    from lotus_client.address import Address
    from sp_plugin.errors import BadInput
    from sp_plugin.jobs.records import check_record

    if "signature" not in record:
        return _UNSIGNED
    try:
        return f"good, by {check_record(record, Address.parse(signer))}"
    except BadInput as error:
        return f"BAD: {error}"


def _equal_runs(record: dict[str, Any]) -> int | None:
    """How many runs ended the same way; None where the job did not ask for it."""
    verification = record.get("verification")
    return len(verification["runs"]) if verification else None
