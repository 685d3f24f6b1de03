"""`--lotus docker`: the same devnet in containers, driven by `docker compose` (or the older `docker-compose`)."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import uuid
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Final, Self

from devstack.real_lotus.binary import RealLotusConfig, refuse_foreign_directory
from devstack.real_lotus.compose import Containers, compose_text, miner_script, node_script
from devstack.real_lotus.errors import MissingBinaries, NotReady
from devstack.real_lotus.plan import Layout
from devstack.real_lotus.processes import Daemon, log_tail, run_to_end
from devstack.real_lotus.readiness import api_info, wait_until_answers
from devstack.real_lotus.record import Record
from devstack.real_lotus.setup import Tell

__all__ = ["DockerLotus"]

_STOP_SECONDS: Final = 90.0  # two containers with 30 s each


class DockerLotus:
    """A running devnet of Lotus' image; use it as `async with DockerLotus(config, tag, tell) as net`.

    Entering raises `RealLotusError` and leaves nothing running.
    """

    def __init__(self, config: RealLotusConfig, tag: str, tell: Tell) -> None:
        self.config = config
        self.tag = tag
        self.layout = Layout(config.data_dir.absolute())
        self._tell = tell
        self._cleanup = AsyncExitStack()
        self._daemon: Daemon

    @property
    def api_info(self) -> str:
        """`FULLNODE_API_INFO` with the token that lotus wrote into its repo."""
        return api_info(self.layout.lotus, self.config.api_port)

    @property
    def miner_api_info(self) -> str:
        """`MINER_API_INFO` with the token that lotus-miner wrote into its repo."""
        return api_info(self.layout.miner, self.config.miner_port)

    async def __aenter__(self) -> Self:
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
        """Until the containers end by themselves, which raises `NotReady`."""
        await self._daemon.wait()
        self._daemon.check()

    async def _start(self, cleanup: AsyncExitStack) -> None:
        config, log = self.config, self.layout.logs / "compose.log"
        refuse_foreign_directory(self.layout.root)
        compose = [*await _compose_command(), "-f", str(self._write_files())]
        self.layout.logs.mkdir(parents=True, exist_ok=True)
        self._tell(f"starting containers of {self.tag}; their output is in {log}")
        command = [*compose, "up", "--abort-on-container-exit"]
        self._daemon = await Daemon.start("docker compose", command, {}, log)
        cleanup.push_async_callback(self._stop, compose)
        try:
            async with asyncio.timeout(config.patience_seconds):
                for name, port in (("lotus", config.api_port), ("lotus-miner", config.miner_port)):
                    await wait_until_answers(name, port, self._daemon.check, self._tell)
        except TimeoutError as error:
            message = f"the containers did not answer in {config.patience_seconds:.0f} s"
            raise NotReady(message, log_tail(log)) from error

    async def _stop(self, compose: list[str]) -> None:
        self._tell("stopping the containers")
        await self._daemon.stop(_STOP_SECONDS, signal.SIGINT)
        await run_to_end("down", [*compose, "down"], {}, self.layout.logs / "compose.log")

    def _write_files(self) -> str:
        """The compose file and the scripts, written anew at each start; the path of the first."""
        record_dir = self.layout.root / "docker"
        record_dir.mkdir(parents=True, exist_ok=True)
        record = Record(self.layout.root)
        if "network-name" not in record:
            record.finish("network-name", f"localnet-{uuid.uuid4()}")
        containers = Containers(
            tag=self.tag,
            data_dir=str(self.layout.root),
            api_port=self.config.api_port,
            miner_port=self.config.miner_port,
            user=f"{os.getuid()}:{os.getgid()}",
            nv29_epoch=self.config.nv29_epoch,
        )
        (record_dir / "node.sh").write_text(node_script(record.get("network-name")))
        (record_dir / "miner.sh").write_text(miner_script())
        file = record_dir / "compose.yaml"
        file.write_text(compose_text(containers))
        return str(file)


async def _compose_command() -> list[str]:
    """`docker compose`, or `docker-compose`.

    Raises:
        MissingBinaries: neither is there.
    """
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) is None:
            continue
        process = await asyncio.create_subprocess_exec(
            *command, "version",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        if await process.wait() == 0:
            return command
    raise MissingBinaries("--lotus docker needs `docker compose` or docker-compose on PATH")
