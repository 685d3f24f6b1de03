"""The Protocol of a piece source, its errors, and the registry of source kinds."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, BinaryIO, Protocol, TypeAlias

from fil_plus.pieces import HeldPiece

__all__ = [
    "PieceNotHere",
    "PieceSource",
    "PieceUnavailable",
    "SourceError",
    "SourceFactory",
    "SourceFailed",
    "Unavailable",
    "UnknownSourceKind",
    "make_source",
    "name_of",
    "source_kind",
    "source_kinds",
]


class Unavailable(StrEnum):
    """Why a source that should have a piece cannot give its bytes."""

    OFFSET_UNKNOWN = "offset_unknown"  # where in the sector the piece lies was not found out yet
    NOT_UNSEALED = "not_unsealed"  # the file is there, the piece's bytes are not
    CORRUPT = "corrupt"  # the file or answer is not what it should be
    WRONG_LENGTH = "wrong_length"  # more bytes came than the piece can hold
    READ_FAILED = "read_failed"  # input/output error, or the file changed meanwhile; may work later


class SourceError(Exception):
    """Base: a source gives no bytes for a piece; `piece_key` is the held piece's key."""

    def __init__(self, piece_key: str, message: str) -> None:
        super().__init__(f"{piece_key}: {message}")
        self.piece_key = piece_key


class PieceNotHere(SourceError):
    """This source does not have the piece's sector at all; another one may."""


class PieceUnavailable(SourceError):
    """This source has the sector, but not the piece's bytes; `reason` says why.

    `retry_after` is set if the source as a whole is in trouble (overloaded, away): the seconds for which it asked to be left
    alone, 0 if it named none.
    """

    def __init__(
        self,
        piece_key: str,
        reason: Unavailable,
        message: str,
        *,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(piece_key, message)
        self.reason = reason
        self.retry_after = retry_after


class SourceFailed(OSError):
    """A source that could be read gives no more, for the time being; `retry_after` as in `PieceUnavailable`."""

    def __init__(self, message: str, *, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class PieceSource(Protocol):
    """A place from which unpadded bytes of held pieces can be read."""

    async def open(self, piece: HeldPiece) -> BinaryIO:
        """A seekable reader of the unpadded piece from its first byte; the caller closes it.

        It ends at the unpadded piece size at the latest; zeros at the end may be left out. Reads may block (call them in
        a worker thread) and raise OSError when the bytes can no longer be given.

        Raises:
            PieceNotHere: the source knows nothing of the sector or piece.
            PieceUnavailable: it does, and says why it has no bytes.
        """
        ...

    def problems(self) -> tuple[str, ...]:
        """What an operator should mend before this source can work; empty if all is well."""
        ...


def name_of(source: PieceSource) -> str:
    """What to call a source before people: its `name` if it has one, else its class."""
    return str(getattr(source, "name", type(source).__name__))


SourceFactory: TypeAlias = Callable[[Mapping[str, Any]], PieceSource]

_FACTORIES: dict[str, SourceFactory] = {}


class UnknownSourceKind(ValueError):
    """A source kind that no module provides; names those that exist."""


def source_kind(name: str) -> Callable[[SourceFactory], SourceFactory]:
    """Registers the decorated factory, which makes a source from its config options, under `name`."""

    def register(factory: SourceFactory) -> SourceFactory:
        if name in _FACTORIES:
            raise ValueError(f"source kind {name!r} is registered twice")
        _FACTORIES[name] = factory
        return factory

    return register


def source_kinds() -> tuple[str, ...]:
    """The names of all source kinds, found by importing the modules of this package."""
    package = importlib.import_module("deals.sources")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"deals.sources.{module.name}")
    return tuple(sorted(_FACTORIES))


def make_source(kind: str, options: Mapping[str, Any]) -> PieceSource:
    """The source of this kind with these options.

    Raises:
        UnknownSourceKind: no module provides `kind`.
        ValueError: an option is missing, unknown or of the wrong type; says which.
    """
    known = source_kinds()
    if kind not in known:
        raise UnknownSourceKind(f"piece source {kind!r} is unknown; known are {', '.join(known)}")
    return _FACTORIES[kind](options)
