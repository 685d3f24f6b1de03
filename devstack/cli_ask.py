"""What all commands to a running devnet share: finding it, asking it, printing its answer."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer

from lotus_client.api_info import ApiInfo

__all__ = [
    "DEFAULT_DATA_DIR",
    "EXIT_BAD_INPUT",
    "EXIT_FAILED",
    "EXIT_UNREACHABLE",
    "DataDir",
    "Json",
    "ask",
    "fail",
    "print_json",
    "show",
]

EXIT_FAILED: Final = 1
EXIT_BAD_INPUT: Final = 2
EXIT_UNREACHABLE: Final = 4

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
DataDir = Annotated[
    Path | None,
    typer.Option(help="The devnet's data directory; default: $FULLNODE_API_INFO, ./devstack-data."),
]

DEFAULT_DATA_DIR: Final = Path("devstack-data")


def ask(action: str, body: dict[str, Any], data_dir: Path | None) -> dict[str, Any]:
    """The running devnet's answer to one action of its control API; ends the program when there is none."""
    try:
        url, token = _where(data_dir)
    except (OSError, ValueError) as error:
        fail(f"no devnet found: {error}; start one with `devstack up`", EXIT_UNREACHABLE)
    return asyncio.run(_post(f"{url}/devstack/v1/{action}", token, body))


def _where(data_dir: Path | None) -> tuple[str, str]:
    """The node's HTTP URL and admin token, from the data directory or the environment."""
    text = os.environ.get("FULLNODE_API_INFO")
    if data_dir is not None or text is None:
        repo = (data_dir or DEFAULT_DATA_DIR) / "lotus"
        text = f"{(repo / 'token').read_text()}:{(repo / 'api').read_text()}"
    info = ApiInfo.parse(text)
    token = "" if info.token is None else info.token.reveal()
    return info.http_url("v1").removesuffix("/rpc/v1"), token


async def _post(url: str, token: str, body: dict[str, Any]) -> dict[str, Any]:
    import aiohttp  # a fifth of a second, and `--help` needs none of it

    headers = {"Authorization": f"Bearer {token}"} if token else {}
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
    try:
        async with aiohttp.ClientSession(timeout=timeout, headers=headers) as http:
            async with http.post(url, json=body) as response:
                if response.status == 401:
                    fail("the token is not of this devnet", EXIT_BAD_INPUT)
                answer: dict[str, Any] = await response.json()
    except (aiohttp.ClientError, json.JSONDecodeError) as error:
        fail(f"the devnet at {url} does not answer: {error}", EXIT_UNREACHABLE)
    if "error" in answer:
        fail(answer["error"], EXIT_BAD_INPUT if response.status == 400 else EXIT_FAILED)
    return answer


def show(answer: dict[str, Any], text: str, as_json: bool) -> None:
    """Print the answer as JSON, or the text."""
    if as_json:
        print_json(answer)
    else:
        typer.echo(text)


def print_json(value: dict[str, Any]) -> None:
    """Print one JSON object on a line."""
    typer.echo(json.dumps(value))


def fail(message: str, code: int) -> NoReturn:
    """End with the code and the message on standard error."""
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(code)
