"""`sp-plugin devstack …`: start a devnet, and tell a running one to mine, reorganise or show itself."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from devstack.flavours import Flavour
from devstack.flavours.report import connections
from devstack.real_lotus.command import DEFAULT_TAG, LotusKind, RealUp, check_options, run_real
from lotus_client.api_info import ApiInfo
from lotus_client.types import Epoch

if TYPE_CHECKING:  # the network takes a while to import; the other commands only talk to it
    from devstack.chain import NetworkConfig
    from devstack.stack import DevstackConfig

__all__ = ["app"]

app = typer.Typer(
    help="A local Filecoin network, Lotus-compatible, in one process.", no_args_is_help=True
)

_EXIT_FAILED = 1
_EXIT_BAD_INPUT = 2
_EXIT_UNREACHABLE = 4

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
DataDir = Annotated[
    Path | None,
    typer.Option(help="The devnet's data directory; default: $FULLNODE_API_INFO, ./devstack-data."),
]

_DEFAULT_DATA_DIR = Path("devstack-data")


@app.command()
def up(
    data_dir: Annotated[Path, typer.Option(help="Where the devnet keeps its files.")] = (
        _DEFAULT_DATA_DIR
    ),
    api_port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free port.")] = 1234,
    miner_port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, help="Of the provider's RPC; default 2345, for Curio 12300."
        ),
    ] = None,
    market_port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, help="Of booster-http (default 7777) or Curio's market (12310)."
        ),
    ] = None,
    *,
    flavour: Annotated[Flavour, typer.Option(help="Which software the provider runs.")] = (
        Flavour.LOTUS_MINER
    ),
    storage_paths: Annotated[
        int, typer.Option(min=1, max=64, help="Paths that sectors are spread over.")
    ] = 1,
    block_time: Annotated[
        float, typer.Option(min=0, help="Seconds between epochs; 0 mines on request only.")
    ] = 0,
    nv29_epoch: Annotated[
        int | None, typer.Option(min=1, help="First epoch of network version 29; default: never.")
    ] = None,
    lotus: Annotated[
        LotusKind, typer.Option(help="This process, Lotus' programs on PATH, or their image.")
    ] = LotusKind.EMBEDDED,
    lotus_tag: Annotated[
        str, typer.Option(help="With --lotus docker: release or channel of the image.")
    ] = DEFAULT_TAG,
    as_json: Json = False,
) -> None:
    """Start a full node with a storage provider and run until interrupted."""
    miner_port = flavour.default_rpc_port if miner_port is None else miner_port
    real = RealUp(lotus, data_dir, api_port, miner_port, nv29_epoch, lotus_tag)
    try:
        check_options(real, flavour, block_time, storage_paths)
    except ValueError as error:
        _fail(str(error), _EXIT_BAD_INPUT)
    if lotus is not LotusKind.EMBEDDED:
        _up_real(real, as_json)
        return
    from devstack.stack import DevstackConfig

    epoch = None if nv29_epoch is None else Epoch(nv29_epoch)
    config = DevstackConfig(
        data_dir=data_dir,
        api_port=api_port,
        miner_port=miner_port,
        market_port=(flavour.default_market_port or 0) if market_port is None else market_port,
        flavour=flavour,
        storage_paths=storage_paths,
        block_seconds=block_time,
        network=_network(epoch, block_time),
    )
    try:
        asyncio.run(_run(config, as_json))
    except OSError as error:
        _fail(f"cannot start: {error}", _EXIT_FAILED)


def _up_real(wanted: RealUp, as_json: bool) -> None:
    from devstack.real_lotus.errors import RealLotusError

    show = _print_json if as_json else _print_info
    try:
        asyncio.run(run_real(wanted, lambda line: typer.echo(line, err=as_json), show))
    except RealLotusError as error:
        _fail(str(error), _EXIT_FAILED)
    except OSError as error:
        _fail(f"cannot start: {error}", _EXIT_FAILED)


def _print_info(values: dict[str, Any]) -> None:
    for name, value in values.items():
        typer.echo(f"{name}={value}" if name.isupper() else f"{name} {value}")


def _network(nv29_epoch: Epoch | None, block_time: float) -> NetworkConfig:
    from devstack.chain import NetworkConfig

    config = NetworkConfig(nv29_epoch=nv29_epoch)
    if not block_time:
        return config  # no clock: the same chain each time
    delay = max(round(block_time), 1)
    return replace(config, genesis_timestamp=int(time.time()), block_delay_seconds=delay)


async def _run(config: DevstackConfig, as_json: bool) -> None:
    from devstack.stack import Devstack

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with Devstack(config) as net:
        if as_json:
            _print_json(
                {
                    **connections(net),
                    "provider": str(net.provider.miner),
                    "network": net.network.config.name,
                    "data_dir": str(net.data_dir.absolute()),
                }
            )
        else:
            for name, value in connections(net).items():
                typer.echo(f"{name}={value}")
            typer.echo(f"provider {net.provider.miner}, data in {net.data_dir}; Ctrl-C stops it")
        await _first_of(stop, net.node.shutdown_asked)


async def _first_of(*events: asyncio.Event) -> None:
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


@app.command()
def advance(
    epochs: Annotated[int, typer.Argument(min=1)],
    until_win: Annotated[
        str | None, typer.Option(help="Stop as soon as this miner has won a block.")
    ] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Mine EPOCHS epochs (at most that many with --until-win)."""
    body: dict[str, Any] = {"epochs": epochs}
    if until_win is not None:
        body["until_win"] = until_win
    answer = _ask("advance", body, data_dir)
    _show(answer, f"head is at epoch {answer['height']}", as_json)


@app.command()
def reorg(
    depth: Annotated[int, typer.Option(min=1, help="How many tipsets to replace.")],
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Replace the newest tipsets by a heavier fork without their messages."""
    answer = _ask("reorg", {"depth": depth}, data_dir)
    text = f"reverted {answer['reverted']}, applied {answer['applied']}, head is at epoch {answer['height']}"
    _show(answer, text, as_json)


@app.command()
def status(data_dir: DataDir = None, as_json: Json = False) -> None:
    """Show the head, the power and the provider's sectors."""
    answer = _ask("status", {}, data_dir)
    lines = [
        f"network {answer['network_name']}, version {answer['network_version']}",
        f"head at epoch {answer['height']}, finalized {answer['finalized_height']}",
        f"{answer['pending_messages']} messages pending",
        *(f"power of {miner}: {power['qap']} QAP" for miner, power in answer["power"].items()),
        *(f"sector {s['sector']}: {s['state']}" for s in answer["sectors"]),
    ]
    _show(answer, "\n".join(lines), as_json)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Where the demo keeps its files and its summary.")] = (
        Path("demo-out")
    ),
    network_version: Annotated[
        int, typer.Option(min=28, max=29, help="29 plays the story under Solstice's rules.")
    ] = 28,
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything up at the end.")] = False,
) -> None:
    """Play the whole story: a verified deal, an approved job, blocks won, a payment and its proof."""
    from devstack.chain import MessageFailed
    from devstack.demo.play import play
    from devstack.demo.show import Show
    from devstack.demo.sidecar import CommandFailed
    from devstack.demo.story import StoryError
    from devstack.demo.world import WorldError
    from devstack.node import EpochsNotReached

    try:
        asyncio.run(play(out.absolute(), network_version=network_version, keep=keep, show=Show()))
    except (asyncio.CancelledError, KeyboardInterrupt):
        _fail("the demo was interrupted", _EXIT_FAILED)
    except (StoryError, WorldError, CommandFailed, MessageFailed, EpochsNotReached) as error:
        _fail(f"the demo failed: {error}", _EXIT_FAILED)


def _ask(action: str, body: dict[str, Any], data_dir: Path | None) -> dict[str, Any]:
    try:
        url, token = _where(data_dir)
    except (OSError, ValueError) as error:
        _fail(f"no devnet found: {error}; start one with `devstack up`", _EXIT_UNREACHABLE)
    return asyncio.run(_post(f"{url}/devstack/v1/{action}", token, body))


def _where(data_dir: Path | None) -> tuple[str, str]:
    """The node's HTTP URL and admin token, from the data directory or the environment."""
    text = os.environ.get("FULLNODE_API_INFO")
    if data_dir is not None or text is None:
        repo = (data_dir or _DEFAULT_DATA_DIR) / "lotus"
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
                    _fail("the token is not of this devnet", _EXIT_BAD_INPUT)
                answer: dict[str, Any] = await response.json()
    except (aiohttp.ClientError, json.JSONDecodeError) as error:
        _fail(f"the devnet at {url} does not answer: {error}", _EXIT_UNREACHABLE)
    if "error" in answer:
        _fail(answer["error"], _EXIT_BAD_INPUT if response.status == 400 else _EXIT_FAILED)
    return answer


def _show(answer: dict[str, Any], text: str, as_json: bool) -> None:
    if as_json:
        _print_json(answer)
    else:
        typer.echo(text)


def _print_json(value: dict[str, Any]) -> None:
    typer.echo(json.dumps(value))


def _fail(message: str, code: int) -> Any:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(code)
