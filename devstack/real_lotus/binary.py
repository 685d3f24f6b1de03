"""`--lotus binary`: the programs on PATH as a running devnet."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from devstack.real_lotus.errors import NotReady, RealLotusError
from devstack.real_lotus.plan import Layout, Plan, miner_environment, node_environment
from devstack.real_lotus.processes import Daemon, log_tail
from devstack.real_lotus.readiness import api_info, wait_until_answers
from devstack.real_lotus.record import Record
from devstack.real_lotus.setup import Setup, Tell
from devstack.real_lotus.toolchain import check_versions, find_programs

__all__ = ["RealLotus", "RealLotusConfig"]

_STOP_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RealLotusConfig:
    """Where the devnet lives and listens. `patience_seconds` is how long a daemon may take to answer."""

    data_dir: Path
    api_port: int
    miner_port: int
    nv29_epoch: int | None = None
    patience_seconds: float = 600.0


class RealLotus:
    """A running devnet of Lotus' own programs; use it as `async with RealLotus(config, tell) as net`.

    Entering raises `RealLotusError` and leaves nothing running.
    """

    def __init__(self, config: RealLotusConfig, tell: Tell) -> None:
        self.config = config
        self.layout = Layout(config.data_dir.absolute())
        self._tell = tell
        self._cleanup = AsyncExitStack()
        self._daemons: list[Daemon] = []

    @property
    def api_info(self) -> str:
        """`FULLNODE_API_INFO` with the token that lotus wrote into its repo."""
        return api_info(self.layout.lotus, self.config.api_port)

    @property
    def miner_api_info(self) -> str:
        """`MINER_API_INFO` with the token that lotus-miner wrote into its repo."""
        return api_info(self.layout.miner, self.config.miner_port)

    async def __aenter__(self) -> Self:
        version = check_versions(await find_programs())
        self._tell(f"Lotus {version}")
        async with AsyncExitStack() as cleanup:
            await self._start(cleanup)
            self._cleanup = cleanup.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._cleanup.aclose()

    async def wait(self) -> None:
        """Until a daemon ends by itself, which is an error.

        Raises:
            NotReady: names the daemon and shows the end of its log.
        """
        waiting = [asyncio.create_task(daemon.wait()) for daemon in self._daemons]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
        for daemon in self._daemons:
            daemon.check()

    async def _start(self, cleanup: AsyncExitStack) -> None:
        layout, config, plan = self.layout, self.config, Plan(self.layout)
        refuse_foreign_directory(layout.root)
        layout.logs.mkdir(parents=True, exist_ok=True)
        record = Record(layout.root)
        node = node_environment(layout, config.api_port, config.nv29_epoch)
        miner = miner_environment(layout, config.miner_port, config.nv29_epoch)
        setup = Setup(layout, node, record, self._tell)
        await setup.prepare()

        async def make_genesis() -> None:
            await self._daemon("lotus", plan.first_daemon(), node, config.api_port, cleanup)

        had_genesis = "genesis" in record
        made = (layout.lotus, layout.genesis)
        await setup.once(
            "starting the node, which makes the genesis block", "genesis", make_genesis, made
        )
        if had_genesis:
            self._tell("starting the node")
            await self._daemon("lotus", plan.daemon(), node, config.api_port, cleanup)
        await setup.once("importing keys", "import-keys", setup.import_keys, ())
        await setup.once("making the miner's repo", "init-miner", setup.init_miner, (layout.miner,))
        self._tell("starting the miner")
        await self._daemon("lotus-miner", plan.miner(), miner, config.miner_port, cleanup)

    async def _daemon(
        self,
        name: str,
        command: list[str],
        environment: dict[str, str],
        port: int,
        cleanup: AsyncExitStack,
    ) -> None:
        log = self.layout.logs / f"{name}.log"
        daemon = await Daemon.start(name, command, environment, log)
        cleanup.push_async_callback(self._stop, daemon)
        self._daemons.append(daemon)
        try:
            async with asyncio.timeout(self.config.patience_seconds):
                await wait_until_answers(name, port, daemon.check, self._tell)
        except TimeoutError as error:
            raise NotReady(
                f"{name} did not answer in {self.config.patience_seconds:.0f} s", log_tail(log)
            ) from error

    async def _stop(self, daemon: Daemon) -> None:
        self._tell(f"stopping {daemon.name}")
        await daemon.stop(_STOP_SECONDS)


def refuse_foreign_directory(root: Path) -> None:
    """Raise RealLotusError if the embedded devnet keeps its files there."""
    if (root / "lotus" / "jwt-secret").exists():
        raise RealLotusError(
            f"{root} belongs to an embedded devnet; name another place with --data-dir"
        )
