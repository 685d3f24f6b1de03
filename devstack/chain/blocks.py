"""Every block of the chain and its states by CID: what `ChainReadObj` reads.

Nothing is stored for this. A header or a message is encoded again; anything else is found by walking the links of what the
tipsets lead to, newest first, and only when somebody asks. What was walked is remembered as objects, not as bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from devstack.chain.code_cids import MANIFEST
from devstack.chain.execution import Executed
from devstack.chain.mining import split_bls
from devstack.chain.store import ChainStore
from devstack.ipld import Amt, AmtKind, Linked
from lotus_client import cbor
from lotus_client.actors.events import entries_value
from lotus_client.chain import TipSetKey
from lotus_client.cid import DAG_CBOR, RAW, Cid, dag_cbor_cid
from lotus_client.messages import SignedMessage

__all__ = ["BlockIndex"]

# Lotus chain/store/messages.go, chain/types/event.go: lists have the first layout, events the third.
_LIST: Final[AmtKind[object]] = AmtKind(3, cbor.encode, first_layout=True)
_EVENTS: Final[AmtKind[object]] = AmtKind(5, cbor.encode)


class _Messages:
    """A header's `messages`: the roots of its two lists, of BLS messages and of the others."""

    def __init__(self, messages: Iterable[SignedMessage]) -> None:
        bls, others = split_bls(messages)
        self._bls = Amt.of_list(_LIST, [one.cid for one in bls])
        self._secp = Amt.of_list(_LIST, [one.cid for one in others])
        self.block = cbor.encode([self._bls.cid, self._secp.cid])
        self.cid = dag_cbor_cid(self.block)

    def links(self) -> tuple[Linked, ...]:
        return (self._bls, self._secp)


def _outcome_links(executed: Executed) -> Iterator[Linked]:
    """What a child's header names of its parent's execution: the state, the receipts, and the receipts' events."""
    yield executed.tree
    runs = [run for run in executed.invocations if not run.implicit]
    receipts = [run.receipt for run in runs]
    yield Amt.of_list(
        _LIST, [[one.exit_code, one.return_, one.gas_used, one.events_root] for one in receipts]
    )
    for run in runs:
        if run.events:
            events = [[event.emitter, entries_value(event.entries)] for event in run.events]
            yield Amt.of_list(_EVENTS, events)


class BlockIndex:
    """Finds blocks by CID."""

    def __init__(self, store: ChainStore) -> None:
        self._store = store
        self._found: dict[Cid, Linked] = {}
        self._walked: set[TipSetKey] = set()
        self._walk([MANIFEST])

    def get(self, cid: Cid) -> bytes | None:
        """The block's bytes; None for a CID that names nothing of this chain."""
        header = self._store.find_block(cid)
        if header is not None:
            return header.to_cbor()
        signed = self._store.signed(cid)
        if signed is not None and signed.cid == cid:
            is_bls = (
                cid == signed.message.cid
            )  # kept without its signature, which is in the aggregate
            return signed.message.to_cbor() if is_bls else signed.to_cbor()
        found = self.find(cid)
        return None if found is None else found.block

    def find(self, cid: Cid) -> Linked | None:
        """The state, map or list behind a CID."""
        if cid.codec not in (DAG_CBOR, RAW):  # a contract's code is a raw block
            return None
        if cid not in self._found:
            for key in reversed(self._store.executed_keys()):
                if key not in self._walked:
                    self._walked.add(key)
                    self._walk(self._of_tipset(key))
                    if cid in self._found:
                        break
        return self._found.get(cid)

    def _of_tipset(self, key: TipSetKey) -> Iterator[Linked]:
        executed = self._store.execution(key)
        if executed is not None:
            yield from _outcome_links(executed)
        for block in key:
            yield _Messages(self._store.block_messages(block))

    def _walk(self, roots: Iterable[Linked]) -> None:
        """Remember everything below the roots. What is known already has had its links walked."""
        todo = list(roots)
        while todo:
            one = todo.pop()
            if one.cid not in self._found:
                self._found[one.cid] = one
                todo += one.links()
