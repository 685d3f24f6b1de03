"""What an execution writes, from its beginning and then as it comes: one reader for history and for what is live.

A run writes its streams to files in its working directory, which are moved to the kept results when it ends. A follower
that holds a file open goes on reading it through the move, so that nothing is lost or told twice in between. The order of
the two streams against each other is not kept: they are two files.
"""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from sp_plugin.jobs.queue import JobQueue
from sp_plugin.jobs.signals import wait_for
from sp_plugin.store.jobs import ExecutionRecord

__all__ = ["STDERR", "STDOUT", "Chunk", "LogPlaces", "follow_execution", "follow_job"]

STDOUT: Final = 1
STDERR: Final = 2
_CHUNK: Final = 64 << 10
_LOOK_SECONDS: Final = 0.2  # how often files are looked at for more
_SHOWN_KEYS: Final = {STDOUT: "Stdout", STDERR: "stderr"}


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some text of one stream; bytes that are not UTF-8 are replaced."""

    stream: int  # STDOUT or STDERR
    text: str


@dataclass(frozen=True, slots=True)
class LogPlaces:
    """Where the files of runs are: while they run, and afterwards."""

    runs: Path
    results: Path

    def open(self, execution_id: str, name: str) -> BinaryIO | None:
        """The file of a stream, None if it is not there (yet, or any more)."""
        kept = self.results / execution_id / "files" / name
        # The third look: it was moved between the first and the second.
        for path in (self.runs / execution_id / "results" / name, kept, kept):
            try:
                return path.open("rb", buffering=0)
            except OSError:
                continue
        return None


class _Stream:
    """One stream's file, opened when it appears and read on from where it was read to."""

    def __init__(self, places: LogPlaces, execution_id: str, stream: int) -> None:
        self._places, self._execution_id, self.stream = places, execution_id, stream
        self._file: BinaryIO | None = None
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.is_found = False

    def skip_to_end(self) -> None:
        """Leave out what was written before now."""
        if self._opened() is not None and self._file is not None:
            self._file.seek(0, 2)

    def read(self, *, last: bool) -> Iterator[str]:
        """What was written since; with `last`, nothing will follow."""
        file = self._opened()
        while file is not None and (raw := file.read(_CHUNK)):
            if text := self._decoder.decode(raw):
                yield text
        if last and (rest := self._decoder.decode(b"", final=True)):
            yield rest

    def close(self) -> None:
        """Give the file back."""
        if self._file is not None:
            self._file.close()

    def _opened(self) -> BinaryIO | None:
        if self._file is None:
            name = "stdout" if self.stream == STDOUT else "stderr"
            self._file = self._places.open(self._execution_id, name)
            self.is_found = self.is_found or self._file is not None
        return self._file


async def follow_execution(
    queue: JobQueue, places: LogPlaces, execution_id: str, *, follow: bool, tail: bool = False
) -> AsyncIterator[Chunk]:
    """What the execution wrote, and with `follow` what it writes until it ends; with `tail` only what comes from now on.

    Where its files are gone, the beginning of each stream that the record keeps.
    """
    streams = [_Stream(places, execution_id, stream) for stream in (STDOUT, STDERR)]
    try:
        if tail:
            for stream in streams:
                stream.skip_to_end()
        while True:
            moment = queue.ends.moment()
            execution = await queue.execution(execution_id)  # before reading: then all is there
            over = execution is None or execution.state.is_terminal
            for stream in streams:
                for text in stream.read(last=over or not follow):
                    yield Chunk(stream.stream, text)
            if over and execution is not None and not tail:
                for chunk in _remembered(execution, streams):
                    yield chunk
            if over or not follow:
                return
            await wait_for(moment, _LOOK_SECONDS)
    finally:
        for stream in streams:
            stream.close()


def _remembered(execution: ExecutionRecord, streams: list[_Stream]) -> Iterator[Chunk]:
    shown = execution.run_output or {}
    for stream in streams:
        if not stream.is_found and (text := str(shown.get(_SHOWN_KEYS[stream.stream]) or "")):
            yield Chunk(stream.stream, text)


async def follow_job(
    queue: JobQueue, places: LogPlaces, job_id: str, *, follow: bool, tail: bool = False
) -> AsyncIterator[Chunk]:
    """The same of a job's newest execution; with `follow` it waits for one to begin, and goes on when the job is tried again.

    Raises:
        LookupError: it has not run, and is not going to or is not waited for.
    """
    seen: set[str] = set()
    while True:
        moment = queue.ends.moment()
        job = await queue.job(job_id)  # before its executions: of a job that is over, no more come
        executions = await queue.executions_of(job_id)
        new = [execution for execution in executions if execution.id not in seen]
        if new:
            seen.update(execution.id for execution in executions)
            async for chunk in follow_execution(
                queue, places, new[-1].id, follow=follow, tail=tail
            ):
                yield chunk
            tail = False
        elif job.state.is_terminal or not follow:
            if not seen:
                raise LookupError(f"job {job_id} has not run: {job.state}, {job.message}")
            return
        if not follow:
            return
        if not new:
            await asyncio.sleep(0)
            await wait_for(moment, _LOOK_SECONDS)
