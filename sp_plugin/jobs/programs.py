"""The program of a task: found by its engine's executor, and what bundles say of it.

Which module a WASM task runs follows from the content of its inputs alone, so it is found once for equal ones: a batch of jobs with
one module writes and hashes it once. What a container's image is, its engine is asked each time.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fil_plus.bundle import BundleInput, ImageKind
from sp_plugin.executors.base import (
    DockerProgram,
    Executor,
    FileProgram,
    OutcomeKind,
    ProgramMissing,
    ResolvedProgram,
    WasmProgram,
)
from sp_plugin.jobs.reading import Kinds, params_of
from sp_plugin.jobs.spec import Task

__all__ = ["ProgramIdentity", "Programs", "program_identity"]

_MOST_KNOWN: Final = 512

_Key = tuple[str, str, tuple[tuple[str, str, bytes, str | None], ...]]


@dataclass(frozen=True, slots=True)
class ProgramIdentity:
    """A program as bundles name it."""

    engine: str
    module_sha256: str | None
    image: str | None
    image_kind: ImageKind | None
    entry_point: tuple[str, ...]


def program_identity(engine: str, resolved: ResolvedProgram) -> ProgramIdentity:
    """What a bundle says of this program of an engine (its kind, lower case)."""
    program = resolved.program
    if isinstance(program, WasmProgram | FileProgram):
        entry = (program.entry_point,) if program.entry_point else ()
        return ProgramIdentity(engine, program.sha256, None, None, entry)
    assert isinstance(program, DockerProgram)
    kind = ImageKind.LOCAL if program.reference is None else ImageKind.REGISTRY
    image = program.reference or program.image_id
    return ProgramIdentity(engine, None, image, kind, program.entry_point or ())


class Programs:
    """Finds programs, by the executors offered here (by engine)."""

    def __init__(self, kinds: Kinds, executors: Mapping[str, Executor]) -> None:
        self._kinds = kinds
        self.executors = executors
        self._known: dict[_Key, ResolvedProgram] = {}  # the one used longest ago first

    async def find(
        self,
        task: Task,
        inputs: Sequence[BundleInput],
        find: Callable[[str], Awaitable[Path]],
    ) -> ResolvedProgram:
        """The program of a task whose inputs are these; `find` gives the host path of the input at a target, if that is needed.

        Raises:
            ProgramMissing: it is not here, or the engine is not offered.
        """
        executor = self.executors.get(task.engine.kind)
        if executor is None:
            message = f"engine {task.engine.type} is not offered here"
            raise ProgramMissing(OutcomeKind.INVALID_PROGRAM, message)
        key = _key_of(task, inputs)
        known = self._known.pop(key, None)
        if known is None or not _is_there(known):
            params = params_of(self._kinds, "engine", task.engine)
            known = await executor.resolve(params, find)
        if isinstance(known.program, WasmProgram):
            self._known[key] = known
            if len(self._known) > _MOST_KNOWN:
                self._known.pop(next(iter(self._known)))
        return known


def _is_there(known: ResolvedProgram) -> bool:
    """Whether the executor still keeps the module."""
    return isinstance(known.program, WasmProgram) and known.program.module.is_file()


def _key_of(task: Task, inputs: Sequence[BundleInput]) -> _Key:
    params = json.dumps(task.engine.params, sort_keys=True)
    content = tuple((item.target, item.source, item.cid.raw, item.path) for item in inputs)
    return task.engine.kind, params, content
