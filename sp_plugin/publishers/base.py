"""What a publisher must do with a run's results, and where a new one registers.

As with sources: one module in this package, a class registered under the `Type` people write, nothing else to edit.
A publisher is called once a results directory (`stdout`, `stderr`, `exitCode`, one directory per output), its CAR and the signed
record of the run exist. It sends the record along. It may be called again for the same run after a failure or a crash, and must
then give the same answer. One that sends nothing anywhere has a method `place` instead, which says so at once (`Stays`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

from lotus_client.cid import Cid
from lotus_client.types import PaddedPieceSize
from sp_plugin.jobs.params import Params
from sp_plugin.publishers.kubo_api import KuboApi
from sp_plugin.publishers.s3_buckets import Bucket

__all__ = [
    "PUBLISHERS",
    "RECORD_NAME",
    "PublishContext",
    "PublishError",
    "Published",
    "Publisher",
    "Results",
    "Stays",
    "register_publisher",
]


RECORD_NAME: Final = "run-record.json"


class PublishError(Exception):
    """Results that could not be published; `again` is whether trying soon may help without anybody changing anything."""

    def __init__(self, message: str, *, again: bool = True) -> None:
        super().__init__(message)
        self.again = again


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What a run left behind, collected and packed."""

    job_id: str
    execution_id: str  # by which results are kept
    ran_as: str  # the execution that ran: another one if only publishing was tried again
    directory: Path
    car: Path
    record: Path  # the signed run record, `RECORD_NAME`
    root: Cid  # of the UnixFS directory in the CAR
    payload_bytes: int  # of all files, without CAR or DAG overhead
    ended_at: int  # when the run ended, in Unix nanoseconds


@dataclass(frozen=True, slots=True)
class PublishContext:
    """Where publishers may write."""

    results_dir: Path  # kept results: <results_dir>/<execution id>/
    staging_dir: Path  # pieces ready for a deal
    cars_dir: Path  # CARs by root CID
    min_piece_size: PaddedPieceSize  # of the network: 256 B on a 2k build, 1 MiB on mainnet
    public_url: str | None = None  # base URL under which results can be fetched
    kubo: KuboApi | None = None  # an IPFS node to push to
    buckets: Mapping[str, Bucket] = field(default_factory=dict)  # that jobs may name, by name
    node_id: str = ""  # of this sidecar, for keys


@dataclass(frozen=True, slots=True)
class Published:
    """Where results can be found: `kind` and `params` are Bacalhau's PublishedResult, `details` our own record."""

    kind: str
    params: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)


class Publisher(Protocol):
    """Publishes results of one type."""

    params: type[Params]

    async def publish(self, params: Any, results: Results, context: PublishContext) -> Published:
        """Where the results are now.

        Raises:
            PublishError: it did not work this time.
        """
        ...


@runtime_checkable
class Stays(Protocol):
    """A publisher whose results stay where they are kept."""

    params: type[Params]

    def place(self, params: Any, results: Results, context: PublishContext) -> Published:
        """Where that is. There is no record yet; nothing is read or written."""
        ...


PUBLISHERS: dict[str, Publisher | Stays] = {}


def register_publisher(kind: str) -> Callable[[Any], Any]:
    """A decorator that makes a class the publisher of the `Type` `kind`.

    Raises:
        ValueError: the name is taken (compared without case).
    """

    def register(factory: Any) -> Any:
        if kind.casefold() in (known.casefold() for known in PUBLISHERS):
            raise ValueError(f"a publisher {kind!r} is registered already")
        PUBLISHERS[kind] = factory()
        return factory

    return register
