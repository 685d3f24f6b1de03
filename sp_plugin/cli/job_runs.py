"""`job run`, `job estimate`, `wasm run`, `docker run`: a job handed in and followed to its end, with its logs."""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from sp_plugin.cli.checked_runs import VerifyOption, ask_to_verify
from sp_plugin.cli.options import ConfigOption, JsonOption, connect

__all__ = ["add_to"]

_MOST_MODULE: Final = 7 << 20  # in base64 it must fit a request of 10 MiB

wasm_app = typer.Typer(no_args_is_help=True, help="WASM programs as jobs.")
docker_app = typer.Typer(no_args_is_help=True, help="Containers as jobs.")

InputOption = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        "-i",
        help="SOURCE:/target, where SOURCE is piece://<piece CID>, claim://<id>, ipfs://<CID>, file:///directory, or an "
        "https:// URL, with #sha256=<hex> behind it where the digest is known",
    ),
]
OutputOption = Annotated[
    list[str] | None, typer.Option("--output", "-o", help="NAME:/path of an output directory.")
]
EnvOption = Annotated[list[str] | None, typer.Option("--env", "-e", help="NAME=value.")]
MetaOption = Annotated[
    list[str] | None, typer.Option("--meta", help="NAME=value, e.g. filecoin.dataset=earth.")
]
PayeeOption = Annotated[str | None, typer.Option(help="The address that is to be paid.")]
PublisherOption = Annotated[str, typer.Option(help="local, ipfs, filecoin or s3://bucket/key.")]
TimeoutOption = Annotated[int, typer.Option(min=0, help="Seconds of running; 0 is the provider's.")]
NameOption = Annotated[str, typer.Option(help="A name for people.")]
DetachOption = Annotated[bool, typer.Option("--detach", "-d", help="Print the job's ID and leave.")]


def add_to(app: typer.Typer, job_app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(wasm_app, name="wasm")
    app.add_typer(docker_app, name="docker")
    job_app.command("run")(run)
    job_app.command("estimate")(estimate)


def run(
    file: Annotated[Path, typer.Argument(help="A job in YAML or JSON; - reads standard input.")],
    verify: VerifyOption = None,
    detach: DetachOption = False,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Hand a job in and follow it: its logs as they come; exits 1 unless it completes."""
    from sp_plugin.cli.reading import read_structure

    job = read_structure(file, "job")
    ask_to_verify(job, verify)
    _run(job, config, detach=detach, json=json)


def estimate(
    file: Annotated[Path, typer.Argument(help="A job in YAML or JSON; - reads standard input.")],
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Show what a job would be allowed, read and wait for; nothing is handed in."""
    from sp_plugin.cli.output import print_fields, print_json
    from sp_plugin.cli.reading import read_structure

    answer = connect(config).post("/api/v1/sp/jobs/estimate", {"Job": read_structure(file, "job")})
    if json:
        print_json(answer)
        return
    limits, ahead = answer["limits"], answer["ahead"]
    print_fields(
        {
            "engine": answer["engine"],
            "program": answer["program"],
            "memory_bytes": limits["memory_bytes"],
            "disk_bytes": limits["disk_bytes"],
            "timeout_seconds": limits["timeout_seconds"],
            "input_padded_bytes": answer["input_padded_bytes"],
            "earlier_runs": answer["earlier_runs"],
            "seconds_of_earlier_runs": answer["seconds"],
            "jobs_ahead": f"{ahead['running']} run, {ahead['queued']} queued, {ahead['waiting']} wait",
        }
    )


@wasm_app.command("run")
def wasm_run(
    module: Annotated[Path, typer.Argument(help="A WASI module.")],
    arguments: Annotated[list[str] | None, typer.Argument(help="Its arguments.")] = None,
    entry_point: Annotated[str, typer.Option(help="The exported function to call.")] = "_start",
    inputs: InputOption = None,
    outputs: OutputOption = None,
    env: EnvOption = None,
    meta: MetaOption = None,
    payee: PayeeOption = None,
    publisher: PublisherOption = "local",
    timeout: TimeoutOption = 0,
    name: NameOption = "",
    verify: VerifyOption = None,
    detach: DetachOption = False,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Run a WASM program as a job and follow it; exits 1 unless it completes."""
    source = {"Type": "inline", "Params": {"URL": _module_url(module)}}
    engine = {
        "Type": "wasm",
        "Params": {
            "EntryModule": "/main.wasm",
            "Entrypoint": entry_point,
            "Parameters": arguments or [],
        },
    }
    job = _job(engine, inputs, outputs, env, meta, payee, publisher, timeout, name)
    job["Tasks"][0]["InputSources"].append({"Source": source, "Target": "/main.wasm"})
    ask_to_verify(job, verify)
    _run(job, config, detach=detach, json=json)


@docker_app.command("run")
def docker_run(
    image: Annotated[str, typer.Argument(help="An image that is on the provider's host.")],
    arguments: Annotated[list[str] | None, typer.Argument(help="Its arguments.")] = None,
    entry_point: Annotated[
        list[str] | None, typer.Option("--entrypoint", help="In place of the image's own.")
    ] = None,
    workdir: Annotated[str | None, typer.Option(help="Absolute working directory.")] = None,
    inputs: InputOption = None,
    outputs: OutputOption = None,
    env: EnvOption = None,
    meta: MetaOption = None,
    payee: PayeeOption = None,
    publisher: PublisherOption = "local",
    timeout: TimeoutOption = 0,
    name: NameOption = "",
    detach: DetachOption = False,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Run a container as a job and follow it; exits 1 unless it completes."""
    engine = {
        "Type": "docker",
        "Params": {
            "Image": image,
            "Parameters": arguments or [],
            "Entrypoint": entry_point or [],
            "WorkingDirectory": workdir or "",
        },
    }
    job = _job(engine, inputs, outputs, env, meta, payee, publisher, timeout, name)
    _run(job, config, detach=detach, json=json)


def _run(job: dict[str, Any], config: Path | None, *, detach: bool, json: bool) -> None:
    from sp_plugin.cli.following import follow_to_end
    from sp_plugin.cli.jobs import JOBS
    from sp_plugin.cli.output import print_json
    from sp_plugin.errors import ExitCode

    api = connect(config)
    answer = api.put(JOBS, {"Job": job})
    for warning in answer["Warnings"]:
        typer.echo(f"warning: {warning}", err=True)
    if detach:
        print_json(answer) if json else typer.echo(answer["JobID"])
        return
    typer.echo(f"job {answer['JobID']}", err=True)
    ended = follow_to_end(api, answer["JobID"], quiet=json)
    if json:
        print_json(ended)
    if ended["State"]["StateType"] != "Completed":
        raise typer.Exit(ExitCode.FAILED)


def _job(
    engine: dict[str, Any],
    inputs: list[str] | None,
    outputs: list[str] | None,
    env: list[str] | None,
    meta: list[str] | None,
    payee: str | None,
    publisher: str,
    timeout: int,
    name: str,
) -> dict[str, Any]:
    task = {
        "Name": "main",
        "Engine": engine,
        "Env": _pairs(env, "--env"),
        "InputSources": [_input(text) for text in inputs or []],
        "ResultPaths": [_output(text) for text in outputs or []],
        "Publisher": _publisher(publisher),
        "Timeouts": {"ExecutionTimeout": timeout} if timeout else {},
    }
    metas = _pairs(meta, "--meta") | ({"filecoin.payee": payee} if payee else {})
    return {"Type": "batch", "Name": name, "Meta": metas, "Tasks": [task]}


def _pairs(given: list[str] | None, option: str) -> dict[str, str]:
    from sp_plugin.errors import BadInput

    pairs = [text.partition("=") for text in given or []]
    if wrong := [name for name, separator, _ in pairs if not separator or not name]:
        raise BadInput(f"{wrong[0]!r} is not NAME=value", field=option)
    return {name: value for name, _, value in pairs}


def _input(text: str) -> dict[str, Any]:
    from sp_plugin.errors import BadInput

    source, separator, target = text.rpartition(":")
    kind, _, what = source.partition("://")
    sources: dict[str, Any] = {
        "piece": {"Type": "filecoin", "Params": {"PieceCID": what}},
        "claim": {"Type": "filecoin", "Params": {"ClaimID": int(what) if what.isdigit() else what}},
        "ipfs": {"Type": "ipfs", "Params": {"CID": what}},
        "file": {"Type": "localDirectory", "Params": {"SourcePath": what}},
        "http": _url(source),
        "https": _url(source),
    }
    if not separator or kind not in sources or not what or not target.startswith("/"):
        raise BadInput(
            f"{text[:80]!r} is not SOURCE:/target with one of {', '.join(f'{k}://' for k in sources)}",
            field="--input",
        )
    return {"Source": sources[kind], "Target": target}


def _url(source: str) -> dict[str, Any]:
    url, _, digest = source.partition("#sha256=")
    return {"Type": "urlDownload", "Params": {"URL": url} | ({"SHA256": digest} if digest else {})}


def _publisher(text: str) -> dict[str, Any]:
    from sp_plugin.errors import BadInput

    kind, separator, what = text.partition("://")
    if not separator:
        return {"Type": text}
    bucket, _, key = what.partition("/")
    if kind != "s3" or not bucket or not key:
        raise BadInput(
            f"{text[:80]!r} is not a publisher's name or s3://bucket/key", field="--publisher"
        )
    return {"Type": "s3", "Params": {"Bucket": bucket, "Key": key}}


def _output(text: str) -> dict[str, str]:
    from sp_plugin.errors import BadInput

    name, separator, path = text.partition(":")
    if not separator or not name or not path.startswith("/"):
        raise BadInput(f"{text[:80]!r} is not NAME:/path", field="--output")
    return {"Name": name, "Path": path}


def _module_url(module: Path) -> str:
    from sp_plugin.errors import BadInput

    try:
        raw = sys.stdin.buffer.read(_MOST_MODULE + 1) if str(module) == "-" else module.read_bytes()
    except OSError as error:
        raise BadInput(f"{module} cannot be read: {error.strerror}") from error
    if len(raw) > _MOST_MODULE:
        raise BadInput(
            f"{module} is larger than {_MOST_MODULE} bytes: put it into a piece and name it in a job file"
        )
    return "data:application/wasm;base64," + base64.b64encode(raw).decode()
