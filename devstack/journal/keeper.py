"""The journal of a data directory: every change of the chain is a record before anybody hears of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

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
from lotus_client.chain import TipSet
from lotus_client.crypto import SigningKey
from lotus_client.messages import SignedMessage

__all__ = ["Journal"]


class Journal:
    """Writes the records of one network to a file, unbuffered: what was told to anybody survives a kill."""

    def __init__(self, path: Path, network: Network) -> None:
        """Go on with the file, or begin it; a file that is there already must hold this network's chain."""
        fresh = not path.exists() or path.stat().st_size == 0
        self._file = path.open("ab", buffering=0)
        if fresh:
            self._file.write(MAGIC)
            self._put(config_record(network.config))
            self._put(["genesis", *key_cids(network.genesis.key)])
        self._network = network
        network.listen(self)
        self._stop: Callable[[], None] = network.mpool.subscribe(self._on_message)

    def close(self) -> None:
        """Write nothing more."""
        self._network.listen(None)
        self._stop()
        self._file.close()

    def added(self, tipset: TipSet, messages: Sequence[Sequence[SignedMessage]]) -> None:
        self._put(tipset_record(tipset, messages))

    def appended(self, tipset: TipSet | None, height: int) -> None:
        self._put(["append", None if tipset is None else key_cids(tipset.key), height])

    def cut(self, height: int) -> None:
        self._put(["cut", height])

    def keyed(self, name: str) -> None:
        self._put(["key", name])

    def bls_keyed(self, name: str) -> None:
        self._put(["bls-key", name])

    def proving(self, miner: int, enabled: bool) -> None:
        self._put(["prove", miner, enabled])

    def drawing(self, draws: int) -> None:
        self._put(["draws", draws])

    def wallet(self, key: SigningKey) -> None:
        """The node's wallet has a key more."""
        self._put(wallet_record(key))

    def sector(self, miner: int, sector: Sector) -> None:
        """A sector of the `miner`-th provider is new or has changed."""
        self._put(sector_record(miner, sector))

    def _on_message(self, kind: str, signed: SignedMessage) -> None:
        if kind == "add":
            self._put(["message", signed.to_cbor()])

    def _put(self, record: object) -> None:
        self._file.write(frame(record))
