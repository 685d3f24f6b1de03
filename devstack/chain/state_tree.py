"""The state tree: which actor has which code, state, nonce and balance (Lotus `chain/state/statetree.go`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from devstack.chain.code_cids import CODE_CIDS
from devstack.chain.table import State, big, id_bytes
from devstack.ipld import Hamt, HamtKind, Linked
from lotus_client import cbor
from lotus_client.address import Address
from lotus_client.cid import Cid, dag_cbor_cid

__all__ = ["Actor", "EmptyState", "StateTree"]


@dataclass(frozen=True)
class EmptyState(State):
    """Of placeholders: an empty list."""

    def to_value(self) -> object:
        return []


@dataclass(frozen=True)
class Actor(State):
    """An actor's record in the state tree; `code` is the bundle's name of it."""

    code: str
    state: Any
    nonce: int = 0
    balance: int = 0
    delegated: Address | None = None

    @property
    def code_cid(self) -> Cid:
        """The code CID that tools know the actor by."""
        return CODE_CIDS[self.code]

    @property
    def head(self) -> Cid:
        """The CID of the actor's state block."""
        cid: Cid = self.state.cid
        return cid

    def to_value(self) -> object:
        delegated = None if self.delegated is None else self.delegated.to_bytes()
        return [self.code_cid, self.head, self.nonce, big(self.balance), delegated]

    @property
    def block(self) -> bytes:
        """The dag-cbor bytes; most of what an epoch writes are such records, so they are put together by hand."""
        if self.delegated is not None or not 0 <= self.nonce < _SMALL:
            return cbor.encode(self.to_value())
        balance = big(self.balance)
        return b"".join(
            (
                _BEGIN[self.code],
                self.state.cid.raw,
                _SMALL_HEADS[self.nonce][len(balance)],
                balance,
                b"\xf6",
            )
        )


_SMALL: Final = 24
_NO_CID: Final = dag_cbor_cid(b"")
_BEGIN: Final = {
    code: cbor.encode([cid, _NO_CID, 0, 0, 0])[: -len(_NO_CID.raw) - 3]
    for code, cid in CODE_CIDS.items()
}
_SMALL_HEADS: Final = [
    [cbor.encode(nonce) + cbor.encode(bytes(size))[: size * -1 or None] for size in range(_SMALL)]
    for nonce in range(_SMALL)
]

_ACTORS: Final[HamtKind[int, Actor]] = HamtKind(
    id_bytes, lambda actor: actor.block, lambda actor: (actor.state,)
)
_VERSION: Final = 5  # Lotus chain/types/state.go StateTreeVersion5


class StateTree:
    """All actors at one point, never changed: Lotus' state tree, `[version, actors, info]` (chain/state/statetree.go)."""

    __slots__ = ("_cid", "_flat", "actors")

    def __init__(self, actors: Mapping[int, Actor]) -> None:
        self.actors: Hamt[int, Actor] = Hamt(_ACTORS, actors)
        self._flat: dict[int, Actor] | None = None
        self._cid: Cid | None = None

    def changed(self, actors: dict[int, Actor], ids: Iterable[int]) -> StateTree:
        """The tree with the records of these ids as in `actors`, which is all of them and is not kept by the caller."""
        after = {one: actors[one] for one in ids if one in actors}
        gone = [one for one in ids if one not in actors]
        made = object.__new__(StateTree)
        made.actors = self.actors.with_(after).without(gone)
        made._flat, made._cid = actors, None
        self._flat = None  # past states are read from the shared nodes
        return made

    def flat(self) -> dict[int, Actor]:
        """All records by id, in a dict of the caller's own."""
        return dict(self.actors if self._flat is None else self._flat)

    @property
    def root(self) -> Cid:
        """The state root."""
        if self._cid is None:
            self._cid = dag_cbor_cid(self.block)
        return self._cid

    @property
    def cid(self) -> Cid:
        """The state root."""
        return self.root

    @property
    def block(self) -> bytes:
        """The root block."""
        return cbor.encode([_VERSION, self.actors.cid, _INFO.cid])

    def links(self) -> Iterable[Linked]:
        """The actors and the (empty) info."""
        return (self.actors, _INFO)


_INFO: Final = EmptyState()
