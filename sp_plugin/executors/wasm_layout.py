r"""What a WASM program finds where: directories to open for it, manifests of its inputs, and the modules it imports.

There is one virtual root, as with Bacalhau: `/` is a read-only directory with single input files and manifests; inputs that
are directories and outputs are opened at their own paths. Beside each input directory `/x` lies `/x.manifest`, one line
`<bytes><TAB><path>` for each file below it, sorted by path, because wasmtime lists a directory anew for each buffer it fills:
5,000 files take seconds. In names, backslash, tab and newline are written `\\`, `\t` and `\n`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from sp_plugin.executors.base import InputVolume, OutputVolume

__all__ = [
    "ManifestCache",
    "Preopen",
    "VolumeClash",
    "beside",
    "find_module",
    "lay_out",
    "manifest_lines",
]

_MANIFEST: Final = ".manifest"
_MAX_ENTRIES: Final = 1_000_000


class VolumeClash(Exception):
    """Two volumes that cannot both be where the job wants them, or an input that cannot be listed."""


@dataclass(frozen=True, slots=True)
class Preopen:
    """A directory opened for the program."""

    host: str
    guest: str
    writable: bool


def lay_out(
    inputs: Sequence[InputVolume],
    outputs: Sequence[OutputVolume],
    output_dirs: Mapping[str, Path],
    root: Path,
    manifests: ManifestCache,
) -> list[Preopen]:
    """The directories to open, `/` last. Single files are linked into directories, since only those can be opened.

    `root` is a directory to be made: the program's `/`. Files that lie in other volumes come into one beside it (`beside`).

    Raises:
        VolumeClash: see there.
        OSError: an input cannot be read.
    """
    opened: dict[str, tuple[Path, bool]] = {}
    for volume in inputs:
        if volume.host_path.is_dir():
            _claim(opened, volume.guest_path, volume.host_path, writable=False)
    for output in outputs:
        _claim(opened, output.guest_path, output_dirs[output.name], writable=True)
    root.mkdir(mode=0o700)
    singles = [volume for volume in inputs if not volume.host_path.is_dir()]
    for volume in singles:
        home = _home_of(volume, opened, root)
        if (home / PurePosixPath(volume.guest_path).name).exists():
            raise VolumeClash(f"two inputs want to be {volume.guest_path}; give them other targets")
        _link(volume.host_path, home / PurePosixPath(volume.guest_path).name)
    for guest in opened:
        if not _is_covered(guest, opened):
            _place_directory(root, guest)
    for volume in inputs:
        if volume.host_path.is_dir():
            _place_manifest(volume, opened, root, manifests)
    opened.setdefault("/", (root, False))
    return [
        Preopen(str(host.absolute()), guest, writable) for guest, (host, writable) in opened.items()
    ]


def _claim(opened: dict[str, tuple[Path, bool]], path: str, host: Path, *, writable: bool) -> None:
    guest = str(PurePosixPath(path))
    if guest in opened:
        raise VolumeClash(f"two volumes want to be {guest}; give them other targets")
    opened[guest] = (host, writable)


def _is_covered(guest: str, opened: Mapping[str, object]) -> bool:
    """Whether a path lies inside another opened directory, and so is not reached through `/`."""
    return any(str(parent) in opened for parent in PurePosixPath(guest).parents)


def beside(root: Path) -> Path:
    """The directory that `lay_out` makes beside a root if it needs one."""
    return root.with_name(f"{root.name}.inside")


def _home_of(volume: InputVolume, opened: dict[str, tuple[Path, bool]], root: Path) -> Path:
    """The host directory that will hold a single file; one inside another volume is opened on its own."""
    parent = PurePosixPath(volume.guest_path).parent
    known = opened.get(str(parent))
    if known is not None and not known[0].is_relative_to(beside(root)):
        raise VolumeClash(
            f"the input {volume.guest_path} would lie in the volume {parent}; give it another target"
        )
    if known is not None:
        return known[0]
    if not _is_covered(str(parent), opened):
        return _place_directory(root, str(parent))
    home = beside(root) / str(len(opened))
    home.mkdir(parents=True)
    opened[str(parent)] = (home, False)
    return home


def _place_directory(root: Path, guest: str) -> Path:
    home = root / guest.lstrip("/")
    if home == root:
        return root
    try:
        home.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        message = f"{guest} cannot be a directory: an input that is a file lies above it"
        raise VolumeClash(message) from error
    return home


def _link(source: Path, target: Path) -> None:
    """`source` under another name: a hard link, or a copy where that cannot be."""
    try:
        target.hardlink_to(source)
    except OSError:  # another file system
        shutil.copyfile(source, target)


def _place_manifest(
    volume: InputVolume,
    opened: Mapping[str, object],
    root: Path,
    manifests: ManifestCache,
) -> None:
    guest = str(PurePosixPath(volume.guest_path)) + _MANIFEST
    target = root / guest.lstrip("/")
    if guest in opened or _is_covered(guest, opened) or target.exists():
        return  # the job put something of its own there
    _link(manifests.of(volume.host_path), target)


class ManifestCache:
    """Manifests by directory. Volumes of pieces never change; others are new directories for each run."""

    def __init__(self, directory: Path, most: int = 64) -> None:
        self._directory = directory
        self._most = most
        self._known: dict[tuple[str, int, int], Path] = {}
        self._next = 0

    def of(self, volume: Path) -> Path:
        """The file with the manifest of a directory.

        Raises:
            VolumeClash: it has too many entries.
        """
        status = volume.stat()
        key = (str(volume), status.st_ino, status.st_mtime_ns)
        if (known := self._known.get(key)) and known.exists():
            return known
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._next += 1
        path = self._directory / f"{os.getpid()}-{self._next}"
        with path.open("wb") as file:
            file.writelines(manifest_lines(volume))
        self._known[key] = path
        while len(self._known) > self._most:
            self._known.pop(next(iter(self._known))).unlink(missing_ok=True)
        return path


def manifest_lines(directory: Path) -> Iterator[bytes]:
    """The lines of the manifest of a directory: its regular files, sorted by the bytes of their paths.

    Raises:
        VolumeClash: it has more than a million entries.
    """
    found: list[tuple[bytes, int]] = []
    pending, count = [(os.fsencode(directory), b"")], 0
    while pending:
        path, prefix = pending.pop()
        with os.scandir(path) as entries:
            for entry in entries:
                count += 1
                if count > _MAX_ENTRIES:
                    raise VolumeClash(
                        f"the input {directory.name} has more than {_MAX_ENTRIES} entries"
                    )
                if entry.is_dir(follow_symlinks=False):
                    pending.append((entry.path, prefix + entry.name + b"/"))
                elif entry.is_file(follow_symlinks=False):
                    found.append((prefix + entry.name, entry.stat(follow_symlinks=False).st_size))
    for name, size in sorted(found):
        escaped = name.replace(b"\\", b"\\\\").replace(b"\t", b"\\t").replace(b"\n", b"\\n")
        yield b"%d\t%s\n" % (size, escaped)


def find_module(name: str, inputs: Sequence[InputVolume]) -> Path | None:
    """The host's file that the program sees at the path `name`, as Bacalhau finds imported modules; `None` if there is none.

    A directory with exactly one `.wasm` file in it stands for that file. Symbolic links are not followed.
    """
    wanted = PurePosixPath("/") / name.strip()
    if "\0" in name or ".." in wanted.parts:
        return None
    for volume in inputs:
        guest = PurePosixPath(volume.guest_path)
        if not wanted.is_relative_to(guest):
            continue
        path = volume.host_path
        for part in wanted.relative_to(guest).parts:
            path /= part
            if path.is_symlink():
                return None
        if path.is_dir():
            inside = [item for item in path.glob("*.wasm") if not item.is_symlink()]
            path = inside[0] if len(inside) == 1 else path
        if path.is_file():
            return path
    return None
