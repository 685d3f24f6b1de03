"""Blocks, tipsets and what became of them; which of them are the canonical chain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from devstack.chain.values import ChainLookupError
from lotus_client.chain import BlockHeader, HeadChange, TipSet, TipSetKey
from lotus_client.cid import Cid
from lotus_client.messages import SignedMessage

if TYPE_CHECKING:
    from devstack.chain.execution import Executed

__all__ = ["ChainListener", "ChainStore"]


class ChainListener(Protocol):
    """Hears of all that changes a chain, in order: done again on a fresh one it gives the same one."""

    def added(self, tipset: TipSet, messages: Sequence[Sequence[SignedMessage]]) -> None:
        """A tipset is known now."""

    def appended(self, tipset: TipSet | None, height: int) -> None:
        """The canonical chain was extended by a tipset or a null round."""

    def cut(self, height: int) -> None:
        """The canonical chain was cut above that height."""

    def keyed(self, name: str) -> None:
        """The account `name` has its key."""

    def bls_keyed(self, name: str) -> None:
        """The BLS key of that name was made."""

    def proving(self, miner: int, enabled: bool) -> None:
        """The automatic prover works for a miner now, or no longer."""

    def drawing(self, draws: int) -> None:
        """What tells draws apart has this value."""


class ChainStore:
    """Everything ever mined, forks too. Heights of the canonical chain are looked up in constant time."""

    def __init__(self) -> None:
        self._tipsets: dict[TipSetKey, TipSet] = {}
        self._by_hash: dict[bytes, TipSetKey] = {}
        self._blocks: dict[Cid, BlockHeader] = {}
        self._messages: dict[Cid, tuple[SignedMessage, ...]] = {}
        self._included: dict[Cid, list[TipSetKey]] = {}
        self._by_nonce: dict[tuple[bytes, int], list[Cid]] = {}
        self._signed: dict[Cid, SignedMessage] = {}
        self._executed: dict[TipSetKey, Executed] = {}
        self._canonical: list[TipSet | None] = []
        self._head: TipSet | None = None
        self.listener: ChainListener | None = None

    def take_over(self, other: ChainStore) -> None:
        """Know all that `other` knows and have its canonical chain. Nothing mutable is shared afterwards."""
        self._tipsets.update(other._tipsets)
        self._blocks.update(other._blocks)
        self._messages.update(other._messages)
        self._signed.update(other._signed)
        self._executed.update(other._executed)
        self._included = {cid: list(keys) for cid, keys in other._included.items()}
        self._by_nonce = {name: list(cids) for name, cids in other._by_nonce.items()}
        self._canonical = list(other._canonical)
        self._head = other._head

    def everything(self) -> Iterator[tuple[TipSet, tuple[tuple[SignedMessage, ...], ...]]]:
        """All tipsets on all forks with their blocks' messages, parents before children."""
        for tipset in self._tipsets.values():
            yield tipset, tuple(self._messages[cid] for cid in tipset.key)

    def rounds(self) -> Iterator[tuple[int, TipSet | None]]:
        """The canonical chain by height; None is a null round."""
        yield from enumerate(self._canonical)

    def knows(self, key: TipSetKey) -> bool:
        """Whether the tipset is here."""
        return key in self._tipsets

    def messages_of(self, tipset: TipSet) -> list[SignedMessage]:
        """What a tipset includes, each message once, in execution order."""
        found: dict[tuple[bytes, int], SignedMessage] = {}
        for cid in tipset.key:
            for signed in self._messages[cid]:
                name = (signed.message.from_.to_bytes(), signed.message.nonce)
                found.setdefault(name, signed)
        return list(found.values())

    @property
    def head(self) -> TipSet:
        """The newest canonical tipset."""
        if self._head is None:
            self._head = next(one for one in reversed(self._canonical) if one is not None)
        return self._head

    @property
    def epoch(self) -> int:
        """The newest epoch, which may be a null round."""
        return len(self._canonical) - 1

    def add(self, tipset: TipSet, messages: Sequence[Sequence[SignedMessage]]) -> None:
        """Keep a tipset with each block's messages; one that is here already stays."""
        if tipset.key in self._tipsets:
            return
        self._tipsets[tipset.key] = tipset
        self._by_hash[tipset.key.cid.digest] = tipset.key
        for cid, header, included in zip(tipset.key, tipset.blocks, messages, strict=True):
            self._blocks[cid] = header
            self._messages[cid] = tuple(included)
        for signed in {one.cid: one for block in messages for one in block}.values():
            self._signed[signed.cid] = signed
            self._signed.setdefault(signed.message.cid, signed)
            self._included.setdefault(signed.cid, []).append(tipset.key)
            name = (signed.message.from_.to_bytes(), signed.message.nonce)
            self._by_nonce.setdefault(name, []).append(signed.cid)
        if self.listener is not None:
            self.listener.added(tipset, messages)

    def append(self, tipset: TipSet | None, height: int) -> None:
        """Extend the canonical chain by a tipset, or by a null round."""
        self._canonical += [None] * (height - len(self._canonical))
        self._canonical.append(tipset)
        if tipset is not None:
            self._head = tipset
        if self.listener is not None:
            self.listener.appended(tipset, height)

    def cut(self, height: int) -> None:
        """Drop the canonical chain above that height."""
        del self._canonical[height + 1 :]
        self._head = None
        if self.listener is not None:
            self.listener.cut(height)

    def keep_execution(self, key: TipSetKey, executed: Executed) -> None:
        """Remember a tipset's outcome."""
        self._executed[key] = executed

    def execution(self, key: TipSetKey) -> Executed | None:
        """A tipset's outcome, if it was executed."""
        return self._executed.get(key)

    def tipset(self, key: TipSetKey | None) -> TipSet:
        """The tipset of that key; None or an empty one is the head."""
        if not key:
            return self.head
        found = self._tipsets.get(key)
        if found is None:
            raise ChainLookupError(f"loading tipset {key}: block not found")
        return found

    def by_hash(self, digest: bytes) -> TipSet:
        """The tipset whose key's CID has that digest: a block by its hash in eth_*."""
        key = self._by_hash.get(digest)
        if key is None:
            raise ChainLookupError("failed to get tipset by hash: ipld: could not find block")
        return self._tipsets[key]

    def executed_keys(self) -> list[TipSetKey]:
        """The tipsets whose outcome is known, in the order of their execution."""
        return list(self._executed)

    def find_block(self, cid: Cid) -> BlockHeader | None:
        """A header, None when there is none of that CID."""
        return self._blocks.get(cid)

    def block(self, cid: Cid) -> BlockHeader:
        """A header."""
        found = self._blocks.get(cid)
        if found is None:
            raise ChainLookupError(f"block not found: {cid}")
        return found

    def block_messages(self, cid: Cid) -> tuple[SignedMessage, ...]:
        """What a block includes."""
        self.block(cid)
        return self._messages[cid]

    def signed(self, cid: Cid) -> SignedMessage | None:
        """An included message by its own or its unsigned CID."""
        return self._signed.get(cid)

    def including(self, cid: Cid) -> list[TipSetKey]:
        """The tipsets, on any fork, that include a message."""
        return self._included.get(cid, [])

    def of_nonce(self, signed: SignedMessage) -> list[Cid]:
        """Included messages of the same sender and nonce."""
        name = (signed.message.from_.to_bytes(), signed.message.nonce)
        return self._by_nonce.get(name, [])

    def is_canonical(self, tipset: TipSet) -> bool:
        """Whether the tipset is on the head's chain."""
        return tipset.height < len(self._canonical) and (
            (at := self._canonical[tipset.height]) is not None and at.key == tipset.key
        )

    def parent(self, tipset: TipSet) -> TipSet:
        """The parent tipset; genesis has none."""
        if not tipset.parents:
            raise ChainLookupError("the genesis tipset has no parent")
        return self._tipsets[tipset.parents]

    def ancestors(self, tipset: TipSet) -> Iterator[TipSet]:
        """The tipset, its parent and so on to genesis."""
        while True:
            yield tipset
            if not tipset.parents:
                return
            tipset = self._tipsets[tipset.parents]

    def by_height(self, height: int, key: TipSetKey | None) -> TipSet:
        """The tipset at the height, for a null round the next lower one."""
        start = self._start(height, key)
        if self.is_canonical(start):
            return next(one for one in self._downward(height))
        return next(one for one in self.ancestors(start) if one.height <= height)

    def after_height(self, height: int, key: TipSetKey | None) -> TipSet:
        """The tipset at the height, for a null round the next higher one."""
        start = self._start(height, key)
        if self.is_canonical(start):
            found = next(at for at in range(height, start.height + 1) if self._canonical[at])
            return self._canonical[found] or start
        last = start
        for one in self.ancestors(start):
            if one.height < height:
                break
            last = one
        return last

    def _downward(self, height: int) -> Iterator[TipSet]:
        for at in range(height, -1, -1):
            tipset = self._canonical[at]
            if tipset is not None:
                yield tipset

    def _start(self, height: int, key: TipSetKey | None) -> TipSet:
        start = self.tipset(key)
        if height > start.height:
            raise ChainLookupError("looking for tipset with height greater than start point")
        if height < 0:
            raise ChainLookupError(f"height {height} is below genesis")
        return start

    def canonical(self, first: int, last: int) -> Iterable[TipSet]:
        """The canonical tipsets of these heights, both ends included."""
        return (one for one in self._canonical[max(first, 0) : last + 1] if one is not None)

    def child(self, tipset: TipSet) -> TipSet | None:
        """The next canonical tipset; None for the head and for forks."""
        if not self.is_canonical(tipset):
            return None
        heights = range(tipset.height + 1, len(self._canonical))
        return next((one for at in heights if (one := self._canonical[at]) is not None), None)

    def path(self, start: TipSet, end: TipSet) -> list[HeadChange]:
        """Reverts from `start` to the common ancestor, then applies up to `end`."""
        reverts: list[HeadChange] = []
        applies: list[HeadChange] = []
        while start.key != end.key:
            if start.height >= end.height:
                reverts.append(HeadChange("revert", start))
                start = self.parent(start)
            else:
                applies.append(HeadChange("apply", end))
                end = self.parent(end)
        return reverts + applies[::-1]
