"""One run of a container: its streams, its outputs, its ending, put together."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import requests
from docker.errors import DockerException

from sp_plugin.executors.base import ExecutionOutcome, ExecutionRequest, OutcomeKind, Usage
from sp_plugin.executors.capture import CappedFile, OutputMeter, capture_stream
from sp_plugin.executors.docker.endings import CannotStart, Ending, Sample, started_at
from sp_plugin.executors.docker.engine import DockerEngine
from sp_plugin.executors.docker.handle import RunningContainer
from sp_plugin.executors.docker.loop_image import LoopImage
from sp_plugin.executors.docker.memory_volume import MemoryVolume
from sp_plugin.executors.docker.probing import Abilities
from sp_plugin.executors.docker.spaces import (
    OutputSpace,
    SpaceKind,
    SpaceUnavailable,
    WatchedDirectory,
)
from sp_plugin.executors.docker.spec import Place
from sp_plugin.executors.docker.streams import Streams
from sp_plugin.executors.docker.watching import Watch
from sp_plugin.executors.pause import Pause, Stopwatch
from sp_plugin.jobs.outputs import OutputRefused, OutputTooLarge

__all__ = ["ContainerRun"]

_NAMES = ("stdout", "stderr")


class ContainerRun:
    """What belongs to one run. `ending` is how it ended, once it has."""

    def __init__(
        self, request: ExecutionRequest, cancel: asyncio.Event | None, pause: Pause
    ) -> None:
        self.request = request
        self.pause = pause
        self.cancel = cancel
        self.ending = Ending(OutcomeKind.RUNTIME_FAULT, "it did not begin")
        self.is_abandoned = False  # nobody will ask for its outcome
        self.tells_oom = True  # whether its engine does
        self.hears_oom = False  # whether the kernel is listened to besides
        self.may_appear = False  # a container that nobody told us of
        self._stopwatch = Stopwatch(pause)
        self._earlier = 0.0  # seconds it ran before this process watched it
        self._files: dict[str, CappedFile] = {}
        self._space: OutputSpace | None = None
        self._handle: RunningContainer | None = None
        self._streams: Streams | None = None
        self._watch: Watch | None = None

    def make_space(self, engine: DockerEngine, abilities: Abilities, place: Place) -> Place:
        """The place with the mounts for the outputs, which are made.

        Raises:
            CannotStart: they cannot be.
        """
        if not self.request.outputs:
            return place
        space = self._space_for(engine, abilities, place.owner, place.user)
        try:
            space.make()
        except (SpaceUnavailable, OSError) as error:
            raise CannotStart(OutcomeKind.RUNTIME_FAULT, str(error)) from error
        self._space = space
        return replace(
            place, outputs=space.mounts(), output_memory=space.memory_bytes, space=space.kind.value
        )

    def find_space(self, engine: DockerEngine, abilities: Abilities, owner: str, kind: str) -> None:
        """The outputs of a run that an earlier process began, in a space of that kind."""
        if self.request.outputs:
            user = abilities.facts.user(0, 0)  # it owns what is there already
            self._space = self._of_kind(SpaceKind(kind), engine, abilities, owner, user)

    def _space_for(
        self, engine: DockerEngine, abilities: Abilities, owner: str, user: tuple[int, int]
    ) -> LoopImage | MemoryVolume | WatchedDirectory:
        kinds = list(abilities.kinds)
        too_large = 4 * self.request.limits.output_bytes > abilities.facts.memory_bytes
        if too_large and SpaceKind.MEMORY_VOLUME in kinds:
            kinds.remove(SpaceKind.MEMORY_VOLUME)
        if not kinds:
            reasons = [f"{kind}: {why}" for kind, why in abilities.why_not.items()]
            reasons += ["too large for memory"] if too_large else []
            message = f"there is no place for its outputs ({'; '.join(reasons)})"
            raise CannotStart(OutcomeKind.RUNTIME_FAULT, message)
        return self._of_kind(kinds[0], engine, abilities, owner, user)

    def _of_kind(
        self,
        kind: SpaceKind,
        engine: DockerEngine,
        abilities: Abilities,
        owner: str,
        user: tuple[int, int],
    ) -> LoopImage | MemoryVolume | WatchedDirectory:
        uid, gid = (abilities.facts.on_host(inside) for inside in user)
        ids = None if uid is None or gid is None else (uid, gid)
        if kind is SpaceKind.LOOP_IMAGE:
            return LoopImage(self.request, ids)
        if kind is SpaceKind.MEMORY_VOLUME:
            return MemoryVolume(self.request, engine, owner, ids or user)
        return WatchedDirectory(self.request, ids)

    def handle_of(self, container: Any, engine: DockerEngine) -> RunningContainer:
        """The handle of its container, new or found."""
        self._handle = RunningContainer(container, engine.probe, hears_oom=self.hears_oom)
        limit, is_resumed = self.request.limits.stream_bytes, self.request.is_resumed
        for name in _NAMES:
            self._files[name] = CappedFile(
                self.request.result_dir / name, limit, is_resumed=is_resumed
            )
        self._streams = Streams(container, self._files, engine.probe)
        return self._handle

    async def follow(self) -> None:
        """Start it, unless it runs already, and watch it to its end.

        Raises:
            APIError, requests.RequestException: the engine fails.
        """
        assert self._handle is not None
        assert self._streams is not None
        watch = Watch(
            self._handle, self._streams, self._space, self.request.limits, self.cancel, self.pause
        )
        watch.tells_oom = self.tells_oom
        self._watch = watch
        if self.request.is_resumed:
            await asyncio.to_thread(self._take_over, watch)
        elif (failed := await watch.start()) is not None:
            self.ending = failed
            return
        self.ending = await watch.to_end()

    def _take_over(self, watch: Watch) -> None:
        """Go on with a container that another process started: its time ran on, and what it printed is in the log."""
        assert self._handle is not None
        assert self._streams is not None
        self._handle.thaw_after_restart()
        began = started_at(self._handle.look())
        if began is None:
            raise CannotStart(OutcomeKind.RUNTIME_FAULT, "its container was made and never started")
        self._earlier = max(0.0, (datetime.now(UTC) - began).total_seconds())
        watch.ran_seconds, watch.was_away = self._earlier, True
        self._streams.resume()

    def clean_up(self) -> bool:
        """End what runs, take what it printed, remove it; whether nothing of it is left at the engine."""
        removed = not self.may_appear
        if self._handle is not None and self._streams is not None:
            with suppress(DockerException, requests.RequestException, OSError):
                self._handle.kill()
                # The stream of a container that never ran ends only with the container.
                if self._handle.has_started():
                    self._read_to_the_end(self._handle, self._streams)
            removed = self._remove()
            self._streams.finish()
            self._handle.close()
        for file in self._files.values():
            file.close()
        if self.is_abandoned and self._space is not None:
            self._space.release()
        return removed

    def _read_to_the_end(self, handle: RunningContainer, streams: Streams) -> None:
        streams.finish()
        if self._watch is not None and self._watch.was_away:
            streams.resume()  # what it printed while nobody read it
            streams.finish()
            streams.finish(handle.last_words())

    def _remove(self) -> bool:
        assert self._handle is not None
        try:
            self._handle.remove()
        except (DockerException, requests.RequestException, OSError):
            return False
        return True

    def outcome(self, title: str) -> ExecutionOutcome:
        """How it ended, with its outputs in the result directory."""
        request, limits = self.request, self.request.limits
        self._collect()
        directories = tuple(request.result_dir / output.name for output in request.outputs)
        meter = OutputMeter(directories, limits)
        if (excess := meter.excess()) and self.ending.kind is OutcomeKind.FINISHED:
            self.ending = Ending(OutcomeKind.OUT_OF_DISK, excess)
        sample = Sample() if self._handle is None else self._handle.sample
        streams = [
            capture_stream(
                request.result_dir / name,
                truncated=name in self._files and self._files[name].truncated,
            )
            for name in _NAMES
        ]
        return ExecutionOutcome(
            kind=self.ending.kind,
            message=self.ending.message,
            exit_code=self.ending.exit_code,
            stdout=streams[0],
            stderr=streams[1],
            usage=Usage(
                wall_seconds=self._stopwatch.seconds + self._earlier,
                cpu_seconds=sample.cpu_seconds,
                memory_bytes=sample.memory_bytes,
                output_bytes=meter.total_bytes,
                output_files=meter.total_files,
            ),
            executor="docker",
            executor_version=title,
            warnings=(*self.ending.warnings, *self._stopwatch.warnings()),
        )

    def _collect(self) -> None:
        """Bring the outputs of every run that began, however it ended, to the result directory."""
        if self._space is None:
            return
        try:
            full = self._space.excess() if self.ending.kind is OutcomeKind.FINISHED else None
            self._space.collect()
        except OutputTooLarge as error:
            self._fault(OutcomeKind.OUT_OF_DISK, str(error))
        except OutputRefused as error:
            self._fault(OutcomeKind.OUTPUT_REFUSED, str(error))
        except (SpaceUnavailable, OSError) as error:
            self._fault(OutcomeKind.RUNTIME_FAULT, str(error))
        else:
            if full is not None and self.ending.exit_code:
                self.ending = Ending(OutcomeKind.OUT_OF_DISK, full, self.ending.exit_code)
            elif full is not None:
                self.ending.warnings.append(full)
        finally:
            self._space.release()

    def _fault(self, kind: OutcomeKind, message: str) -> None:
        """What went wrong first counts; a later fault only adds to it."""
        if self.ending.kind is OutcomeKind.FINISHED:
            self.ending = Ending(kind, message, self.ending.exit_code, self.ending.warnings)
        else:
            self.ending.message = f"{self.ending.message}; then {message}"
