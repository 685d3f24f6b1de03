"""The set-up's steps before the first daemon: each finished one is recorded, an unfinished one begins from nothing."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from devstack.real_lotus.errors import BadTemplate, StepFailed
from devstack.real_lotus.plan import Layout, Plan, check_template
from devstack.real_lotus.processes import log_tail, run_to_end
from devstack.real_lotus.record import Record
from lotus_client.address import Address, AddressError
from lotus_client.json_text import read_json

__all__ = ["Setup", "Tell"]

Tell = Callable[[str], None]


class Setup:
    """Runs the steps with one environment. `tell` is given a line when a step begins and when it had been done before."""

    def __init__(
        self, layout: Layout, environment: Mapping[str, str], record: Record, tell: Tell
    ) -> None:
        self._layout = layout
        self._plan = Plan(layout)
        self._environment = environment
        self._record = record
        self._tell = tell

    async def prepare(self) -> None:
        """Everything up to a checked genesis template.

        Raises:
            StepFailed, BadTemplate: as their names say.
        """
        layout = self._layout
        await self.once(
            "fetching proof parameters (some GiB, the first time)", "fetch-params", self._params, ()
        )
        await self.once("making root keys", "root-keys", self._root_keys, layout.root_keys())
        await self.once("pre-sealing two sectors", "pre-seal", self._pre_seal, (layout.sectors,))
        await self.once(
            "writing the genesis template", "template", self._template, (layout.template,)
        )

    async def once(
        self,
        title: str,
        step: str,
        action: Callable[[], Awaitable[Any]],
        leftovers: Sequence[Path],
    ) -> Any:
        """What the step found out, now or earlier; `leftovers` of an unfinished try are deleted first."""
        if step in self._record:
            return self._record.get(step)
        self._tell(title)
        for path in leftovers:
            _remove(path)
        found = await action()
        self._record.finish(step, found)
        return found

    async def _run(self, step: str, command: Sequence[str]) -> str:
        """Run one command of a step; what it printed."""
        log = self._layout.logs / f"{step}.log"
        return await run_to_end(step, command, self._environment, log)

    async def _params(self) -> None:
        await self._run("fetch-params", self._plan.fetch_params())

    async def _root_keys(self) -> list[str]:
        self._layout.template.parent.mkdir(parents=True, exist_ok=True)
        return [await self._root_key(index) for index, _ in enumerate(self._layout.root_keys())]

    async def _root_key(self, index: int) -> str:
        step = "root-keys"
        printed = (await self._run(step, self._plan.root_key(index))).split()
        try:
            Address.parse(printed[-1] if printed else "")
        except AddressError as error:
            tail = log_tail(self._layout.logs / f"{step}.log")
            raise StepFailed(step, f"lotus-shed printed no address: {error}", tail) from error
        return printed[-1]

    async def _pre_seal(self) -> None:
        self._layout.sectors.mkdir(parents=True)
        await self._run("pre-seal", self._plan.pre_seal())
        for file in (self._layout.metadata, self._layout.miner_key):
            if not file.is_file():
                tail = log_tail(self._layout.logs / "pre-seal.log")
                raise StepFailed("pre-seal", f"lotus-seed did not write {file}", tail)

    async def _template(self) -> str:
        signers = tuple(self._record.get("root-keys"))
        name = f"localnet-{uuid.uuid4()}"
        for command in self._plan.template(signers, name):
            await self._run("template", command)
        try:
            template = read_json(self._layout.template.read_bytes())
        except (OSError, ValueError) as error:
            raise BadTemplate(f"the genesis template cannot be read: {error}") from error
        check_template(template, signers)
        return name

    async def import_keys(self) -> None:
        """The keys of the genesis miner and of the root multisig, into the node's wallet."""
        for command in self._plan.import_keys():
            await self._run("import-keys", command)

    async def init_miner(self) -> None:
        """The genesis miner's repo; needs the running node."""
        await self._run("init-miner", self._plan.init_miner())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
