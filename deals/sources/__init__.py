"""Where a held piece's bytes can be read.

Design notes
------------
* A source is one module in this package with one class and one factory under `@source_kind("name")`; nothing else has to
  be edited to add one. The config names the kind and its options (`provider.sources`).
* `base` is the one file to read before adding a source: the protocol, the errors, the registry.
* Sources are asked in the order in which the config names them (`several`); one that is overloaded or away is left alone for a
  while, longer each time, and the next one is asked. A reading that breaks off goes on at the next place (`failing_over`).
* A source answers from what it has, now: it never asks a miner to unseal, and needs no token that could.
* It says why it cannot: `PieceNotHere` (ask another source) or `PieceUnavailable` with a reason the operator can act on.
* Bytes from a source are not trusted: `deals.verify` proves CommP, and CAR blocks are hashed again when they are read.
"""

from deals.sources.base import (
    PieceNotHere,
    PieceSource,
    PieceUnavailable,
    SourceError,
    SourceFailed,
    Unavailable,
    UnknownSourceKind,
    make_source,
    name_of,
    source_kind,
    source_kinds,
)

__all__ = [
    "PieceNotHere",
    "PieceSource",
    "PieceUnavailable",
    "SourceError",
    "SourceFailed",
    "Unavailable",
    "UnknownSourceKind",
    "make_source",
    "name_of",
    "source_kind",
    "source_kinds",
]
