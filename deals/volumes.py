"""Volumes: a UnixFS file or directory out of a CAR, written read-only to disk for a job to read.

A volume is made in a temporary directory and renamed, so it is there whole or not at all; it is kept by the CID of its
target, since equal CIDs are equal bytes. Every block was hashed by the `BlockStore` before a byte of it reaches a file.
Names come from whoever made the data: one that could leave the directory refuses the whole volume.

On disk: `<cache>/<target CID>/data` (a file or directory) and `<cache>/<target CID>/volume.json`.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deals.blocks import BlockStore
from deals.unixfs import Entry, EntryKind, UnixFs, UnixFsLimits
from deals.volume_files import sync_tree, write_file
from lotus_client.cid import RAW, Cid, CidError

__all__ = [
    "UnsafeContent",
    "Volume",
    "VolumeError",
    "VolumeLimits",
    "VolumeTooLarge",
    "clean_cache",
    "find_volume",
    "keep_file",
    "materialise",
    "recorded_size",
    "remove_home",
    "remove_volume",
    "used_at",
    "write_tree",
]

_DATA: Final = "data"
_RECORD: Final = "volume.json"
_TEMPORARY: Final = ".making-"

# Linux NAME_MAX; longer names cannot be written.
_MAX_NAME: Final = 255


class VolumeError(ValueError):
    """Base: no volume can be made of this content."""


class UnsafeContent(VolumeError):
    """A name that could lead out of the volume, or a symlink; nothing of the content is used."""


class VolumeTooLarge(VolumeError):
    """The content exceeds the limits given; says which."""


@dataclass(frozen=True, slots=True)
class VolumeLimits:
    """What a volume may hold: bytes in files, entries (files and directories), nesting, bytes of one inner path."""

    max_bytes: int = 64 << 30
    max_entries: int = 200_000
    max_depth: int = 64
    max_path: int = 2048


@dataclass(frozen=True, slots=True)
class Volume:
    """A file or directory at `path`, read-only, that is the content of `target`, found below `root`.

    `blocks_read` are the CIDs of all blocks it came from, those on the way from `root` included, in the order first read;
    `block_bytes` their bytes. They are the same whether the volume was made now or found in the cache.
    """

    path: Path
    root: Cid
    target: Cid
    files: int
    size_bytes: int
    blocks_read: tuple[Cid, ...]
    block_bytes: int


@dataclass(frozen=True, slots=True)
class _Record:
    """What is remembered of a made volume: files, bytes, and the blocks below its target with their sizes."""

    files: int
    size_bytes: int
    blocks: dict[Cid, int]


def materialise(
    blocks: BlockStore,
    root: Cid,
    names: tuple[str, ...],
    cache: Path,
    limits: VolumeLimits | None = None,
) -> Volume:
    """The volume of what lies at the path `names` below `root`, made in `cache` unless it is there already.

    Blocking; call it in a worker thread. Directories get mode 0555, files 0444.

    Raises:
        UnsafeContent, VolumeTooLarge: as their names say.
        UnixFsError, MissingBlock, BadBlock, UnknownHash: the DAG cannot be read.
        OSError: the disk is full or the cache cannot be written.
    """
    limits = limits or VolumeLimits()
    recorder = _Recorder(blocks)
    # entries of one directory are held in memory before the volume's own count can stop them
    tree_limits = UnixFsLimits(max_entries=limits.max_entries)
    entry = UnixFs(recorder, tree_limits).resolve(root, names)
    if entry.kind is EntryKind.SYMLINK:
        raise UnsafeContent(f"{root}/{'/'.join(names)} is a symlink; only files and directories")
    home = _home(cache, entry.cid)
    record = _load_record(home)
    if record is not None:
        (home / _RECORD).touch()  # what was used last goes last
    else:
        cache.mkdir(parents=True, exist_ok=True)
        record = _make(_Recorder(blocks, recorder.last), tree_limits, entry, home, limits)
    if record.size_bytes > limits.max_bytes or record.files > limits.max_entries:
        raise VolumeTooLarge(f"{entry.cid} has {record.size_bytes} bytes in {record.files} files")
    read = recorder.sizes | record.blocks
    return Volume(
        path=home / _DATA,
        root=root,
        target=entry.cid,
        files=record.files,
        size_bytes=record.size_bytes,
        blocks_read=tuple(read),
        block_bytes=sum(read.values()),
    )


def find_volume(cache: Path, target: Cid) -> Volume | None:
    """The volume of `target` if it is in the cache; it counts as used now."""
    home = _home(cache, target)
    record = _load_record(home)
    if record is None:
        return None
    (home / _RECORD).touch()
    return _volume(home, target, record)


def keep_file(cache: Path, file: Path, target: Cid) -> Volume:
    """The volume whose content is `file`, which is moved into the cache; `target` is the CID of its bytes as one raw block.

    The caller has hashed them. `file` lies on the disk of the cache.

    Raises:
        OSError: the cache cannot be written.
    """
    home = _home(cache, target)
    temporary = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=cache))
    try:
        file.rename(temporary / _DATA)
        (temporary / _DATA).chmod(0o444)
        sync_tree(temporary / _DATA)
        size = (temporary / _DATA).stat().st_size
        record = _Record(1, size, {target: size})
        _save_record(temporary, record)
        _put(temporary, home)
        return _volume(home, target, record)
    finally:
        _remove_tree(temporary)


def _volume(home: Path, target: Cid, record: _Record) -> Volume:
    blocks = tuple(record.blocks)
    total = sum(record.blocks.values())
    return Volume(home / _DATA, target, target, record.files, record.size_bytes, blocks, total)


def write_tree(fs: UnixFs, cid: Cid, destination: Path, limits: VolumeLimits | None = None) -> int:
    """How many files were written of the file or directory `cid`, to a `destination` that must not exist.

    For a person who unpacks a CAR: modes are the usual ones (umask), and a failure leaves nothing at `destination`.

    Raises:
        FileExistsError: `destination` is there already.
        UnsafeContent, VolumeTooLarge, and what `materialise` raises: as there.
    """
    if destination.exists() or destination.is_symlink():
        raise FileExistsError(errno.EEXIST, "it exists already", str(destination))
    destination.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=destination.parent))
    try:
        maker = _Maker(fs, limits or VolumeLimits(), read_only=False)
        maker.write(fs.entry(cid), temporary / _DATA, ())
        sync_tree(temporary / _DATA)
        (temporary / _DATA).rename(destination)
        return maker.files
    finally:
        _remove_tree(temporary)


def remove_volume(cache: Path, target: Cid) -> None:
    """Deletes a volume from the cache; none is fine. The caller knows that no job reads it."""
    remove_home(_home(cache, target))


def recorded_size(home: Path) -> int | None:
    """The bytes in the files of the volume kept in this directory of the cache; None if it is none."""
    record = _load_record(home) if home.is_dir() else None
    return None if record is None else record.size_bytes


def used_at(home: Path) -> float:
    """When the volume in this directory was last made or given out, in Unix seconds; 0 if it is gone."""
    try:
        return (home / _RECORD).stat().st_mtime
    except FileNotFoundError:
        return 0.0


def remove_home(home: Path) -> None:
    """Deletes the volume in this directory of the cache; it is renamed first, so that half of it never stands for it."""
    gone = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=home.parent)) if home.exists() else None
    if gone is None:
        return
    home.rename(gone)  # an empty directory may be replaced
    _remove_tree(gone)


def clean_cache(cache: Path) -> None:
    """Deletes what interrupted runs left behind; call it at start, before any volume is made."""
    if cache.is_dir():
        for leftover in cache.glob(_TEMPORARY + "*"):
            _remove_tree(leftover)


class _Recorder:
    """A `BlockStore` that remembers which blocks were given out, and the last one's bytes.

    A node is asked what it is and then for what it holds: the second time it need not be read and hashed again.
    """

    def __init__(self, blocks: BlockStore, last: tuple[Cid, bytes] | None = None) -> None:
        """`last` is a block that was got already, if it is asked for first."""
        self._blocks = blocks
        self.last = last
        self.sizes: dict[Cid, int] = {}

    def get(self, cid: Cid) -> bytes:
        if self.last is None or self.last[0] != cid:
            self.last = (cid, self._blocks.get(cid))
        data = self.last[1]
        self.sizes.setdefault(cid, len(data))
        return data

    def get_many(self, cids: Iterable[Cid]) -> Iterator[tuple[Cid, bytes]]:
        for cid, data in self._blocks.get_many(cids):
            self.sizes.setdefault(cid, len(data))
            yield cid, data


class _Maker:
    """Writes one tree, counting against the limits."""

    def __init__(self, fs: UnixFs, limits: VolumeLimits, *, read_only: bool = True) -> None:
        self._fs = fs
        self._read_only = read_only
        self._limits = limits
        self._entries = 0
        self.files = 0
        self.size = 0

    def write(self, entry: Entry, path: Path, inner: tuple[str, ...]) -> None:
        shown = "/".join(inner) or str(entry.cid)
        self._entries += 1
        if self._entries > self._limits.max_entries:
            raise VolumeTooLarge(f"more than {self._limits.max_entries} files and directories")
        if len(inner) > self._limits.max_depth or len(shown.encode()) > self._limits.max_path:
            raise VolumeTooLarge(f"{shown[:200]!r} is nested too deep or its path is too long")
        if entry.kind is EntryKind.SYMLINK:
            raise UnsafeContent(f"{shown[:200]!r} is a symlink to {(entry.target or '')[:200]!r}")
        if entry.kind is EntryKind.FILE:
            self._write_file(entry, path)
            return
        path.mkdir()
        for link in self._fs.entries(entry.cid):
            _check_name(link.name, shown)
            child = self._fs.entry(link.cid)
            self.write(child, path / link.name, (*inner, link.name))
        if self._read_only:
            path.chmod(0o555)

    def _write_file(self, entry: Entry, path: Path) -> None:
        self.files += 1
        self._count(entry.size or 0)
        write_file(path, self._fs.read_file(entry.cid), entry.size or 0)
        if self._read_only:
            path.chmod(0o444)

    def _count(self, size: int) -> None:
        """Adds a file's stated size, which `read_file` holds its chunks to."""
        self.size += size
        if self.size > self._limits.max_bytes:
            raise VolumeTooLarge(f"more than {self._limits.max_bytes} bytes")


def _make(
    recorder: _Recorder,
    tree_limits: UnixFsLimits,
    entry: Entry,
    home: Path,
    limits: VolumeLimits,
) -> _Record:
    temporary = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=home.parent))
    try:
        maker = _Maker(UnixFs(recorder, tree_limits), limits)
        maker.write(entry, temporary / _DATA, ())
        # the cache outlives a power cut, so the record may only be there when all that it speaks of is on disk
        sync_tree(temporary / _DATA)
        record = _Record(maker.files, maker.size, recorder.sizes)
        _save_record(temporary, record)
        _put(temporary, home)
        return record
    finally:
        _remove_tree(temporary)


def _put(temporary: Path, home: Path) -> None:
    """Give a whole volume its place, unless another maker was faster."""
    temporary.chmod(0o755)
    try:
        temporary.rename(home)
    except OSError:
        if _load_record(home) is None:  # no other maker that was faster, but half a volume
            remove_home(home)
            temporary.rename(home)


def _home(cache: Path, target: Cid) -> Path:
    """The directory of a volume; an identity CID may be longer than a name can be."""
    text = str(target)
    if len(text) > _MAX_NAME:
        text = str(Cid.of_sha2_256(RAW, target.raw)) + ".identity"
    return cache / text


def _check_name(name: str, directory: str) -> None:
    bad = name in ("", ".", "..") or "/" in name or "\0" in name or len(name.encode()) > _MAX_NAME
    if bad:
        raise UnsafeContent(f"{directory[:200]!r} holds the name {name[:200]!r}, which is refused")


def _save_record(directory: Path, record: _Record) -> None:
    content = {
        "version": 1,
        "files": record.files,
        "size_bytes": record.size_bytes,
        "blocks": {str(cid): size for cid, size in record.blocks.items()},
    }
    with (directory / _RECORD).open("x") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())


def _load_record(home: Path) -> _Record | None:
    """The record of a finished volume; None if there is none, or not one of this version."""
    try:
        content = json.loads((home / _RECORD).read_text())
        if content["version"] != 1:
            return None
        blocks = {Cid.parse(cid): int(size) for cid, size in content["blocks"].items()}
        return _Record(int(content["files"]), int(content["size_bytes"]), blocks)
    except FileNotFoundError:
        return None
    except (KeyError, TypeError, AttributeError, CidError, ValueError):
        _remove_tree(home)  # it is only a cache
        return None


def _directories(top: Path) -> Iterator[Path]:
    for name, _, _ in os.walk(top):
        yield Path(name)


def _remove_tree(top: Path) -> None:
    if not top.exists():
        return
    for directory in _directories(top):
        directory.chmod(stat.S_IRWXU)  # entries of a read-only directory cannot be unlinked
    shutil.rmtree(top)
