"""Playing the whole story and writing its summary."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from pathlib import Path
from typing import Any, Final

from devstack.demo.show import Show
from devstack.demo.sidecar import SidecarProcess
from devstack.demo.story import JobResult, Story, StoryError
from devstack.demo.world import World, examples_dir
from devstack.flavours import Flavour
from fil_plus.reference_rates import REFERENCE_RATES, mainnet_equivalent
from lotus_client.types import AttoFil

__all__ = ["play"]

_PAYEE: Final = "scientist"


async def play(
    out: Path,
    *,
    network_version: int,
    keep: bool,
    show: Show,
    flavour: Flavour = Flavour.LOTUS_MINER,
) -> dict[str, Any]:
    """The summary of one run, which is also written to `out/summary.json`.

    Raises:
        StoryError, WorldError, CommandFailed: a chapter did not end as it must.
    """
    started = time.monotonic()
    _end_cleanly_when_told_to()
    home = out
    async with World(home, network_version, flavour=flavour) as world:
        show.chapter("A local Filecoin network")
        show.done("node up", f"127.0.0.1:{world.net.api_port}, network version {network_version}")
        data = world.pack(examples_dir() / "data" / "earth", "earth")
        world.dataset_root = data.root
        sidecar = world.sidecar()
        story = Story(world, sidecar, show, data)
        if not world.earns_extra():
            _say_what_solstice_changes(show)
        try:
            summary = await _chapters(story)
            summary["seconds"] = round(time.monotonic() - started, 1)
            (home / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
            _last_words(show, summary)
            if keep:
                await _wait_for_the_end(world, sidecar, show)
        finally:
            await sidecar.stop()
    return summary


def _end_cleanly_when_told_to() -> None:
    """SIGTERM ends the demo as Ctrl-C does: the sidecar is stopped, nothing is left running."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


async def _chapters(story: Story) -> dict[str, Any]:
    show, world = story.show, story.world
    payee = world.key(_PAYEE).address
    show.chapter("A verified deal" if world.earns_extra() else "A deal")
    first = await story.make_deal()
    await story.sidecar.start()
    show.done("the sidecar is up", f"{story.sidecar.url}, payout key in a file of its own")
    await story.see_piece()

    show.chapter("An approved job over its data")
    result = await story.run_job(story.wasm_job(payee))
    await story.check_result(result, "quakes", "earthquakes.geojson", "outputs")
    await story.run_docker_job(payee)

    show.chapter("The result becomes a deal")
    second = await story.deal_with_result(result)
    await story.prove(first, second)

    show.chapter("Blocks won, and whose they are")
    await story.earn()
    await story.accrue(payee)

    show.chapter("The author is paid")
    before = world.balance(payee)
    await story.fund()
    await story.pay()
    payout = await story.settle()
    statement = await story.statement(payee)
    (world.home / "statement.json").write_text(json.dumps(statement, indent=2) + "\n")
    risen = world.balance(payee) - before
    show.done("the payee's balance on chain rose by", f"{risen.to_fil()} FIL")
    return await _summary(story, result, statement, payout, risen)


async def _summary(
    story: Story,
    result: JobResult,
    statement: dict[str, Any],
    payout: dict[str, Any],
    risen: AttoFil,
) -> dict[str, Any]:
    payee = story.world.key(_PAYEE).address
    audit = await story.sidecar.run("audit", str(story.world.home / "statement.json"), "--json")
    ledger = await story.sidecar.run("ledger", "check", "--json")
    findings = json.loads(audit.stdout)
    totals = statement["totals"]
    paid = AttoFil(int(totals["paid"]))
    if risen != paid or str(paid) != payout["amount"]:
        raise StoryError(f"paid {paid}, payout {payout['amount']}, balance rose by {risen}")
    if audit.exit_code:
        raise StoryError(f"the audit found: {audit.stdout}{audit.stderr}")
    if ledger.exit_code:
        raise StoryError(f"the ledger check found: {ledger.stdout}{ledger.stderr}")
    story.show.done(
        "audit: every line recomputed from the chain holds", f"{len(findings['findings'])} checks"
    )
    story.show.done("ledger: balanced, unbroken, agrees with the payout wallet")
    earnings = await story.sidecar.json("earnings", "show")
    file_bytes = result.manifest["file_bytes"]
    return {
        **story.facts,
        "network_version": story.world.network_version,
        "job_id": result.job_id,
        "bundle_digest": result.digest,
        "approvals": result.approvals,
        "exit_code": result.exit_code,
        "output_cid": str(result.root),
        "output_bytes": file_bytes,
        "payee": str(payee),
        "credited_attofil": str(_credited(earnings)),
        "accrued_attofil": totals["net_accrued"],
        "accrued_by_source": totals["accrued_by_source"],
        "released_attofil": totals["released"],
        "paid_attofil": str(paid),
        "payout_message_cid": payout["message"],
        "payee_balance_attofil": str(story.world.balance(payee)),
        "mainnet_equivalent_attofil_per_year": str(_mainnet_equivalent(story, file_bytes)),
        "mainnet_equivalent_rates": REFERENCE_RATES.label,
        "ledger_ok": True,
        "audit_ok": bool(findings["ok"]),
    }


def _credited(earnings: dict[str, Any]) -> AttoFil:
    """What the chain credited for the wins of all closed periods, by the sidecar's records.

    Raises:
        StoryError: the credit of one of them is not known.
    """
    last = max(period["last_epoch"] for period in earnings["periods"])
    credited = [win["credited"] for win in earnings["wins"] if win["epoch"] <= last]
    if None in credited:
        raise StoryError("the credit of a win is not known")
    return AttoFil(sum(map(int, credited)))


def _mainnet_equivalent(story: Story, file_bytes: int) -> AttoFil:
    if not story.world.earns_extra():
        return AttoFil(0)  # since network version 29 data causes no extra
    return mainnet_equivalent(file_bytes)


def _say_what_solstice_changes(show: Show) -> None:
    for text in (
        "network version 29 (Solstice): no DataCap, no allocations, no claims; the data is a plain DDO piece",
        "every new sector has the same power whatever it holds, so the extra caused by data is 0: verified_extra would pay 0",
        "the author is paid from fixed_budget, an amount the operator names: 0.25 FIL for the job",
    ):
        show.note(text)


def _last_words(show: Show, summary: dict[str, Any]) -> None:
    show.chapter("Done")
    show.console.print(f"summary in [cyan]summary.json[/cyan], {summary['seconds']} s")
    if summary["network_version"] >= 29:
        show.console.print(
            "mainnet equivalent: 0 FIL a year by verified_extra since network version 29; only fixed_budget pays"
        )
        return
    amount = AttoFil(int(summary["mainnet_equivalent_attofil_per_year"])).to_fil()
    show.console.print(
        f"mainnet equivalent of the result's {summary['output_bytes']} bytes: {amount} FIL a year "
        f"before the author's share ({summary['mainnet_equivalent_rates']})"
    )


async def _wait_for_the_end(world: World, sidecar: SidecarProcess, show: Show) -> None:
    show.chapter("Kept up; Ctrl-C ends it")
    show.console.print(f"FULLNODE_API_INFO={world.net.api_info}")
    if world.flavour.has_miner_api:
        show.console.print(f"MINER_API_INFO={world.net.miner_api_info}")
    if world.flavour is not Flavour.LOTUS_MINER:
        show.console.print(f"pieces: {world.net.market_url}/piece/<piece CID>")
    show.console.print(f"SP_PLUGIN_CONFIG={sidecar.config}")
    show.console.print(f"sidecar: {sidecar.url}/metrics, log in {sidecar.log}")
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()
