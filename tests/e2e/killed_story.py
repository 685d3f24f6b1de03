"""The demo's story with a sidecar that is killed again and again, and what is left of it in the end."""

from __future__ import annotations

import asyncio
import shutil
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml
from rich.console import Console

from devstack.auth import Permission
from devstack.demo.show import Show
from devstack.demo.sidecar import CommandFailed, CommandResult, SidecarProcess
from devstack.demo.story import JobResult, Story
from devstack.demo.world import World, examples_dir
from lotus_client.address import Address
from lotus_client.messages import SignedMessage
from lotus_client.types import AttoFil
from tests.e2e.killing_sidecar import Deaths, Moment

__all__ = ["COPIES", "PAYOUT_MOMENTS", "READ_ONLY", "KilledStory", "Paid", "tell"]

PAYOUT_MOMENTS: Final = (
    Moment.BEFORE_SIGNING,
    Moment.AFTER_SIGNING,
    Moment.AFTER_PUSH,
    Moment.BEFORE_SETTLING,
)
READ_ONLY: Final = "read_only"  # the copy whose node token may not push at first
COPIES: Final = (*PAYOUT_MOMENTS, READ_ONLY)
_FINALITY: Final = 902
_MARGIN: Final = AttoFil(10**17)


@dataclass(slots=True)
class Paid:
    """What one payout wallet's sidecar, killed at one moment, says in the end, and what the chain says."""

    wallet: Address
    statement: dict[str, Any]
    payouts: list[dict[str, Any]]
    ledger: dict[str, Any]
    audit: dict[str, Any]
    nonce: int
    messages: list[SignedMessage]


@dataclass(slots=True)
class Held:
    """A sidecar whose payout was approved and whose token may not push."""

    payout: dict[str, Any]
    is_live: bool
    nonce: int
    log: str
    doctor: CommandResult


@dataclass(slots=True)
class KilledStory:
    """The end of it all."""

    job: JobResult
    staged: list[str]
    results: list[dict[str, Any]]
    executions: list[dict[str, Any]]
    deaths: dict[Moment, Deaths]
    held: Held | None = None
    paid: dict[str, Paid] = field(default_factory=dict)
    risen: AttoFil = AttoFil(0)


def _program(directory: Path) -> tuple[str, ...]:
    import sys

    return (sys.executable, "-m", "tests.e2e.killing_sidecar", str(directory))


async def _dies(sidecar: SidecarProcess) -> None:
    """Wait for the process to have killed itself."""
    async with asyncio.timeout(60):
        assert await sidecar.ended() == -signal.SIGKILL, sidecar.tail()
    await sidecar.kill()  # it is gone; closes our connection to it


async def _starts_and_dies(sidecar: SidecarProcess) -> None:
    try:
        await sidecar.start()
    except CommandFailed:
        assert not sidecar.is_running  # it died before it was ready
    await _dies(sidecar)


async def tell(home: Path) -> KilledStory:
    """Kill it while it follows, computes, books and closes; then in copies at the moments of a payout."""
    with home.with_suffix(".txt").open("w") as log:
        show = Show(Console(file=log, width=200))
        async with World(home) as world:
            return await _tell(world, show)


async def _tell(world: World, show: Show) -> KilledStory:
    data = world.pack(examples_dir() / "data" / "earth", "earth")
    world.dataset_root = data.root
    place = world.home / "deaths"
    deaths, sidecar = Deaths(place), world.sidecar(_program(place))
    story = Story(world, sidecar, show, data)
    payee = world.key("scientist").address
    try:
        first = await story.make_deal()
        await sidecar.start()
        await story.see_piece()
        told = await _killed_in_its_job(story, deaths, payee)
        await _killed_while_it_follows(story, deaths, told.job, first)
        await _killed_in_its_books(story, deaths, payee)
        lacking = AttoFil(int((await sidecar.json("payouts", "plan"))["lacking"]))
    finally:
        await sidecar.stop()
    await _killed_paying(story, told, payee, lacking)
    return told


async def _killed_in_its_job(story: Story, deaths: Deaths, payee: Address) -> KilledStory:
    sidecar = story.sidecar
    job_id = await story.submit(story.wasm_job(payee))
    deaths.arm(Moment.DURING_JOB)
    digest, signers = await story.approve(job_id)
    await _dies(sidecar)
    deaths.arm(Moment.AFTER_JOB)
    await _starts_and_dies(sidecar)
    await sidecar.start()
    job = await story.finish(job_id, digest, signers)
    path = f"/api/v1/orchestrator/jobs/{job_id}"
    return KilledStory(
        job,
        sorted(file.name for file in (sidecar.data_dir / "staging").iterdir()),
        (await sidecar.get(path + "/results"))["Items"],
        (await sidecar.get(path + "/executions"))["Items"],
        dict.fromkeys(Moment, deaths),
    )


async def _killed_while_it_follows(
    story: Story, deaths: Deaths, job: JobResult, first: Any
) -> None:
    second = await story.deal_with_result(job)
    deaths.arm(Moment.FOLLOWING)
    await story.prove(first, second)
    await _dies(story.sidecar)
    deaths.arm(Moment.INSIDE_FOLLOWING)
    await _starts_and_dies(story.sidecar)
    await story.sidecar.start()


async def _killed_in_its_books(story: Story, deaths: Deaths, payee: Address) -> None:
    deaths.arm(Moment.BOOKING)
    await story.earn()
    await _dies(story.sidecar)
    deaths.arm(Moment.CLOSING)
    await _starts_and_dies(story.sidecar)
    await story.sidecar.start()
    await story.accrue(payee)


async def _killed_paying(story: Story, told: KilledStory, payee: Address, lacking: AttoFil) -> None:
    """Copies of the sidecar, each with a payout wallet of its own and each killed at another moment."""
    world = story.world
    before = world.balance(payee)
    copies = {name: _copy(world, name) for name in COPIES}
    told.deaths |= {moment: Deaths(_deaths_of(world, moment)) for moment in PAYOUT_MOMENTS}
    stories = {name: Story(world, copy, story.show, story.data) for name, copy in copies.items()}
    try:
        _token(world, copies[READ_ONLY], Permission.READ)
        await asyncio.gather(*(copy.start() for copy in copies.values()))
        for name in COPIES:
            await world.fund(_wallet(world, name), lacking + _MARGIN)
        await story.mine("finality of the funding", _FINALITY)
        for moment in PAYOUT_MOMENTS:
            await _killed_before_it_is_sent(stories[moment], told.deaths[moment], moment)
        told.held = await _held(stories[READ_ONLY])
        await story.mine("inclusion and finality", 5 + _FINALITY)
        settling = copies[Moment.BEFORE_SETTLING]
        await _dies(settling)
        await settling.start()
        for name, one in stories.items():
            await one.caught_up()
            await one.until(lambda one=one: one._payout("final"), "the payout to be final")
            told.paid[name] = await _paid(one, _wallet(world, name), payee)
    finally:
        for copy in copies.values():
            await copy.stop()
    told.risen = world.balance(payee) - before


async def _killed_before_it_is_sent(story: Story, deaths: Deaths, moment: Moment) -> None:
    await story.caught_up()
    deaths.arm(moment)
    await story.pay()
    if moment is not Moment.BEFORE_SETTLING:
        await _dies(story.sidecar)
        await story.sidecar.start()
    await story.until(lambda: story._payout("sent"), "the payout to be pushed")


async def _held(story: Story) -> Held:
    """What a token without the permission to push leads to; then it gets the permission and goes on."""
    sidecar, wallet = story.sidecar, _wallet(story.world, READ_ONLY)
    await story.caught_up()
    await story.pay()
    payout = await story.until(lambda: story._payout("signed"), "the payout to be signed")
    await story.until(lambda: _says(sidecar, "payout_push_forbidden"), "a word about the token")
    held = Held(
        payout,
        (await sidecar.get("/health/livez"))["status"] == "alive",
        story.world.net.network.mpool.next_nonce(wallet),
        sidecar.log.read_text(),
        await sidecar.run("doctor"),
    )
    await sidecar.stop()
    _token(story.world, sidecar, Permission.READ, Permission.WRITE)
    await sidecar.start()
    await story.until(lambda: story._payout("sent"), "the payout to be pushed")
    return held


async def _says(sidecar: SidecarProcess, words: str) -> bool:
    return words in sidecar.log.read_text()


def _token(world: World, sidecar: SidecarProcess, *permissions: Permission) -> None:
    file = sidecar.config.parent / "node"
    _, where = file.read_text().split(":", 1)
    file.write_text(f"{world.net.token(*permissions)}:{where}")


def _wallet(world: World, name: str) -> Address:
    return world.key(f"payout-wallet-{name}").address


def _deaths_of(world: World, name: str) -> Path:
    return world.home / f"deaths-{name}"


def _copy(world: World, name: str) -> SidecarProcess:
    """A sidecar that knows what the first one knows and pays from another wallet."""
    home = world.home / name
    shutil.copytree(world.home / "sidecar", home)
    config = home / "sp-plugin.yaml"
    content = yaml.safe_load(config.read_text().replace(f"{world.home / 'sidecar'}/", f"{home}/"))
    content["payouts"]["wallet"] = str(_wallet(world, name))
    config.write_text(yaml.safe_dump(content))
    key = world.key(f"payout-wallet-{name}").secret.hex()
    Path(content["payouts"]["signer"]["key_file"]).write_text(key)
    return SidecarProcess(
        config, home / "data", home / "sidecar.log", _program(_deaths_of(world, name))
    )


async def _paid(story: Story, wallet: Address, payee: Address) -> Paid:
    sidecar, network = story.sidecar, story.world.net.network
    statement = await story.statement(payee)
    file = sidecar.config.parent / "statement.json"
    file.write_text(yaml.safe_dump(statement))
    return Paid(
        wallet,
        statement,
        (await sidecar.get("/api/v1/sp/payouts"))["items"],
        await sidecar.json("ledger", "check"),
        await sidecar.json("audit", str(file)),
        network.pending_state().actor(wallet).nonce,
        [message for message in _canonical(story.world) if message.message.from_ == wallet],
    )


def _canonical(world: World) -> list[SignedMessage]:
    """All messages of the chain that ends at the head, oldest first."""
    network = world.net.network
    tipset, found = network.head, []
    while tipset.height > 0:
        found += reversed(network.messages_in_tipset(tipset.key))
        tipset = network.tipset(tipset.parents)
    return found[::-1]
