"""The chapters of the demo, in order; each can be called on its own by tests that stop or kill things in between."""

from __future__ import annotations

import asyncio
import sys
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from deals.commp import commp
from devstack.demo.docker_image import build_image, why_no_engine
from devstack.demo.jobs import co2_job, quakes_job
from devstack.demo.show import Show
from devstack.demo.sidecar import SidecarProcess
from devstack.demo.world import DataPiece, World, examples_dir
from devstack.sectors import Sector
from lotus_client.address import Address
from lotus_client.cid import Cid
from lotus_client.types import AttoFil

__all__ = ["JobResult", "Story", "StoryError"]

_LOOK_BACK: Final = 900  # elections use the power of 900 epochs before
_FINALITY: Final = 900
_PERIOD: Final = 2880
_EARNING_EPOCHS: Final = 1000  # at the least
_PROVING_PERIOD: Final = 2880
_CATCH_UP_SECONDS: Final = 60.0
_JOB_SECONDS: Final = 60.0
_CHUNK: Final = 240
_MARGIN: Final = AttoFil(10**17)  # for the gas of payouts


class StoryError(RuntimeError):
    """A chapter did not end as it must; the message says what was expected."""


@dataclass(slots=True)
class JobResult:
    """What is known of one job after it ran."""

    job_id: str
    digest: str
    approvals: list[str]
    exit_code: int
    stdout: str
    outputs: Path
    root: Cid
    manifest: dict[str, Any]


@dataclass(slots=True)
class Story:
    """One run through the story; `facts` collects what the summary says."""

    world: World
    sidecar: SidecarProcess
    show: Show
    data: DataPiece
    facts: dict[str, Any] = field(default_factory=dict)

    # chapter 1: a verified deal -------------------------------------------------------------------------------------

    async def make_deal(self) -> Sector:
        """The client's dataset becomes a piece of this provider."""
        world = self.world
        sector = await world.onboard(self.data.car, self.data.commitment)
        kind = "claimed" if world.earns_extra() else "activated as a plain piece"
        self.show.done(
            f"the client's dataset is {kind} in sector {sector.number}",
            f"{self.data.commitment.piece_cid}",
        )
        return sector

    async def see_piece(self) -> dict[str, Any]:
        """The sidecar sees the piece on chain and verifies its bytes."""
        await self.caught_up()
        wanted = str(self.data.commitment.piece_cid)
        piece: dict[str, Any] = await self.until(
            lambda: self._piece(wanted, verified=True), "the piece to be seen and verified"
        )
        what = f"claim {piece['claim_id']}" if piece["claim_id"] else "a plain DDO piece"
        self.show.done(f"the sidecar sees {what} and holds its bytes", "CommP verified")
        self.facts["claim_id"] = piece["claim_id"]
        self.facts["piece_cid"] = piece["piece_cid"]
        return piece

    async def _piece(self, piece_cid: str, *, verified: bool) -> dict[str, Any] | None:
        for item in (await self.sidecar.get("/api/v1/sp/pieces"))["items"]:
            if item["piece_cid"] == piece_cid and (item["state"] == "verified" or not verified):
                return dict(item)
        return None

    # chapter 2: an approved job -------------------------------------------------------------------------------------

    def wasm_job(self, payee: Address) -> dict[str, Any]:
        """The earthquake job over the dataset's piece, as a scientist would write it."""
        module = self.world.module_url(examples_dir() / "quakes" / "quakes.wasm")
        return quakes_job(self.data.commitment.piece_cid, payee, module)

    async def submit(self, job: dict[str, Any]) -> str:
        """Hand the job in; its ID."""
        file = self.world.home / f"{job['Name']}.yaml"
        file.write_text(yaml.safe_dump(job, sort_keys=False))
        answer = await self.sidecar.json("job", "submit", str(file))
        self.show.done(f"job {job['Name']} submitted", answer["JobID"])
        return str(answer["JobID"])

    async def approve(self, job_id: str) -> tuple[str, list[str]]:
        """Two approvers read the bundle and sign its digest; the digest and their addresses."""
        digest, signers = "", []
        for name in ("approver-1", "approver-2"):
            key_file = self.sidecar.config.parent / f"{name}.key"
            answer = await self.sidecar.json(
                "approvals", "sign", job_id, "--key-file", str(key_file), "--yes"
            )
            digest = answer["digest"]
            signers.append(str(answer["approver"]))
        self.show.done("two approvers signed what it will do", f"digest {digest[:16]}…")
        return digest, signers

    async def run_job(self, job: dict[str, Any]) -> JobResult:
        """Submit, approve, run, fetch."""
        job_id = await self.submit(job)
        digest, signers = await self.approve(job_id)
        return await self.finish(job_id, digest, signers)

    async def finish(self, job_id: str, digest: str, signers: list[str]) -> JobResult:
        """Wait for the job, show its log and fetch its results."""
        done = await self.sidecar.run("job", "wait", job_id, "--timeout", str(_JOB_SECONDS))
        if done.exit_code:
            raise StoryError(f"the job did not complete: {done.stdout}{done.stderr}")
        log = await self.sidecar.json("job", "logs", job_id)
        result = await self._result(job_id)
        self.show.done(f"it ran and ended with exit code {result['exit_code']}")
        self.show.output(log["stdout"])
        manifest = result["record"]["published"]
        self.show.done("its outputs are a CAR, staged as a piece", manifest["root_cid"])
        return JobResult(
            job_id,
            digest,
            signers,
            result["exit_code"],
            log["stdout"],
            await self._fetch(job_id),
            Cid.parse(manifest["root_cid"]),
            manifest,
        )

    async def _result(self, job_id: str) -> dict[str, Any]:
        for item in (await self.sidecar.get("/api/v1/sp/results"))["items"]:
            if item["job_id"] == job_id:
                return dict(item)
        raise StoryError(f"job {job_id} has no results")

    async def _fetch(self, job_id: str) -> Path:
        folder = self.world.home / "results" / job_id
        folder.mkdir(parents=True)
        for item in await self.sidecar.json("job", "get", job_id, "--output", str(folder)):
            _unpack(Path(item["file"]), folder)
        return folder

    async def check_result(self, result: JobResult, example: str, source: str, output: str) -> None:
        """Compute the result again by a program of another kind, and compare.

        Raises:
            StoryError: they differ.
        """
        examples = examples_dir()
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(examples / example / "check.py"),
            str(examples / "data" / "earth" / source), str(result.outputs / output),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said, _ = await process.communicate()
        text = said.decode().strip()
        if process.returncode:
            raise StoryError(f"the independent computation of {example} differs: {text}")
        self.show.done("computed again independently", text)

    async def run_docker_job(self, payee: Address) -> JobResult | None:
        """The second job, in a container, where an engine answers; None with a word why not."""
        reason = await asyncio.to_thread(why_no_engine)
        if reason is not None:
            self.show.note(f"no Docker job here: {reason}")
            self.facts["docker"] = {"ran": False, "reason": reason}
            return None
        image = await asyncio.to_thread(build_image, examples_dir() / "co2")
        result = await self.run_job(co2_job(self.data.commitment.piece_cid, payee, image))
        await self.check_result(result, "co2", "co2-mauna-loa.csv", "outputs/annual.csv")
        self.facts["docker"] = {
            "ran": True,
            "job_id": result.job_id,
            "image": image,
            "exit_code": result.exit_code,
            "output_cid": str(result.root),
        }
        return result

    # chapter 3: the result becomes a deal ---------------------------------------------------------------------------

    async def deal_with_result(self, result: JobResult) -> Sector:
        """The staged piece gets an allocation of the client and a sector of the provider."""
        staged = self.sidecar.data_dir / "staging" / result.manifest["car"]
        with staged.open("rb") as reader:
            commitment = commp(reader).raised_to(result.manifest["padded_size"])
        if str(commitment.piece_cid) != result.manifest["piece_cid"]:
            raise StoryError("the staged piece is not what its manifest says")
        sector = await self.world.onboard(staged, commitment)
        await self.caught_up()
        piece = await self.until(
            lambda: self._piece(result.manifest["piece_cid"], verified=False),
            "the result's piece to be seen",
        )
        what = f"claim {piece['claim_id']}" if piece["claim_id"] else "a plain DDO piece"
        self.show.done(f"the result is a piece of this provider: {what}", piece["piece_cid"])
        self.facts["output_claim_id"] = piece["claim_id"]
        self.facts["output_piece_cid"] = piece["piece_cid"]
        return sector

    async def prove(self, *sectors: Sector) -> None:
        """Mine until the sectors' first WindowPoSt is in, then through the look-back."""
        await self.mine(
            "first WindowPoSt",
            2 * _PROVING_PERIOD,
            until=lambda: all(map(self.world.is_active, sectors)),
        )
        self.show.done("the sectors are proven", f"epoch {self.world.epoch}")
        await self.mine("look-back of 900 epochs", _LOOK_BACK)
        self.show.done("their power counts in elections", f"epoch {self.world.epoch}")

    # chapter 4: earnings ------------------------------------------------------------------------------------------

    async def earn(self) -> None:
        """Mine to the end of an accounting period, with the result active for a good part of it, and to its finality."""
        since = self.world.epoch
        period_end = -(-(since + _EARNING_EPOCHS) // _PERIOD) * _PERIOD
        await self.mine("winning blocks", period_end - since)
        wins = self._wins(since)
        self.show.done(f"{wins} wins in elections", f"epochs {since} to {self.world.epoch}")
        await self.mine("finality", _FINALITY + 1)
        self.facts["wins"] = wins

    def _wins(self, since: int) -> int:
        network = self.world.net.network
        tipset, won = network.head, 0
        while tipset.height > since:
            won += sum(
                block.win_count for block in tipset.blocks if block.miner == self.world.provider
            )
            tipset = network.tipset(tipset.parents)
        return won

    async def accrue(self, payee: Address) -> dict[str, Any]:
        """The sidecar reads the wins from the chain and accrues the payee's part; its statement then."""
        await self.caught_up()
        statement: dict[str, Any] = await self.until(
            lambda: self._accrued(payee), "the payee's part to be accrued"
        )
        totals = statement["totals"]
        self.show.done("accrued", _fil(totals["net_accrued"]))
        self.show.done("released so far (25 % at once, the rest vests)", _fil(totals["released"]))
        return statement

    async def _accrued(self, payee: Address) -> dict[str, Any] | None:
        statement = await self.statement(payee)
        final = self.world.net.network.finalized().height
        is_up_to_date = statement["open_period"]["ingested_to"] >= final
        return statement if is_up_to_date and int(statement["totals"]["due"]) > 0 else None

    async def statement(self, payee: Address) -> dict[str, Any]:
        """The payee's statement as JSON."""
        return dict(await self.sidecar.json("statement", str(payee)))

    # chapter 5: payment ---------------------------------------------------------------------------------------------

    async def fund(self) -> None:
        """The owner, whose key the sidecar never sees, moves what the plan lacks to the payout wallet."""
        plan = await self.sidecar.json("payouts", "plan")
        lacking = AttoFil(int(plan["lacking"]))
        if not lacking:
            raise StoryError("the plan should lack money: the payout wallet is empty")
        for command in plan["commands"][:1]:
            self.show.note(f"the plan says how the owner can fund it: {command}")
        wallet = self.world.key("payout-wallet").address
        cid = await self.world.fund(wallet, lacking + _MARGIN)
        self.facts["funding_message_cid"] = str(cid)
        self.show.done(
            "the owner withdrew from the miner to the payout wallet", _fil(lacking + _MARGIN)
        )
        await self.mine("finality of the funding", _FINALITY + 2)
        await self.caught_up()

    async def pay(self) -> str:
        """Plan, approve, and let the sidecar send; the digest of the batch."""
        plan = await self.sidecar.json("payouts", "plan")
        if plan["digest"] is None:
            raise StoryError(f"nothing can be paid: {plan}")
        await self.sidecar.json("payouts", "approve", plan["digest"])
        self.show.done("payout planned and approved", _fil(plan["total"]))
        return str(plan["digest"])

    async def settle(self) -> dict[str, Any]:
        """Mine until the payout is final; the payout."""
        payout = await self.until(
            lambda: self._payout("sent", "included", "final"), "the payout to be pushed"
        )
        self.show.done("signed, stored, pushed", payout["message"])
        await self.mine("inclusion", 5)
        await self.mine("finality of the payout", _FINALITY + 2)
        await self.caught_up()
        payout = await self.until(lambda: self._payout("final"), "the payout to be final")
        self.show.done("paid and final", f"epoch {payout['height']}")
        return dict(payout)

    async def _payout(self, *states: str) -> dict[str, Any] | None:
        for item in (await self.sidecar.get("/api/v1/sp/payouts"))["items"]:
            if item["state"] in states:
                return dict(item)
        return None

    # time -------------------------------------------------------------------------------------------------------

    async def mine(self, title: str, epochs: int, until: Callable[[], bool] | None = None) -> None:
        """Mine so many epochs, or until the condition holds (looked at every few epochs).

        Raises:
            StoryError: it never held.
        """
        world, first = self.world, self.world.epoch
        with self.show.epochs(title, first, first + epochs) as bar:
            while world.epoch < first + epochs:
                if until is not None and until():
                    return
                await world.net.advance(
                    min(_CHUNK if until is None else 10, first + epochs - world.epoch)
                )
                bar.at(world.epoch)
        if until is not None and not until():
            raise StoryError(f"{title}: did not happen within {epochs} epochs")

    async def caught_up(self) -> None:
        """Wait until the sidecar has taken over the present head."""
        await self.until(self._is_caught_up, "the sidecar to catch up with the chain")

    async def _is_caught_up(self) -> bool:
        status = await self.sidecar.get("/api/v1/sp/status")
        followed = status["followed_epoch"]
        # a tipset is taken over once its child is known: only then are its messages executed
        network = self.world.net.network
        return followed is not None and followed >= network.tipset(network.head.parents).height

    async def until(self, look: Callable[[], Any], what: str) -> Any:
        """The first true answer of `look`.

        Raises:
            StoryError: none within a minute; with the end of the sidecar's log.
        """
        deadline = time.monotonic() + _CATCH_UP_SECONDS
        with self.show.waiting(what):
            while not (answer := await look()):
                if not self.sidecar.is_running or time.monotonic() > deadline:
                    raise StoryError(f"waited in vain for {what}\n{self.sidecar.tail()}")
                await asyncio.sleep(0.1)
        return answer


def _unpack(archive: Path, folder: Path) -> None:
    """Write the plain files of a results archive below `folder`.

    By hand, because `extractall(filter=…)` came with Python 3.11.4 and Debian 12 has 3.11.2.
    """
    with tarfile.open(archive) as tar:
        for member in tar:
            target = (folder / member.name).resolve()
            content = tar.extractfile(member) if member.isreg() else None
            if content is None or not target.is_relative_to(folder.resolve()):
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.read())


def _fil(amount: object) -> str:
    return f"{AttoFil(int(str(amount))).to_fil()} FIL"
