"""The WASM executor: each run in a process of its own that can be killed at any moment.

The sidecar never loads a guest. Programs are compiled in a process of their own and kept (`wasm_cache`); a run is a child
forked from a waiting process (`wasm_zygote`, `sp_plugin.wasm_runtime`), watched from outside (`wasm_supervision`), and leaves a
short report. All of them die with the sidecar.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from sp_plugin.executors.base import (
    ExecutionOutcome,
    ExecutionRequest,
    ExecutorSettings,
    OutcomeKind,
    ProgramMissing,
    ResolvedProgram,
    Usage,
    WasmProgram,
    register_executor,
)
from sp_plugin.executors.capture import (
    OutputMeter,
    capture_stream,
    make_output_directories,
)
from sp_plugin.executors.pause import Stopwatch
from sp_plugin.executors.wasm_cache import CompileCache, Compiled, CompileFailed
from sp_plugin.executors.wasm_layout import (
    ManifestCache,
    Preopen,
    VolumeClash,
    beside,
    find_module,
    lay_out,
)
from sp_plugin.executors.wasm_modules import KeptModules
from sp_plugin.executors.wasm_supervision import Ending, judge, supervise
from sp_plugin.executors.wasm_zygote import Zygote, ZygoteLost
from sp_plugin.jobs.removal import remove_soon, remove_tree
from sp_plugin.jobs.spec import WasmParams

__all__ = ["WasmExecutor"]

_PAGE: Final = 1 << 16
_MAX_LINKED: Final = 32  # modules of one program
_MAX_MEMORY: Final = 1 << 32  # a 32-bit linear memory's end
_WASI: Final = "wasi_snapshot_preview1"
_VERSION: Final = f"wasmtime {version('wasmtime')}"


@register_executor("wasm")
class WasmExecutor:
    """Runs WASI preview 1 and WASI 0.2 commands by wasmtime."""

    engine = "wasm"
    params = WasmParams

    def __init__(self, settings: ExecutorSettings) -> None:
        self._dir = settings.cache_dir / "wasm"
        self._kept_modules = KeptModules(settings.cache_dir / "modules", settings.cache_bytes)
        self._cache = CompileCache(self._dir, settings.cache_bytes, _VERSION, settings.pause)
        self._manifests = ManifestCache(self._dir / "manifests")
        self._zygote: Zygote | None = None
        self.pause = settings.pause

    async def resolve(
        self, params: WasmParams, find: Callable[[str], Awaitable[Path]]
    ) -> ResolvedProgram:
        """See `Executor.resolve`. A directory with one `.wasm` file in it stands for that file, as Bacalhau has it."""
        assert isinstance(params.entry_module, str)  # the reader made an input of the old form
        path = await find(params.entry_module)
        module = await self._kept_modules.keep(path)
        return ResolvedProgram(
            WasmProgram(module, module.stem, params.entry_point),
            tuple(params.parameters),
            dict(params.environment),
        )

    async def version(self) -> str:
        """E.g. `wasmtime 50.0.1`."""
        return _VERSION

    async def remove_leftovers(self, keep: Collection[str] = ()) -> list[str]:
        """Remove what a killed sidecar left half made; its runs died with it, and their directories are its runner's."""
        await asyncio.to_thread(_remove_half_made, self._dir)
        return []

    async def close(self) -> None:
        """End the process that starts runs."""
        if self._zygote is not None:
            self._zygote.close()
            self._zygote = None

    async def run(
        self, request: ExecutionRequest, cancel: asyncio.Event | None = None
    ) -> ExecutionOutcome:
        """See `Executor.run`."""
        watch = Stopwatch(self.pause)
        outputs = make_output_directories(request)
        meter = OutputMeter(tuple(outputs.values()), request.limits)
        ending = await self._attempt(request, outputs, meter, watch, cancel)
        if ending.report is not None and ending.report["kind"] == "damaged":
            self._cache.drop(ending.report["message"])
            await asyncio.to_thread(_empty, outputs.values())
            await _removed(_root_of(request))
            ending = await self._attempt(request, outputs, meter, watch, cancel)
            if ending.report is not None and ending.report["kind"] == "damaged":
                message = "the compiled program is damaged again right after it was compiled anew"
                ending = Ending(OutcomeKind.RUNTIME_FAULT, message)
        if (excess := meter.excess()) and ending.kind is OutcomeKind.FINISHED:
            ending = replace(ending, kind=OutcomeKind.OUT_OF_DISK, message=excess, exit_code=None)
        return self._outcome(request, ending, meter, watch)

    async def _attempt(
        self,
        request: ExecutionRequest,
        outputs: Mapping[str, Path],
        meter: OutputMeter,
        watch: Stopwatch,
        cancel: asyncio.Event | None,
    ) -> Ending:
        def time_left() -> float:
            return request.limits.wall_seconds - watch.seconds

        root = _root_of(request)
        try:
            self._cache.make_directory()
            modules = await _until(cancel, self._modules(request, time_left))
            if modules is None:
                return Ending(OutcomeKind.CANCELLED, "cancelled")
            preopens = await self._lay_out(request, outputs, root)
            zygote = await self._running_zygote()
            run = zygote.start(_plan(request, modules, preopens))
            verdict, ended = await supervise(
                zygote, run, request.limits, time_left, meter, cancel=cancel, pause=self.pause
            )
            if verdict is not None:
                return replace(verdict, cpu_seconds=ended.cpu_seconds)
            return judge(ended, request.limits)
        except CompileFailed as failure:
            return Ending(failure.kind, str(failure))
        except VolumeClash as clash:
            return Ending(OutcomeKind.INPUT_MISSING, str(clash))
        except (ZygoteLost, OSError) as error:
            return Ending(OutcomeKind.RUNTIME_FAULT, f"the run could not be started: {error}")
        finally:
            if request.work_dir is None:
                await _removed(root)

    async def _lay_out(
        self, request: ExecutionRequest, outputs: Mapping[str, Path], root: Path
    ) -> list[Preopen]:
        wanted = (request.inputs, request.outputs, outputs, root, self._manifests)
        try:
            if any(volume.host_path.is_dir() for volume in request.inputs):
                return await asyncio.to_thread(lay_out, *wanted)  # it lists them all
            return lay_out(*wanted)
        except OSError as error:
            raise VolumeClash(f"an input cannot be read: {error}") from error

    async def _modules(
        self, request: ExecutionRequest, time_left: Callable[[], float]
    ) -> list[tuple[str, Compiled]]:
        """(name, compiled) of what is linked, in order; the program comes last and its name is empty.

        Raises:
            CompileFailed: one cannot be compiled, is not among the inputs, or they import each other in a circle.
        """
        program = request.program
        assert isinstance(program, WasmProgram)
        flavour = "plain" if request.limits.fuel is None else "fuelled"
        found: dict[str, Compiled] = {}

        async def visit(name: str, path: Path, sha256: str, above: tuple[str, ...]) -> None:
            compiled = await self._cache.get(path, sha256, flavour, time_left())
            if compiled.form == "module":
                for wanted, first in compiled.imports.items():
                    if wanted == _WASI or wanted in found:
                        continue
                    if wanted in (*above, name) or len(found) + len(above) > _MAX_LINKED:
                        raise _unlinkable(wanted, (*above, name))
                    file = find_module(wanted, request.inputs)
                    if file is None:
                        raise _unknown_import(wanted, first)
                    kept = await self._kept_modules.keep(file)
                    await visit(wanted, kept, kept.stem, (*above, name))
            elif name:
                raise CompileFailed(
                    OutcomeKind.INVALID_PROGRAM, f"{name} is a component and cannot be linked in"
                )
            found[name] = compiled

        try:
            await visit("", program.module, program.sha256, ())
        except ProgramMissing as error:
            raise CompileFailed(error.kind, str(error)) from error
        return list(found.items())

    async def _running_zygote(self) -> Zygote:
        """The one that starts runs; a new one if there is none or it is gone."""
        if self._zygote is not None and not self._zygote.serves(asyncio.get_running_loop()):
            self._zygote.close()
            self._zygote = None
        if self._zygote is None:
            self._zygote = Zygote((self._dir / f"zygote-{os.getpid()}.log").absolute())
        zygote = self._zygote
        await zygote.wait_ready()
        return zygote

    def _outcome(
        self, request: ExecutionRequest, ending: Ending, meter: OutputMeter, watch: Stopwatch
    ) -> ExecutionOutcome:
        report = ending.report or {}
        limit = request.limits.stream_bytes
        streams = {
            name: capture_stream(
                path,
                truncated=bool(report.get(f"{name}_truncated", _is_larger(path, limit))),
            )
            for name, path in _stream_paths(request).items()
        }
        return ExecutionOutcome(
            kind=ending.kind,
            message=ending.message,
            exit_code=ending.exit_code,
            stdout=streams["stdout"],
            stderr=streams["stderr"],
            usage=Usage(
                wall_seconds=watch.seconds,
                cpu_seconds=ending.cpu_seconds,
                memory_bytes=report.get("memory_bytes"),
                fuel=report.get("fuel"),
                output_bytes=meter.total_bytes,
                output_files=meter.total_files,
            ),
            executor=self.engine,
            executor_version=_VERSION,
            warnings=(*report.get("warnings", ()), *watch.warnings()),
        )


async def _until(
    cancel: asyncio.Event | None, work: Awaitable[list[tuple[str, Compiled]]]
) -> list[tuple[str, Compiled]] | None:
    """What `work` gives, or `None` if `cancel` was set first; the work is ended then."""
    task = asyncio.ensure_future(work)
    if cancel is None:
        return await task
    stop = asyncio.ensure_future(cancel.wait())
    try:
        await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        stop.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


def _unlinkable(wanted: str, above: tuple[str, ...]) -> CompileFailed:
    chain = " → ".join(name or "the program" for name in (*above, wanted))
    return CompileFailed(
        OutcomeKind.INVALID_PROGRAM,
        f"modules import each other in a circle, or more than {_MAX_LINKED} are linked: {chain}",
    )


def _unknown_import(module: str, name: str) -> CompileFailed:
    return CompileFailed(
        OutcomeKind.INVALID_PROGRAM,
        f"the module cannot be linked: it imports {name[:100]!r} from {module[:100]!r}, which is neither {_WASI} nor "
        "the Target of an InputSource",
    )


def _remove_half_made(directory: Path) -> None:
    remove_tree(directory / "manifests")
    for path in [*directory.glob("*.tmp"), *directory.glob("zygote-*.log")]:
        path.unlink(missing_ok=True)


def _root_of(request: ExecutionRequest) -> Path:
    """Where the program's `/` is laid out."""
    return (request.work_dir or request.result_dir.parent) / f"{request.result_dir.name}.root"


async def _removed(root: Path) -> None:
    await remove_soon(root)
    if (other := beside(root)).exists():
        await remove_soon(other)


def _empty(directories: Sequence[Path] | Any) -> None:
    for directory in directories:
        remove_tree(directory)
        directory.mkdir(mode=0o700)


def _stream_paths(request: ExecutionRequest) -> dict[str, Path]:
    return {name: request.result_dir / name for name in ("stdout", "stderr")}


def _is_larger(path: Path, limit: int) -> bool:
    return path.exists() and path.stat().st_size > limit


def _plan(
    request: ExecutionRequest,
    modules: list[tuple[str, Compiled]],
    preopens: list[Preopen],
) -> dict[str, Any]:
    """What the child is told; paths are absolute, since it works in another directory."""
    program, limits = request.program, request.limits
    assert isinstance(program, WasmProgram)
    paths = _stream_paths(request)
    return {
        "flavour": "plain" if limits.fuel is None else "fuelled",
        "modules": [
            {
                "name": name,
                "key": compiled.key,
                "path": str(compiled.path.absolute()),
                "sha256": compiled.sha256,
                "form": compiled.form,
                "exports": list(compiled.exports) if compiled.form == "component" else [],
            }
            for name, compiled in modules
        ],
        "entry_point": program.entry_point,
        "argv": ["", *request.arguments],  # Bacalhau gives an empty argv[0]
        "env": dict(request.environment),
        "preopens": [[item.host, item.guest, item.writable] for item in preopens],
        "stdout": str(paths["stdout"].absolute()),
        "stderr": str(paths["stderr"].absolute()),
        "stream_bytes": limits.stream_bytes,
        "memory_bytes": min(-(-limits.memory_bytes // _PAGE) * _PAGE, _MAX_MEMORY),
        "cpu_seconds": limits.cpu_seconds,
        "fuel": limits.fuel,
        # also room for the cut marker; one more than allowed, by which a file that was cut is known
        "file_bytes": max(limits.output_bytes + 1, limits.stream_bytes + 4096),
    }
