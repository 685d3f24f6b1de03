"""The chain half of the client: what the node is, tipsets, head changes, messages of tipsets and their events."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeVar

from lotus_client import codec
from lotus_client.actor_events import EventQuery, collect_actor_events
from lotus_client.address import Address, NetworkPrefix
from lotus_client.cbor import CborValue
from lotus_client.chain import BlockHeader, HeadChange, TipSet, TipSetKey
from lotus_client.cid import Cid
from lotus_client.codec import At
from lotus_client.errors import LotusDecodeError, LotusError
from lotus_client.finality import FinalityReader
from lotus_client.node import NetworkParams, NodeCapabilities, NodeVersion
from lotus_client.probe import probe_node
from lotus_client.secrets import Secret
from lotus_client.state import ActorEvent, ChainMessage, EventEntry, Receipt
from lotus_client.transport import Call, FailoverTransport, RpcTransport, call_many
from lotus_client.types import ActorId, Epoch, NetworkVersion

__all__ = ["ChainClient", "key_param"]

T = TypeVar("T")


class ChainClient:
    """Reads of the chain itself. Use `LotusClient`, which adds state and messages."""

    def __init__(
        self,
        transport: RpcTransport,
        *,
        token: Secret | None = None,
        prefix: NetworkPrefix = "t",
        has_v2: bool = False,
        failover: FailoverTransport | None = None,
        tokens: Mapping[str, Secret | None] | None = None,
    ) -> None:
        """`token` is only asked about by `probe`; `prefix` is how addresses are sent, a node takes either.

        `has_v2` says that the transport also reaches `/rpc/v2`. `failover` is the part of it that chooses among several
        nodes, whose tokens are `tokens` by name.
        """
        self._transport = transport
        self._token = token
        self._prefix: NetworkPrefix = prefix
        self._finality = FinalityReader(transport, has_v2=has_v2)
        self._failover = failover
        self._tokens = dict(tokens or {})

    async def close(self) -> None:
        """Release the sockets."""
        await self._transport.close()

    @property
    def node_in_use(self) -> str:
        """The name of the one of several nodes that is asked now; "" where there is but one."""
        return "" if self._failover is None else self._failover.current

    @asynccontextmanager
    async def pinned(self) -> AsyncIterator[str]:
        """All reads made inside come from one of several nodes; gives its name, or "" where there is but one.

        A failure ends what runs inside with `LotusUnavailable`; entering again chooses the next node.
        """
        if self._failover is None:
            yield ""
            return
        async with self._failover.pinned() as name:
            yield name

    # the node

    async def probe(self) -> NodeCapabilities:
        """What this node is and can do; compare it with `node.check_network` before trusting it."""
        async with self.pinned() as name:
            token = self._tokens.get(name, self._token)
            return await probe_node(self._transport, token, self._finality)

    async def version(self) -> NodeVersion:
        """The node's software."""
        return await self._call("Version", [], codec.node_version_from_json)

    async def auth_verify(self, token: Secret) -> tuple[str, ...]:
        """The permissions that the node grants to `token`."""
        return await self._call("AuthVerify", [token.reveal()], _texts)

    async def network_name(self) -> str:
        """The network's own name."""
        return await self._call("StateNetworkName", [], At.text)

    async def network_version(self, tsk: TipSetKey | None = None) -> NetworkVersion:
        """The network version that messages of tipset `tsk` run under."""
        return NetworkVersion(await self._call("StateNetworkVersion", [key_param(tsk)], At.integer))

    async def network_params(self) -> NetworkParams:
        """Block time, chain id and upgrade heights."""
        return await self._call("StateGetNetworkParams", [], codec.network_params_from_json)

    # the chain

    async def head(self) -> TipSet:
        """The heaviest tipset the node knows."""
        return await self._call("ChainHead", [], codec.tipset_from_json)

    async def finalized_tipset(self) -> TipSet:
        """The newest final tipset, by the best source that the node serves; see `finality`."""
        return await self._finality.tipset()

    async def genesis(self) -> TipSet:
        """The tipset of epoch 0."""
        return await self._call("ChainGetGenesis", [], codec.tipset_from_json)

    async def tipset(self, key: TipSetKey) -> TipSet:
        """The tipset of `key`."""
        return await self._call("ChainGetTipSet", [key_param(key)], codec.tipset_from_json)

    async def tipset_by_height(self, height: Epoch, tsk: TipSetKey | None = None) -> TipSet:
        """The tipset at `height` below `tsk`, or the *lower* one when nobody won that round: check `.height`."""
        return await self._call(
            "ChainGetTipSetByHeight", [height, key_param(tsk)], codec.tipset_from_json
        )

    async def tipset_after_height(self, height: Epoch, tsk: TipSetKey | None = None) -> TipSet:
        """The tipset at `height` below `tsk`, or the *higher* one when nobody won that round."""
        return await self._call(
            "ChainGetTipSetAfterHeight", [height, key_param(tsk)], codec.tipset_from_json
        )

    async def path(self, from_: TipSetKey, to: TipSetKey) -> list[HeadChange]:
        """The reverts and applies that lead from one tipset to another, in order."""
        return await self._call("ChainGetPath", [key_param(from_), key_param(to)], _head_changes)

    async def block(self, cid: Cid) -> BlockHeader:
        """The header of one block.

        Raises:
            LotusDecodeError: also when the node sends another block than asked for.
        """
        header = await self._call(
            "ChainGetBlock", [codec.cid_to_json(cid)], codec.block_header_from_json
        )
        if header.cid != cid:
            raise LotusDecodeError("ChainGetBlock", f"asked for {cid}, the node sent {header.cid}")
        return header

    async def notify(self) -> AsyncGenerator[list[HeadChange], None]:
        """Batches of head changes, the first being one `current`. Ends or raises on a drop: use `path` then."""
        async with aclosing(self._transport.subscribe("Filecoin.ChainNotify", [])) as batches:
            async for batch in batches:
                yield _head_changes(At(batch, "ChainNotify"))

    async def messages_in_tipset(self, tsk: TipSetKey) -> list[ChainMessage]:
        """The messages included in a tipset, without repeats, in execution order."""
        return await self._call("ChainGetMessagesInTipset", [key_param(tsk)], _chain_messages)

    async def parent_messages(self, block: Cid) -> list[ChainMessage]:
        """The messages of the parent tipset, in the order of `parent_receipts` of the same block."""
        return await self._call(
            "ChainGetParentMessages", [codec.cid_to_json(block)], _chain_messages
        )

    async def parent_receipts(self, block: Cid) -> list[Receipt]:
        """What the messages of the parent tipset gave."""
        return await self._call("ChainGetParentReceipts", [codec.cid_to_json(block)], _receipts)

    async def events_of(self, root: Cid) -> list[tuple[ActorId, tuple[EventEntry, ...]]]:
        """Emitter and entries of the events under a receipt's `events_root`, on a node that stores events."""
        found = await self._call(
            "ChainGetEvents", [codec.cid_to_json(root)], codec.emitted_entries_from_json
        )
        return [(ActorId(emitter), entries) for emitter, entries in found]

    async def actor_events(
        self,
        emitters: Sequence[Address],
        fields: Mapping[str, Sequence[CborValue]],
        from_height: Epoch,
        to_height: Epoch,
    ) -> list[ActorEvent]:
        """Every matching event included at heights `from_height` to `to_height`, both counted, in chain order.

        Long ranges are asked for in parts, and a part with too many matches in halves.

        Raises:
            LotusNotSupported: actor events are switched off at the node; says how to switch them on.
        """
        return await collect_actor_events(
            self._transport,
            EventQuery(emitters, fields, from_height, to_height),
            self._prefix,
        )

    async def subscribe_actor_events(
        self,
        emitters: Sequence[Address],
        fields: Mapping[str, Sequence[CborValue]],
        from_height: Epoch,
    ) -> AsyncGenerator[ActorEvent, None]:
        """Matching events from a height on as they happen; one with `reverted` set was taken back by a reorg.

        Ends or raises on a drop, and a node drops a slow reader: what matters must be read with `actor_events`.

        Raises:
            LotusNotSupported: actor events are switched off at the node, or it has no WebSocket.
        """
        wanted = codec.event_filter_to_json(
            emitters, fields, from_height=from_height, to_height=None, prefix=self._prefix
        )
        method = "Filecoin.SubscribeActorEventsRaw"
        async with aclosing(self._transport.subscribe(method, [wanted])) as events:
            async for event in events:
                yield codec.actor_event_from_json(event, "SubscribeActorEventsRaw")

    async def _call(self, method: str, params: Sequence[Any], read: Callable[[At], T]) -> T:
        return read(At(await self._transport.call(f"Filecoin.{method}", params), method))

    async def _call_many(
        self, method: str, params: Sequence[Sequence[Any]], read: Callable[[At], T]
    ) -> list[T | LotusError]:
        """One method with several lists of parameters; a failed call is its error in its place."""
        calls = [Call(f"Filecoin.{method}", item) for item in params]
        found: list[T | LotusError] = []
        for outcome in await call_many(self._transport, calls):
            try:
                found.append(
                    outcome if isinstance(outcome, LotusError) else read(At(outcome, method))
                )
            except LotusDecodeError as error:
                found.append(error)
        return found

    def _text(self, address: Address | ActorId) -> str:
        known = address if isinstance(address, Address) else Address.of_id(address)
        return known.to_text(self._prefix)


def key_param(tsk: TipSetKey | None) -> list[dict[str, str]]:
    """The parameter for a tipset to read at; None is the head."""
    return codec.tipset_key_to_json(tsk or TipSetKey())


def _head_changes(here: At) -> list[HeadChange]:
    return [codec.head_change_from_json(item) for item in here.items()]


def _chain_messages(here: At) -> list[ChainMessage]:
    return [codec.chain_message_from_json(item) for item in here.items()]


def _receipts(here: At) -> list[Receipt]:
    return [codec.receipt_from_json(item) for item in here.items()]


def _texts(here: At) -> tuple[str, ...]:
    return tuple(item.text() for item in here.items())
