"""The executor: one run from its image to its outputs, and what is done about runs that others left."""

from __future__ import annotations

import asyncio
import functools
import os
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import requests
import structlog
from docker.errors import APIError, DockerException, ImageNotFound

from sp_plugin.executors.base import (
    DockerProgram,
    EngineUnavailable,
    ExecutionOutcome,
    ExecutionRequest,
    ExecutorSettings,
    LeftRun,
    OutcomeKind,
    ProgramMissing,
    ResolvedProgram,
    register_executor,
)
from sp_plugin.executors.docker.endings import CannotStart, Ending
from sp_plugin.executors.docker.engine import DockerEngine, is_away, remove_container, said
from sp_plugin.executors.docker.handle import RunningContainer
from sp_plugin.executors.docker.images import find_image, is_by_digest, may_pull, pull_image
from sp_plugin.executors.docker.loop_image import release_below
from sp_plugin.executors.docker.memory_volume import remove_volumes
from sp_plugin.executors.docker.probing import Abilities, disk_of, probe_host
from sp_plugin.executors.docker.run import ContainerRun
from sp_plugin.executors.docker.spec import (
    LABEL,
    LABEL_OWNER,
    LABEL_ROLE,
    LABEL_SPACE,
    LABEL_TOKEN,
    Place,
    container_spec,
    declared_volumes,
)
from sp_plugin.jobs.spec import DockerParams

__all__ = ["DockerExecutor"]

_SWEEP_SECONDS: Final = 5.0
# An engine that is slow may make a container after we stopped waiting for it.
_MAY_APPEAR_SECONDS: Final = 120.0

log = structlog.get_logger()


@register_executor("docker")
class DockerExecutor:
    """Runs containers by a Docker engine (or Podman's Docker-compatible socket).

    `running` has the container of each run under way by its execution ID: what may be frozen and thawed.
    """

    engine = "docker"
    params = DockerParams

    def __init__(self, settings: ExecutorSettings) -> None:
        self._settings = settings
        self.pause = settings.pause
        self._engine = DockerEngine(settings.docker_url)
        self._abilities: Abilities | None = None
        self._probing = asyncio.Lock()
        # executions whose containers could not be removed yet, and until when one may still appear
        self._left: dict[str, float] = {}
        self._begun: set[str] = set()  # executions of this process
        self._are_leftovers = False  # those of earlier processes could not be removed yet
        self._sweeping: asyncio.Task[None] | None = None
        self.running: dict[str, RunningContainer] = {}

    async def version(self) -> str:
        """E.g. `docker 20.10.24`; raises `EngineUnavailable` when no engine answers."""
        return (await asyncio.to_thread(self._engine.facts)).title

    async def abilities(self) -> Abilities:
        """What this host can do for containers; tried once.

        Raises:
            EngineUnavailable: no engine answers.
        """
        async with self._probing:
            if self._abilities is None:
                place = self._settings.runs_dir or Path(tempfile.gettempdir())
                self._abilities = await asyncio.to_thread(
                    probe_host, self._engine, place, self._settings.owner
                )
            return self._abilities

    async def resolve(
        self, params: DockerParams, find: Callable[[str], Awaitable[Path]]
    ) -> ResolvedProgram:
        """See `Executor.resolve`. Nothing is pulled yet; an image that may be has no ID until its run starts."""
        try:
            image_id = await self.image_id(params.image)
        except EngineUnavailable as error:
            raise ProgramMissing(OutcomeKind.RUNTIME_FAULT, str(error)) from error
        if image_id is None and not may_pull(params.image, self._settings.docker.pull_from):
            raise ProgramMissing(OutcomeKind.IMAGE_MISSING, self._why_not_here(params.image))
        program = DockerProgram(
            image_id or "",
            None if params.entry_point is None else tuple(params.entry_point),
            params.working_directory,
            params.image if is_by_digest(params.image) else None,
        )
        environment = dict(entry.split("=", 1) for entry in params.environment)
        return ResolvedProgram(program, tuple(params.parameters), environment)

    def _why_not_here(self, image: str) -> str:
        reason = f"the image {image} is not on this host; load or pull it first"
        if not self._settings.docker.pull_from:
            return reason
        return f"{reason} (only images named by digest, from repositories in jobs.docker.pull_from, are pulled)"

    async def image_id(self, name: str) -> str | None:
        """The ID (`sha256:…`) of an image that is here, by name, digest or ID; `None` if it is not. Never pulls.

        Raises:
            EngineUnavailable: no engine answers.
        """
        return await asyncio.to_thread(find_image, self._engine, name)

    async def left_runs(self) -> list[LeftRun]:
        """See `OutlivesUs`: containers with this owner's label that run a job."""

        def look() -> list[LeftRun]:
            return [
                LeftRun(container.labels.get(LABEL, ""), int(container.labels[LABEL_TOKEN]))
                for container in self._owned()
                if container.labels.get(LABEL_TOKEN, "").isdigit()
                and LABEL_ROLE not in container.labels
            ]

        return await asyncio.to_thread(lambda: self._engine.ask(look))

    async def remove_leftovers(self, keep: Collection[str] = ()) -> list[str]:
        """See `LeavesTraces`: containers, volumes and mounts of this owner."""
        self._begun.update(keep)
        self._are_leftovers = True
        try:
            return await self._remove_all_left()
        except EngineUnavailable:
            self._sweep_later()
            raise
        finally:
            if self._settings.runs_dir is not None:
                runs = self._settings.runs_dir.absolute()
                await asyncio.to_thread(release_below, runs, frozenset(keep))

    async def _remove_all_left(self) -> list[str]:
        kept = frozenset(self._begun)

        def remove() -> list[str]:
            gone = [found for found in self._owned() if found.labels.get(LABEL) not in kept]
            for container in gone:
                remove_container(container)
            remove_volumes(self._engine, self._settings.owner, kept)
            return sorted({found.labels.get(LABEL, "") for found in gone})

        removed = await asyncio.to_thread(lambda: self._engine.ask(remove))
        self._are_leftovers = False
        return removed

    async def abandon(self, execution_id: str) -> None:
        """See `OutlivesUs`. An engine that is away is asked again until it answers."""
        self._left[execution_id] = 0.0
        await self._sweep_once()
        if self._left:
            self._sweep_later()
        if self._settings.runs_dir is not None:
            place = self._settings.runs_dir.absolute() / execution_id
            await asyncio.to_thread(release_below, place, frozenset())

    async def close(self) -> None:
        """Give the connections back."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            with suppress(asyncio.CancelledError):
                await self._sweeping
        self._engine.close()

    async def run(
        self, request: ExecutionRequest, cancel: asyncio.Event | None = None
    ) -> ExecutionOutcome:
        """See `Executor.run`."""
        run = ContainerRun(request, cancel, self.pause)
        self._begun.add(request.execution_id)
        try:
            container = await self._container(request, run)
            self.running[request.execution_id] = run.handle_of(container, self._engine)
            await run.follow()
        except (CannotStart, EngineUnavailable) as fault:
            kind = fault.kind if isinstance(fault, CannotStart) else OutcomeKind.RUNTIME_FAULT
            run.ending = Ending(kind, str(fault))
        except (DockerException, requests.RequestException) as error:
            message = f"the Docker engine failed: {said(error)}"
            run.ending = Ending(OutcomeKind.RUNTIME_FAULT, message)
        except asyncio.CancelledError:
            run.is_abandoned = True
            raise
        finally:
            self.running.pop(request.execution_id, None)
            # Shielded: a cancelled task must not leave a container running.
            if not await asyncio.shield(asyncio.to_thread(run.clean_up)):
                may_appear = time.monotonic() + _MAY_APPEAR_SECONDS if run.may_appear else 0.0
                self._left[request.execution_id] = may_appear
                self._sweep_later()
        return await asyncio.to_thread(run.outcome, await self._title())

    async def _container(self, request: ExecutionRequest, run: ContainerRun) -> Any:
        """The container of a run: a new one, or the one that an earlier sidecar started."""
        abilities = await self.abilities()
        if reason := abilities.facts.why_unfit(self._settings.docker.runtime):
            raise CannotStart(OutcomeKind.RUNTIME_FAULT, reason)
        if request.limits.gpus and (reason := abilities.facts.why_no_gpus()):
            raise CannotStart(OutcomeKind.RUNTIME_FAULT, reason)
        run.tells_oom = abilities.facts.tells_oom
        run.hears_oom = abilities.facts.needs_listener
        if request.inputs and abilities.files_problem:
            raise CannotStart(OutcomeKind.RUNTIME_FAULT, abilities.files_problem)
        if request.is_resumed:
            return await asyncio.to_thread(self._found, request, run, abilities)
        await self.pause.wait_off(run.cancel)  # a pull is work, too
        program = request.program
        assert isinstance(program, DockerProgram)
        image_id = program.image_id or await self._pulled(program, request, run.cancel)
        return await _finished_or_undone(self._create, request, run, abilities, image_id)

    async def _pulled(
        self, program: DockerProgram, request: ExecutionRequest, cancel: asyncio.Event | None
    ) -> str:
        reference = program.reference or ""
        options = self._settings.docker
        if not may_pull(reference, options.pull_from):
            raise CannotStart(OutcomeKind.IMAGE_MISSING, self._why_not_here(reference))
        stop = threading.Event()
        loop = asyncio.get_running_loop()

        def notify(text: str) -> None:
            loop.call_soon_threadsafe(request.notify, text)

        pulling = asyncio.ensure_future(
            asyncio.to_thread(pull_image, self._engine, reference, options, notify, stop)
        )
        cancelled = asyncio.ensure_future((cancel or asyncio.Event()).wait())
        try:
            await asyncio.wait({pulling, cancelled}, return_when=asyncio.FIRST_COMPLETED)
            if pulling.done():
                return pulling.result()
            raise CannotStart(OutcomeKind.CANCELLED, "cancelled while its image was pulled")
        finally:
            stop.set()  # the thread sees it with the next word of the engine
            cancelled.cancel()
            pulling.add_done_callback(_forget)

    def _create(
        self, request: ExecutionRequest, run: ContainerRun, abilities: Abilities, image_id: str
    ) -> Any:
        program = request.program
        assert isinstance(program, DockerProgram)
        facts = abilities.facts
        place = Place(
            facts=facts,
            user=facts.user(os.getuid(), os.getgid()),
            owner=self._settings.owner,
            options=self._settings.docker,
            disk=disk_of(request.result_dir),
        )
        try:
            image = self._engine.client.images.get(image_id)
            if image.id != image_id:
                message = f"the image is now {image.id}, not {image_id}"
                raise CannotStart(OutcomeKind.IMAGE_MISSING, message)
            place = run.make_space(self._engine, abilities, place)
            volumes = declared_volumes(image.attrs.get("Config"))
            return self._engine.client.containers.create(
                image.id, **container_spec(request, program, volumes, place)
            )
        except ImageNotFound as error:
            message = f"the image {image_id} is not on this host; load or pull it first"
            raise CannotStart(OutcomeKind.IMAGE_MISSING, message) from error
        except (APIError, requests.RequestException) as error:
            run.may_appear = is_away(error)  # only its answer may be lost
            message = f"the container cannot be created: {said(error)}"
            raise CannotStart(OutcomeKind.RUNTIME_FAULT, message) from error

    def _found(self, request: ExecutionRequest, run: ContainerRun, abilities: Abilities) -> Any:
        for container in self._owned(request.execution_id):
            if LABEL_ROLE not in container.labels and container.labels.get(LABEL_TOKEN) == str(
                request.token
            ):
                kind = container.labels.get(LABEL_SPACE, "")
                run.find_space(self._engine, abilities, self._settings.owner, kind)
                return container
        raise CannotStart(OutcomeKind.RUNTIME_FAULT, "its container is not there any more")

    def _owned(self, execution_id: str | None = None) -> list[Any]:
        labels = [f"{LABEL_OWNER}={self._settings.owner}"]
        if execution_id is not None:
            labels.append(f"{LABEL}={execution_id}")
        filters: dict[str, Any] = {"label": labels}
        found: list[Any] = self._engine.client.containers.list(
            all=True, filters=filters, ignore_removed=True
        )
        return found

    async def _title(self) -> str:
        try:
            return await self.version()
        except EngineUnavailable:
            return "docker (engine away)"

    def _sweep_later(self) -> None:
        """What could not be removed now is removed when the engine is back."""
        if self._sweeping is None or self._sweeping.done():
            self._sweeping = asyncio.create_task(self._sweep())

    async def _sweep(self) -> None:
        while self._left or self._are_leftovers:
            await asyncio.sleep(_SWEEP_SECONDS)
            await self._sweep_once()

    async def _sweep_once(self) -> None:
        def remove(execution_id: str) -> None:
            for container in self._owned(execution_id):
                remove_container(container)
            remove_volumes(self._engine, self._settings.owner, frozenset(), only=execution_id)

        try:
            if self._are_leftovers:
                await self._remove_all_left()
            for execution_id in tuple(self._left):
                question = functools.partial(remove, execution_id)
                await asyncio.to_thread(self._engine.ask, question)
                if self._left.get(execution_id, 0.0) <= time.monotonic():
                    self._left.pop(execution_id, None)
        except EngineUnavailable as error:
            log.warning("containers_not_removed", error=str(error))


def _forget(task: asyncio.Future[Any]) -> None:
    """Look at the end of a thread that nobody waits for any more."""
    if not task.cancelled():
        task.exception()


async def _finished_or_undone(create: Callable[..., Any], *args: Any) -> Any:
    """The container that `create` makes in a thread; if we are cancelled meanwhile it is removed again."""
    creating = asyncio.ensure_future(asyncio.to_thread(create, *args))
    try:
        return await asyncio.shield(creating)
    except asyncio.CancelledError:
        with suppress(CannotStart):
            await asyncio.to_thread(remove_container, await creating)
        raise
