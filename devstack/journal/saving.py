"""Writing a whole chain to one file at once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Final

from devstack.chain import Network
from devstack.journal.frames import MAGIC, frame
from devstack.journal.records import (
    config_record,
    key_cids,
    sector_record,
    tipset_record,
    wallet_record,
)
from devstack.sectors import Sector
from lotus_client.crypto import SigningKey

__all__ = ["SavedProvider", "save_chain", "save_journal"]

_PIECE: Final = 1 << 16  # bytes of a file per record

SavedProvider = tuple[Sequence[Sector], Sequence[Path]]  # its sectors and its storage paths


def save_chain(
    path: Path,
    network: Network,
    wallet: Iterable[SigningKey],
    providers: Sequence[SavedProvider],
) -> int:
    """Write the chain, the wallet and the providers' sectors and files; the file's size in bytes.

    The file appears whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    return _write(path, _all_records(network, wallet, providers), sealed=True)


def save_journal(
    path: Path,
    network: Network,
    wallet: Iterable[SigningKey],
    providers: Sequence[SavedProvider],
) -> int:
    """As `save_chain`, to be gone on with as a journal: the providers' files stay where they are.

    Raises:
        OSError: it cannot be written.
    """
    records = _records(network, wallet)
    sectors = (
        sector_record(index, sector)
        for index, (of_provider, _) in enumerate(providers)
        for sector in of_provider
    )
    return _write(path, chain(records, sectors), sealed=False)


def _write(path: Path, records: Iterable[list[Any]], *, sealed: bool) -> int:
    unfinished = path.with_name(f".{path.name}.unfinished")
    digest, count = hashlib.sha256(MAGIC), 0
    try:
        with unfinished.open("wb") as file:
            file.write(MAGIC)
            for record in records:
                encoded = frame(record)
                digest.update(encoded)
                file.write(encoded)
                count += 1
            if sealed:
                file.write(frame(["end", count, digest.digest()]))
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return size


def _all_records(
    network: Network, wallet: Iterable[SigningKey], providers: Sequence[SavedProvider]
) -> Iterator[list[Any]]:
    yield from _records(network, wallet)
    for index, (sectors, paths) in enumerate(providers):
        yield from (sector_record(index, sector) for sector in sectors)
        for storage in paths:
            yield from _files(index, storage)


def _records(network: Network, wallet: Iterable[SigningKey]) -> Iterator[list[Any]]:
    yield config_record(network.config)
    yield ["genesis", *key_cids(network.genesis.key)]
    yield from (["key", name] for name in network.key_names)
    yield from (["bls-key", name] for name in network.bls_key_names)
    yield ["draws", network.draws]
    for tipset, messages in network.store.everything():
        if tipset.parents:
            yield tipset_record(tipset, messages)
    for height, one in network.store.rounds():
        if height:
            yield ["append", None if one is None else key_cids(one.key), height]
    yield from (["prove", miner, True] for miner in network.proving)
    yield from (["message", signed.to_cbor()] for signed in network.mpool.pending())
    yield from (wallet_record(key) for key in wallet)


def _files(miner: int, storage: Path) -> Iterator[list[Any]]:
    for path in sorted(storage.rglob("*")):
        name = f"{storage.name}/{path.relative_to(storage).as_posix()}"
        if path.is_dir() and path.parent.parent == storage:  # a cache, which may be empty
            yield ["folder", miner, name]
        if path.is_file() and not path.name.startswith("."):  # dotted: what a fault took aside
            size = path.stat().st_size
            yield ["file", miner, name, size]
            for offset, data in _extents(path, size):
                yield ["data", offset, data]


def _extents(path: Path, size: int) -> Iterator[tuple[int, bytes]]:
    """The parts of a file that are not holes."""
    with path.open("rb") as file:
        offset = 0
        while offset < size:
            try:
                start = os.lseek(file.fileno(), offset, os.SEEK_DATA)
            except OSError:  # ENXIO: nothing but a hole is left
                return
            offset = min(os.lseek(file.fileno(), start, os.SEEK_HOLE), start + _PIECE)
            file.seek(start)
            data = file.read(offset - start)
            if data.strip(b"\0"):
                yield start, data
