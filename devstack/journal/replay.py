"""Records to a network again: executed, and checked against its own headers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from devstack.chain import ChainLookupError, ForkRefused, Network
from devstack.journal.frames import JournalError, read_frames, read_sealed
from devstack.journal.records import config_of, key_of, sector_of, tipset_of, wallet_key_of
from devstack.sectors import Sector
from lotus_client.address import Address
from lotus_client.crypto import SigningKey
from lotus_client.messages import SignedMessage

__all__ = ["Restored", "restore_chain", "restore_journal"]

Record = list[Any]

# What a saved chain may write below a provider's repo: files of its storage paths, and nothing else.
_FILE: Final = re.compile(
    r"storage(-\d{1,2})?/(sectorstore\.json|(unsealed|sealed|cache|update|update-cache)/s-t0\d{1,20}-\d{1,20}(/[\w-][\w.-]{0,80})?)"
)
_LARGEST_FILE: Final = 128 << 30


@dataclass(slots=True)
class Restored:
    """A chain as it was, with what its node and providers had."""

    network: Network
    sectors: dict[int, dict[int, Sector]] = field(default_factory=dict)  # provider -> number
    wallet: list[SigningKey] = field(default_factory=list)


def restore_journal(path: Path) -> Restored:
    """The chain of a data directory's journal; half a record at its end is cut off the file.

    Raises:
        JournalError: the file is damaged, or its chain cannot be had again.
        OSError: it cannot be read.
    """
    end = 0
    records: list[Record] = []
    for record, behind in read_frames(path, torn_end=True):
        records.append(record)
        end = behind
    restored = _replay(path, records, None)
    if path.stat().st_size != end:
        with path.open("r+b") as file:
            file.truncate(end)
    return restored


def restore_chain(path: Path, repo_of: Callable[[int], Path]) -> Restored:
    """The chain of a saved file; the n-th provider's storage paths are written below `repo_of(n)`.

    Raises:
        JournalError: not a saved chain, damaged, or a chain that cannot be had again.
        OSError: it cannot be read, or a file cannot be written.
    """
    return _replay(path, read_sealed(path), _Files(repo_of))


def _replay(path: Path, records: Iterable[Record], files: _Files | None) -> Restored:
    iterator = iter(records)
    first, second = next(iterator, []), next(iterator, [])
    if first[:1] != ["config"] or second[:1] != ["genesis"]:
        raise JournalError(f"{path} does not begin with a network and its genesis")
    network = Network(config_of(first))
    if key_of(second[1:]) != network.genesis.key:
        raise JournalError(
            f"{path} has another genesis than this version of the devstack makes of the same network"
        )
    player = _Player(Restored(network), files)
    for record in iterator:
        try:
            player.play(record)
        except (ChainLookupError, ForkRefused, LookupError, TypeError, ValueError) as error:
            if isinstance(error, JournalError):
                raise
            raise JournalError(f"{path}: record {record[0]!r} does not fit: {error}") from error
    return player.restored


class _Files:
    """Writes the providers' files back, in the order of the records."""

    def __init__(self, repo_of: Callable[[int], Path]) -> None:
        self._repo_of = repo_of
        self._path: Path | None = None
        self._size = 0

    def folder(self, miner: int, name: str) -> None:
        if not 0 <= miner < 100 or not _FILE.fullmatch(name):
            raise JournalError(f"the chain's folder {name!r} has no place in a storage path")
        (self._repo_of(miner) / name).mkdir(parents=True, exist_ok=True)

    def begin(self, miner: int, name: str, size: int) -> None:
        if not 0 <= miner < 100 or not _FILE.fullmatch(name) or not 0 <= size <= _LARGEST_FILE:
            raise JournalError(f"the chain's file {name!r} has no place in a storage path")
        self._path, self._size = self._repo_of(miner) / name, size
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("wb") as file:
            file.truncate(size)

    def data(self, offset: int, data: bytes) -> None:
        if self._path is None or not 0 <= offset <= self._size - len(data):
            raise JournalError("the chain has data of no file")
        with self._path.open("r+b") as file:
            file.seek(offset)
            file.write(data)


class _Player:
    def __init__(self, restored: Restored, files: _Files | None) -> None:
        self.restored = restored
        self._files = files

    def play(self, record: Record) -> None:
        network = self.restored.network
        match record:
            case ["tipset", *_]:
                network.exchange.load(*tipset_of(record))
            case ["append", key, int(height)]:
                if height <= network.epoch:
                    raise JournalError(f"epoch {height} comes twice")
                network.exchange.append(None if key is None else key_of(key), height)
            case ["cut", int(height)]:
                network.exchange.cut(height)
            case ["message", bytes(raw)]:
                network.mpool.put_back(SignedMessage.from_cbor(raw))
            case ["key", str(name)]:
                network.key(name)
            case ["bls-key", str(name)]:
                network.bls_key(name)
            case ["prove", int(miner), bool(enabled)]:
                network.prove_automatically(Address.of_id(miner), enabled=enabled)
            case ["draws", int(draws)]:
                network.mine_share(1, 1, draws)
            case ["wallet", *_]:
                self.restored.wallet.append(wallet_key_of(record))
            case ["sector", int(miner), *_]:
                sector = sector_of(record)
                self.restored.sectors.setdefault(miner, {})[sector.number] = sector
            case ["folder", int(miner), str(name)] if self._files:
                self._files.folder(miner, name)
            case ["file", int(miner), str(name), int(size)] if self._files:
                self._files.begin(miner, name, size)
            case ["data", int(offset), bytes(data)] if self._files:
                self._files.data(offset, data)
            case _:
                raise JournalError(f"a record {record[0]!r} is unknown to this version")
