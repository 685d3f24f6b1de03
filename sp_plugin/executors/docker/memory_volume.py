"""Outputs in memory volumes of limited size, held open by a container of ours, and read through the engine.

For hosts where no file system can be mounted: a sidecar without root, or a rootless engine, whose files would belong to
IDs that are not ours. What lies in a memory volume counts as memory of the container that wrote it, so its limit is
raised by as much; the host must have it.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final

import requests
from docker.errors import APIError, DockerException, NotFound
from docker.types import LogConfig, Mount

from sp_plugin.executors.base import MIB, ExecutionRequest
from sp_plugin.executors.docker.engine import DockerEngine, is_away, remove_container, said
from sp_plugin.executors.docker.holder import holder_image
from sp_plugin.executors.docker.spaces import LEAST_FREE, SpaceKind, SpaceUnavailable, fullness
from sp_plugin.executors.docker.spec import LABEL, LABEL_OWNER, LABEL_ROLE, labels_of, plain_ulimits
from sp_plugin.jobs.outputs import OutputRefused, OutputTooLarge
from sp_plugin.jobs.removal import remove_tree

__all__ = ["MemoryVolume", "remove_volumes"]

_HELD: Final = "/held"
_MAX_DEPTH: Final = 64
_SPARE_INODES: Final = 16
_COLLECT_SECONDS, _PAUSE_SECONDS = 60.0, 0.5


@dataclass(slots=True)
class MemoryVolume:
    """A volume for each output, and their holder."""

    request: ExecutionRequest
    engine: DockerEngine
    owner: str
    user: tuple[
        int, int
    ]  # of the container, in the IDs of whoever mounts: the host's or the rootless engine's
    kind: SpaceKind = SpaceKind.MEMORY_VOLUME
    _places: list[Path] = field(default_factory=list)  # where we can see them, if we can

    @property
    def memory_bytes(self) -> int:
        """See `OutputSpace`. So much more than is allowed that one is full only with too much in it."""
        return self.request.limits.output_bytes + LEAST_FREE + os.sysconf("SC_PAGE_SIZE")

    def make(self) -> None:
        """New volumes, and a running holder.

        Raises:
            SpaceUnavailable: the engine cannot make them.
        """
        try:
            for number in range(len(self.request.outputs)):
                self._make_volume(number)
            self._start_holder()
        except (DockerException, requests.RequestException, ValueError) as error:
            self.release()
            raise SpaceUnavailable(f"no memory volume can be made: {said(error)}") from error

    def mounts(self) -> tuple[Mount, ...]:
        """See `OutputSpace`."""
        return tuple(
            Mount(target=output.guest_path, source=self._name(number), type="volume", no_copy=True)
            for number, output in enumerate(self.request.outputs)
        )

    def excess(self) -> str | None:
        """See `OutputSpace`. Only root on the engine's host can see into a volume; else the program just hears of it."""
        for place in self._places:
            with suppress(OSError):
                if place.is_mount() and (reason := fullness(place)):
                    return reason
        return None

    def collect(self) -> None:
        """See `OutputSpace`. An engine that breaks off or is away is asked again for a while: a run's whole work is in there."""
        until = time.monotonic() + _COLLECT_SECONDS
        while True:
            try:
                return self._collect_once()
            except SpaceUnavailable as error:
                if not error.may_pass or time.monotonic() > until:
                    raise
            time.sleep(_PAUSE_SECONDS)

    def _collect_once(self) -> None:
        reader = _ArchiveReader(self.request)
        try:
            self._probe()
            holder = self.engine.client.containers.get(self._name())
            for number, output in enumerate(self.request.outputs):
                chunks, _ = holder.get_archive(f"{_HELD}/{number}")
                reader.read(chunks, self.request.result_dir / output.name)
        except (DockerException, requests.RequestException, tarfile.TarError, OSError) as error:
            reader.undo()
            is_engine = isinstance(error, DockerException | requests.RequestException)
            raise SpaceUnavailable(
                f"its outputs cannot be read: {said(error)}", may_pass=is_engine and is_away(error)
            ) from error
        except (OutputRefused, SpaceUnavailable):
            reader.undo()
            raise

    def _probe(self) -> None:
        try:
            self.engine.probe()
        except OSError as error:
            message = f"its outputs cannot be read: the engine is away ({said(error)})"
            raise SpaceUnavailable(message, may_pass=True) from error

    def release(self) -> None:
        """See `OutputSpace`."""
        with suppress(DockerException, requests.RequestException):
            with suppress(NotFound):
                remove_container(self.engine.client.containers.get(self._name()))
            for number in range(len(self.request.outputs)):
                with suppress(NotFound):
                    self.engine.client.volumes.get(self._name(number)).remove(force=True)

    def _name(self, number: int | None = None) -> str:
        ending = "holder" if number is None else str(number)
        owner = hashlib.sha256(self.owner.encode()).hexdigest()[:12]  # an engine may have several
        run = f"{self.request.execution_id}-{self.request.result_dir.name}"
        return f"sp-plugin-{owner}-{run}-{ending}"

    def _make_volume(self, number: int) -> None:
        limits = self.request.limits
        uid, gid = self.user
        # in pages, since Podman takes `size` for a quota of its own (Linux Documentation/filesystems/tmpfs.rst)
        blocks = self.memory_bytes // os.sysconf("SC_PAGE_SIZE")
        inodes = limits.output_files + _SPARE_INODES
        options = (
            f"nr_blocks={blocks},nr_inodes={inodes},mode=0700,uid={uid},gid={gid},nosuid,nodev"
        )
        made: Any = self.engine.client.volumes.create(
            self._name(number),
            driver="local",
            driver_opts={"type": "tmpfs", "device": "tmpfs", "o": options},
            labels=labels_of(self.owner, self.request),
        )
        place = Path(made.attrs.get("Mountpoint") or "/nonexistent")
        with suppress(OSError):
            if os.access(place.parent, os.X_OK):
                self._places.append(place)

    def _start_holder(self) -> None:
        client = self.engine.client
        architecture = str(client.info().get("Architecture", ""))
        mounts = [
            Mount(
                target=f"{_HELD}/{number}", source=self._name(number), type="volume", no_copy=True
            )
            for number in range(len(self.request.outputs))
        ]
        client.containers.create(
            holder_image(client, architecture),
            name=self._name(),
            labels=labels_of(self.owner, self.request) | {LABEL_ROLE: "holder"},
            mounts=mounts,
            user="65534:65534",
            read_only=True,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            network_mode="none",
            mem_limit=16 * MIB,
            memswap_limit=16 * MIB,
            pids_limit=16,
            ulimits=plain_ulimits(self.engine.facts()),
            log_config=LogConfig(type="none"),
        ).start()


class _ArchiveReader:
    """Writes tar streams of strangers' files out as plain files; counts over all outputs of a run."""

    def __init__(self, request: ExecutionRequest) -> None:
        self._limits = request.limits
        self._made: list[Path] = []
        self._bytes = self._entries = 0

    def read(self, chunks: Iterator[bytes], target: Path) -> None:
        """Write one stream below `target`, which must not be there.

        Raises:
            OutputRefused: a link, a device, too much.
        """
        self._made.append(target)
        with tarfile.open(fileobj=_Readable(chunks), mode="r|") as archive:
            for member in archive:
                self._take(archive, member, target)

    def undo(self) -> None:
        """Remove what was written."""
        for path in self._made:
            remove_tree(path)

    def _take(self, archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
        inside = PurePosixPath(member.name).parts[1:]  # the first is the volume's own directory
        place = target.joinpath(*inside)
        if not inside:
            place.mkdir(mode=0o700)
            return
        self._check(member, inside)
        if member.isdir():
            place.mkdir(mode=0o700)
            return
        source = archive.extractfile(member)
        assert source is not None
        with place.open("xb") as file:
            while chunk := source.read(MIB):
                file.write(chunk)

    def _check(self, member: tarfile.TarInfo, inside: tuple[str, ...]) -> None:
        name = inside[-1].encode(errors="backslashreplace").decode()[:100]
        try:
            member.name.encode()
        except UnicodeEncodeError as error:
            raise OutputRefused(f"the name of output {name!r} is not UTF-8") from error
        if ".." in inside or len(inside) > _MAX_DEPTH:
            raise OutputTooLarge(f"the outputs are nested deeper than {_MAX_DEPTH} directories")
        if member.issym():
            raise OutputRefused(
                f"output {name!r} is a symbolic link; write a copy of the file instead"
            )
        if member.islnk():
            raise OutputRefused(f"output {name!r} is a hard link; write a copy of the file instead")
        if not (member.isreg() or member.isdir()):
            raise OutputRefused(f"output {name!r} is a device, pipe or socket")
        self._entries += 1
        self._bytes += member.size if member.isreg() else 0
        if self._bytes > self._limits.output_bytes:
            raise OutputTooLarge(f"the outputs exceed {self._limits.output_bytes} bytes")
        if self._entries > self._limits.output_files:
            raise OutputTooLarge(f"the outputs exceed {self._limits.output_files} files")


class _Readable(io.RawIOBase):
    """A file over chunks as they come."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = chunk
        taken = self._rest[: len(buffer)]
        buffer[: len(taken)] = taken
        self._rest = self._rest[len(taken) :]
        return len(taken)


def remove_volumes(
    engine: DockerEngine, owner: str, keep: frozenset[str], only: str | None = None
) -> None:
    """Remove volumes of this owner but those of executions in `keep`; with `only`, those of one execution.

    Raises:
        APIError, requests.RequestException: the engine fails.
    """
    labelled = [f"{LABEL_OWNER}={owner}"] + ([] if only is None else [f"{LABEL}={only}"])
    filters: dict[str, Any] = {"label": labelled}
    for volume in engine.client.volumes.list(filters=filters):
        labels = volume.attrs.get("Labels") or {}
        if labels.get(LABEL) not in keep:
            with suppress(
                NotFound, APIError
            ):  # one in use goes with its container, at the next start
                volume.remove(force=True)
