"""`sp-plugin devstack …`: start a devnet, and tell a running one to mine, reorganise or show itself."""

from __future__ import annotations

import asyncio
import gc
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from devstack import cli_faults, cli_net
from devstack.cli_ask import (
    DEFAULT_DATA_DIR,
    EXIT_BAD_INPUT,
    EXIT_FAILED,
    DataDir,
    Json,
    ask,
    fail,
    print_json,
    show,
)
from devstack.flavours import Flavour
from devstack.flavours.report import as_lines, as_values
from devstack.real_lotus.command import DEFAULT_TAG, LotusKind, RealUp, check_options, run_real
from lotus_client.types import Epoch

if TYPE_CHECKING:  # the network takes a while to import; the other commands only talk to it
    from devstack.chain import NetworkConfig
    from devstack.stack import DevstackConfig

__all__ = ["app"]

app = typer.Typer(
    help="A local Filecoin network, Lotus-compatible, in one process.", no_args_is_help=True
)
app.add_typer(cli_faults.app, name="fault")
app.add_typer(cli_faults.sector_app, name="sector")
cli_net.register(app)


@app.command()
def up(
    *,
    data_dir: Annotated[Path, typer.Option(help="Where the devnet keeps its files.")] = (
        DEFAULT_DATA_DIR
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
    flavour: Annotated[Flavour, typer.Option(help="Which software the provider runs.")] = (
        Flavour.LOTUS_MINER
    ),
    storage_paths: Annotated[
        int, typer.Option(min=1, max=64, help="Paths that sectors are spread over.")
    ] = 1,
    unseal_seconds: Annotated[
        float, typer.Option(min=0, help="How long the miner takes to unseal a sector.")
    ] = 0,
    block_time: Annotated[
        float, typer.Option(min=0, help="Seconds between epochs; 0 mines on request only.")
    ] = 0,
    nv29_epoch: Annotated[
        int | None, typer.Option(min=1, help="First epoch of network version 29; default: never.")
    ] = None,
    gateway_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Serve the node behind lotus-gateway there, too."),
    ] = None,
    nodes: Annotated[
        int, typer.Option(min=1, max=16, help="Full nodes; the others take the ports that follow.")
    ] = 1,
    providers: Annotated[
        int, typer.Option(min=1, max=16, help="Storage providers, each with a miner node.")
    ] = 1,
    f3: Annotated[
        int | None, typer.Option(min=1, help="Simulate F3: finality so many epochs below the head.")
    ] = None,
    restore: Annotated[
        Path | None, typer.Option(help="Begin with a chain that `devstack save` wrote.")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Begin anew, though the data directory has a chain.")
    ] = False,
    lotus: Annotated[
        LotusKind, typer.Option(help="This process, Lotus' programs on PATH, or their image.")
    ] = LotusKind.EMBEDDED,
    lotus_tag: Annotated[
        str, typer.Option(help="With --lotus docker: release or channel of the image.")
    ] = DEFAULT_TAG,
    as_json: Json = False,
) -> None:
    """Start full nodes with storage providers and run until interrupted.

    The data directory keeps the chain: started again on it, the devnet goes on where it stopped.
    """
    gc.disable()  # until it serves: what is made while starting stays, so looking for garbage in it is lost time
    from devstack.journal import JournalError

    miner_port = flavour.default_rpc_port if miner_port is None else miner_port
    real = RealUp(lotus, data_dir, api_port, miner_port, nv29_epoch, lotus_tag)
    try:
        check_options(real, flavour, block_time, storage_paths)
    except ValueError as error:
        fail(str(error), EXIT_BAD_INPUT)
    if lotus is not LotusKind.EMBEDDED:
        gc.enable()
        _up_real(real, as_json)
        return
    from devstack.stack import DevstackConfig

    epoch = None if nv29_epoch is None else Epoch(nv29_epoch)
    config = DevstackConfig(
        data_dir=data_dir,
        api_port=api_port,
        miner_port=miner_port,
        gateway_port=gateway_port,
        market_port=(flavour.default_market_port or 0) if market_port is None else market_port,
        flavour=flavour,
        storage_paths=storage_paths,
        unseal_seconds=unseal_seconds,
        block_seconds=block_time,
        nodes=nodes,
        network=_network(epoch, block_time, providers, f3),
        keep=True,
        restore=restore,
    )
    try:
        if fresh:
            (data_dir / "chain.journal").unlink(missing_ok=True)
        asyncio.run(_run(config, as_json))
    except (OSError, JournalError) as error:
        fail(f"cannot start: {error}", EXIT_FAILED)


def _up_real(wanted: RealUp, as_json: bool) -> None:
    from devstack.real_lotus.errors import RealLotusError

    show_info = print_json if as_json else _print_info
    try:
        asyncio.run(run_real(wanted, lambda line: typer.echo(line, err=as_json), show_info))
    except RealLotusError as error:
        fail(str(error), EXIT_FAILED)
    except OSError as error:
        fail(f"cannot start: {error}", EXIT_FAILED)


def _print_info(values: dict[str, Any]) -> None:
    for name, value in values.items():
        typer.echo(f"{name}={value}" if name.isupper() else f"{name} {value}")


def _network(
    nv29_epoch: Epoch | None, block_time: float, providers: int, f3_lag: int | None
) -> NetworkConfig:
    from devstack.chain import NetworkConfig, ProviderSpec

    config = NetworkConfig(
        nv29_epoch=nv29_epoch,
        providers=tuple(
            ProviderSpec(f"owner-{number}", f"worker-{number}")
            for number in range(1, providers + 1)
        ),
        f3_lag=f3_lag,
    )
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
        gc.freeze()
        gc.enable()
        if as_json:
            print_json(as_values(net))
        else:
            typer.echo("\n".join(as_lines(net)))
        await _first_of(stop, net.node.shutdown_asked)


async def _first_of(*events: asyncio.Event) -> None:
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


_PATIENCE: Final = 100_000  # epochs that a win is waited for unless told otherwise


@app.command()
def advance(
    epochs: Annotated[
        int | None,
        typer.Argument(min=1, help="How many; may be left out when a win is waited for."),
    ] = None,
    until_win: Annotated[
        str | None,
        typer.Option(metavar="MINER", help="Stop once this miner, as t01000, has won a block."),
    ] = None,
    data_dir: DataDir = None,
    *,
    until_provider_wins: Annotated[
        bool, typer.Option("--until-provider-wins", help="The same for the provider, t01001.")
    ] = False,
    every_epoch: Annotated[
        bool,
        typer.Option(
            "--every-epoch",
            help="While waiting for a win: a tipset in each epoch, not null rounds where nothing happens.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Mine EPOCHS epochs, or until a miner wins a block (within EPOCHS, at most)."""
    winner = True if until_provider_wins or until_win == "provider" else until_win
    if epochs is None and winner is None:
        fail("say how many epochs to mine, or whose win to wait for", EXIT_BAD_INPUT)
    body: dict[str, Any] = {
        "epochs": epochs or _PATIENCE,
        "skip": winner is not None and not every_epoch,
    }
    if winner is not None:
        body["until_win"] = winner
    answer = ask("advance", body, data_dir)
    show(answer, f"head is at epoch {answer['height']}", as_json)


@app.command()
def reorg(
    depth: Annotated[int, typer.Option(min=1, help="How many tipsets to replace.")],
    null_rounds: Annotated[
        int, typer.Option(min=0, help="Epochs without a block before the fork's first one.")
    ] = 0,
    length: Annotated[int, typer.Option(min=0, help="Tipsets that the fork has at least.")] = 0,
    data_dir: DataDir = None,
    *,
    reinclude: Annotated[
        bool, typer.Option("--reinclude", help="The fork includes the replaced messages, too.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Replace the newest tipsets by a heavier fork, without their messages unless told otherwise."""
    body = {"depth": depth, "null_rounds": null_rounds, "length": length, "reinclude": reinclude}
    answer = ask("reorg", body, data_dir)
    text = f"reverted {answer['reverted']}, applied {answer['applied']}, head is at epoch {answer['height']}"
    show(answer, text, as_json)


@app.command()
def save(
    file: Annotated[Path, typer.Argument(help="The file to write; `up --restore` reads it.")],
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Write the chain, the wallet's keys and the providers' sectors to one file, while the devnet goes on."""
    answer = ask("save", {"path": str(file.absolute())}, data_dir)
    show(answer, f"{answer['bytes']} bytes in {file}", as_json)


@app.command()
def status(data_dir: DataDir = None, as_json: Json = False) -> None:
    """Show where the chain is, what waits in the mempool, and each provider's power and sectors."""
    answer = ask("status", {}, data_dir)
    lines = [
        f"network {answer['network_name']}, version {answer['network_version']}",
        f"head at epoch {answer['height']}, finalized {answer['finalized_height']}",
        f"{answer['pending_messages']} messages pending",
        *(f"power of {miner}: {power['qap']} QAP" for miner, power in answer["power"].items()),
        *(f"sector {s['sector']}: {s['state']}" for s in answer["sectors"]),
    ]
    show(answer, "\n".join(lines), as_json)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Where the demo keeps its files and its summary.")] = (
        Path("demo-out")
    ),
    network_version: Annotated[
        int, typer.Option(min=28, max=29, help="29 plays the story under Solstice's rules.")
    ] = 28,
    flavour: Annotated[
        Flavour, typer.Option(help="The provider's software; its piece server is what is read.")
    ] = Flavour.LOTUS_MINER,
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
        played = play(
            out.absolute(),
            network_version=network_version,
            keep=keep,
            show=Show(),
            flavour=flavour,
        )
        asyncio.run(played)
    except (asyncio.CancelledError, KeyboardInterrupt):
        fail("the demo was interrupted", EXIT_FAILED)
    except (StoryError, WorldError, CommandFailed, MessageFailed, EpochsNotReached) as error:
        fail(f"the demo failed: {error}", EXIT_FAILED)
