"""What a publisher must do with a run's results, and where a new one registers.

As with sources: one module in this package, a class registered under the `Type` people write, nothing else to edit.
A publisher is called once a results directory (`stdout`, `stderr`, `exitCode`, one directory per output) and its CAR
exist. It may be called again for the same execution after a crash, and must then give the same answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from lotus_client.cid import Cid
from lotus_client.types import PaddedPieceSize
from sp_plugin.jobs.params import Params

__all__ = [
    "PUBLISHERS",
    "PublishContext",
    "PublishError",
    "Published",
    "Publisher",
    "Results",
    "register_publisher",
]


class PublishError(Exception):
    """Results that could not be published; publishing again may work."""


@dataclass(frozen=True, slots=True)
class Results:
    """What a run left behind, collected and packed."""

    job_id: str
    execution_id: str
    directory: Path
    car: Path
    root: Cid  # of the UnixFS directory in the CAR
    payload_bytes: int  # of all files, without CAR or DAG overhead


@dataclass(frozen=True, slots=True)
class PublishContext:
    """Where publishers may write."""

    results_dir: Path  # kept results: <results_dir>/<execution id>/
    staging_dir: Path  # pieces ready for a deal
    cars_dir: Path  # CARs by root CID
    min_piece_size: PaddedPieceSize  # of the network: 256 B on a 2k build, 1 MiB on mainnet
    public_url: str | None = None  # base URL under which results can be fetched


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


PUBLISHERS: dict[str, Publisher] = {}


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
