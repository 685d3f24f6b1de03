"""What a program prints: read as it comes, and read again from the engine's log where the stream broke off."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final

import requests
from docker.errors import DockerException

from sp_plugin.executors.capture import CappedFile

__all__ = ["Streams", "resume_at"]

_NAMES: Final = ("stdout", "stderr")
_OVERLAP: Final = 4096
_JOIN_SECONDS: Final = 30
_BROKEN_OFF: Final = (OSError, ValueError, DockerException, requests.RequestException)
_LOST: Final = b"\n[some output before this was not kept]\n"


class Streams:
    """Both streams of one container, written to capped files by threads.

    `container` is docker-py's; `probe` raises `OSError` while nobody listens at the engine's socket.
    """

    def __init__(
        self, container: Any, files: Mapping[str, CappedFile], probe: Callable[[], None]
    ) -> None:
        self._container = container
        self._probe = probe
        self._files = files
        self._threads: list[threading.Thread] = []
        self._units = 0

    def attach(self) -> None:
        """Read what comes from now on; called before the start, so that no byte is lost.

        Raises:
            APIError, requests.RequestException: the engine refuses or is away.
        """
        frames = self._container.attach(stdout=True, stderr=True, stream=True, demux=True)
        self._start(self._copy_frames, frames)

    def resume(self) -> None:
        """Go on behind what the files have, from the engine's log. Called when `is_reading` is over but the run is not."""
        for name in _NAMES:
            self._start(self._copy_log, name)

    @property
    def is_reading(self) -> bool:
        """Whether the engine still tells what is printed."""
        return any(thread.is_alive() for thread in self._threads)

    def take_units(self) -> int:
        """Lines and frames since the last call: what each costs the engine, however short it is."""
        units, self._units = self._units, 0
        return units

    def finish(self, last_words: Mapping[str, bytes] | None = None) -> None:
        """Wait until all that was printed is written, and then these."""
        for thread in self._threads:
            thread.join(timeout=_JOIN_SECONDS)
        for name, data in (last_words or {}).items():
            self._take(name, data)

    def _start(self, target: Callable[[Any], None], argument: Any) -> None:
        thread = threading.Thread(target=target, args=(argument,), daemon=True)
        self._threads = [known for known in self._threads if known.is_alive()] + [thread]
        thread.start()

    def _copy_frames(self, frames: Any) -> None:
        """Write what the program prints until it ends or the connection does."""
        with _closing(frames), suppress(*_BROKEN_OFF):
            for pair in frames:
                for name, data in zip(_NAMES, pair, strict=True):
                    if data:
                        self._take(name, data)

    def _take(self, name: str, data: bytes) -> None:
        self._units += 1 + data.count(b"\n")
        self._files[name].write(data)

    def _copy_log(self, name: str) -> None:
        file = self._files[name]
        only = {other: other == name for other in _NAMES}
        with suppress(*_BROKEN_OFF):
            self._probe()
            tail: int | str = "all"
            skip, lost = 0, False
            if file.truncated:  # nothing more is kept; only counted
                tail = 0
            else:
                skip, lost = resume_at(file, self._container.logs(**only))
            if lost:
                self._take(name, _LOST)
            with _following(self._container, only, tail) as chunks:
                for data in _behind(chunks, skip):
                    self._take(name, data)


@contextmanager
def _closing(stream: Any) -> Iterator[None]:
    """Close docker-py's stream; its response too, else the hijacked socket stays open until it is collected."""
    try:
        yield
    finally:
        with suppress(OSError, DockerException):
            stream.close()
            stream._response.close()


@contextmanager
def _following(
    container: Any, only: Mapping[str, bool], tail: int | str
) -> Iterator[Iterable[bytes]]:
    """A stream of the engine's log as it grows. Not docker-py's own, which leaves its socket open when it is refused."""
    api = container.client.api
    response = api._get(
        api._url("/containers/{0}/logs", container.id),
        params={**{name: int(on) for name, on in only.items()}, "follow": 1, "tail": tail},
        stream=True,
    )
    with response:
        api._raise_for_status(response)
        yield api._multiplexed_response_stream_helper(response)


def resume_at(file: CappedFile, log: bytes) -> tuple[int, bool]:
    """Where in the engine's log the bytes begin that the file does not have, and whether some before them are lost.

    A log begins with the first byte the program wrote, unless it grew over its size and lost its beginning.
    """
    kept = file.path.read_bytes()
    if log.startswith(kept):
        return len(kept), False
    if kept.startswith(log):
        return len(log), False  # the log was not written to its end: nothing new in it
    end = kept[-_OVERLAP:]
    found = log.rfind(end)
    if found >= 0:
        return found + len(end), False
    return 0, True


def _behind(chunks: Iterable[bytes], skip: int) -> Iterable[bytes]:
    for chunk in chunks:
        if skip < len(chunk):
            yield chunk[skip:]
        skip = max(0, skip - len(chunk))
