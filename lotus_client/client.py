"""A typed client of a Lotus full node: JSON-RPC methods in, values out.

Every read takes the tipset it is pinned to; None or the empty key means the node's head at that moment. A `State*`
read at a tipset answers from that tipset's *parent* state: what a message in T did shows at T's child.
Addresses may be given as `Address` or as a bare actor id.
Source: Lotus `api/api_full.go` (v1), parameter lists and results from its OpenRPC document.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

from lotus_client import codec
from lotus_client.actor_events import collect_actor_events
from lotus_client.address import Address, NetworkPrefix
from lotus_client.api_info import ApiInfo
from lotus_client.bitfield import Bitfield
from lotus_client.cbor import CborValue
from lotus_client.chain import BlockHeader, HeadChange, TipSet, TipSetKey
from lotus_client.cid import Cid
from lotus_client.codec import At
from lotus_client.crypto import Signature
from lotus_client.errors import LotusDecodeError
from lotus_client.messages import Message, SignedMessage
from lotus_client.node import NetworkParams, NodeCapabilities, NodeVersion
from lotus_client.probe import probe_node
from lotus_client.secrets import Secret
from lotus_client.state import (
    ActorEvent,
    ActorState,
    Allocation,
    ChainMessage,
    Claim,
    EventEntry,
    MessageLookup,
    MinerFunds,
    MinerInfo,
    MinerPower,
    Receipt,
    RewardState,
    SectorOnChainInfo,
)
from lotus_client.transport import NodeTransport, RetryingTransport, RetryPolicy, RpcTransport
from lotus_client.types import (
    ActorId,
    AllocationId,
    AttoFil,
    ClaimId,
    Epoch,
    NetworkVersion,
    SectorNumber,
)

__all__ = ["LotusClient"]

T = TypeVar("T")

_REWARD_ACTOR = Address.of_id(2)


class LotusClient:
    """Reads and pushes of one node. Every method raises only `LotusError`s; see `errors` for what each asks for."""

    def __init__(
        self,
        transport: RpcTransport,
        *,
        token: Secret | None = None,
        prefix: NetworkPrefix = "t",
    ) -> None:
        """`token` is only asked about by `probe`; `prefix` is how addresses are sent, a node takes either."""
        self._transport = transport
        self._token = token
        self._prefix: NetworkPrefix = prefix

    @classmethod
    def connect(
        cls,
        api_info: ApiInfo,
        *,
        timeout_seconds: float = 60.0,
        retry: RetryPolicy = RetryPolicy(),
    ) -> LotusClient:
        """A client over HTTP, with a WebSocket for streams. Nothing is sent before the first call."""
        transport = NodeTransport(api_info, timeout_seconds=timeout_seconds)
        return cls(RetryingTransport(transport, retry), token=api_info.token)

    async def close(self) -> None:
        """Release the sockets."""
        await self._transport.close()

    async def __aenter__(self) -> LotusClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # the node

    async def probe(self) -> NodeCapabilities:
        """What this node is and can do; compare it with `node.check_network` before trusting it."""
        return await probe_node(self._transport, self._token)

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
        return NetworkVersion(await self._call("StateNetworkVersion", [_key(tsk)], At.integer))

    async def network_params(self) -> NetworkParams:
        """Block time, chain id and upgrade heights."""
        return await self._call("StateGetNetworkParams", [], codec.network_params_from_json)

    # the chain

    async def head(self) -> TipSet:
        """The heaviest tipset the node knows."""
        return await self._call("ChainHead", [], codec.tipset_from_json)

    async def finalized_tipset(self) -> TipSet:
        """The newest tipset that F3 or 900 epochs made final."""
        return await self._call("ChainGetFinalizedTipSet", [], codec.tipset_from_json)

    async def genesis(self) -> TipSet:
        """The tipset of epoch 0."""
        return await self._call("ChainGetGenesis", [], codec.tipset_from_json)

    async def tipset(self, key: TipSetKey) -> TipSet:
        """The tipset of `key`."""
        return await self._call("ChainGetTipSet", [_key(key)], codec.tipset_from_json)

    async def tipset_by_height(self, height: Epoch, tsk: TipSetKey | None = None) -> TipSet:
        """The tipset at `height` below `tsk`, or the *lower* one when nobody won that round: check `.height`."""
        return await self._call(
            "ChainGetTipSetByHeight", [height, _key(tsk)], codec.tipset_from_json
        )

    async def tipset_after_height(self, height: Epoch, tsk: TipSetKey | None = None) -> TipSet:
        """The tipset at `height` below `tsk`, or the *higher* one when nobody won that round."""
        return await self._call(
            "ChainGetTipSetAfterHeight", [height, _key(tsk)], codec.tipset_from_json
        )

    async def path(self, from_: TipSetKey, to: TipSetKey) -> list[HeadChange]:
        """The reverts and applies that lead from one tipset to another, in order."""
        return await self._call("ChainGetPath", [_key(from_), _key(to)], _head_changes)

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
        return await self._call("ChainGetMessagesInTipset", [_key(tsk)], _chain_messages)

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
            self._transport, emitters, fields, from_height, to_height, self._prefix
        )

    # verified registry

    async def claims(
        self, provider: Address | ActorId, tsk: TipSetKey | None = None
    ) -> dict[ClaimId, Claim]:
        """Every claim of a provider, proven or not."""
        return await self._call(
            "StateGetClaims", [self._text(provider), _key(tsk)], codec.claims_from_json
        )

    async def claim(
        self, provider: Address | ActorId, claim_id: ClaimId, tsk: TipSetKey | None = None
    ) -> Claim | None:
        """One claim, or None when the provider has no such claim."""
        return await self._call(
            "StateGetClaim",
            [self._text(provider), claim_id, _key(tsk)],
            lambda here: here.optional(lambda item: codec.claim_from_json(item, claim_id)),
        )

    async def allocations(
        self, client: Address | ActorId, tsk: TipSetKey | None = None
    ) -> dict[AllocationId, Allocation]:
        """The client's allocations that are neither claimed nor removed."""
        return await self._call(
            "StateGetAllocations", [self._text(client), _key(tsk)], codec.allocations_from_json
        )

    async def allocation(
        self, client: Address | ActorId, allocation_id: AllocationId, tsk: TipSetKey | None = None
    ) -> Allocation | None:
        """One allocation, or None when it is claimed, removed or never was."""
        return await self._call(
            "StateGetAllocation",
            [self._text(client), allocation_id, _key(tsk)],
            lambda here: here.optional(
                lambda item: codec.allocation_from_json(item, allocation_id)
            ),
        )

    # miners

    async def miner_info(
        self, provider: Address | ActorId, tsk: TipSetKey | None = None
    ) -> MinerInfo:
        """Keys and sizes of a miner."""
        return await self._call(
            "StateMinerInfo", [self._text(provider), _key(tsk)], codec.miner_info_from_json
        )

    async def miner_power(
        self, provider: Address | ActorId, tsk: TipSetKey | None = None
    ) -> MinerPower:
        """Power of a miner and of the network."""
        return await self._call(
            "StateMinerPower", [self._text(provider), _key(tsk)], codec.miner_power_from_json
        )

    async def sectors(
        self,
        provider: Address | ActorId,
        tsk: TipSetKey | None = None,
        only: Bitfield | None = None,
    ) -> list[SectorOnChainInfo]:
        """The committed sectors, of `only` these numbers if given; expired ones stay until compacted."""
        chosen = None if only is None else codec.bitfield_to_json(only)
        return await self._call(
            "StateMinerSectors", [self._text(provider), chosen, _key(tsk)], _sectors
        )

    async def active_sectors(
        self, provider: Address | ActorId, tsk: TipSetKey | None = None
    ) -> list[SectorOnChainInfo]:
        """The sectors that count for power: proven, not faulty, not terminated."""
        return await self._call(
            "StateMinerActiveSectors", [self._text(provider), _key(tsk)], _sectors
        )

    async def sector(
        self, provider: Address | ActorId, number: SectorNumber, tsk: TipSetKey | None = None
    ) -> SectorOnChainInfo | None:
        """One committed sector, or None."""
        return await self._call(
            "StateSectorGetInfo",
            [self._text(provider), number, _key(tsk)],
            lambda here: here.optional(codec.sector_from_json),
        )

    async def faults(self, provider: Address | ActorId, tsk: TipSetKey | None = None) -> Bitfield:
        """Numbers of the faulty sectors."""
        return await self._call(
            "StateMinerFaults", [self._text(provider), _key(tsk)], codec.bitfield_from_json
        )

    async def recoveries(
        self, provider: Address | ActorId, tsk: TipSetKey | None = None
    ) -> Bitfield:
        """Numbers of the faulty sectors declared recovered."""
        return await self._call(
            "StateMinerRecoveries", [self._text(provider), _key(tsk)], codec.bitfield_from_json
        )

    async def funds(self, provider: Address | ActorId, tsk: TipSetKey | None = None) -> MinerFunds:
        """The money fields of a miner actor."""
        return await self._call(
            "StateReadState", [self._text(provider), _key(tsk)], codec.miner_funds_from_json
        )

    async def available_balance(
        self, provider: Address | ActorId, tsk: TipSetKey | None = None
    ) -> AttoFil:
        """What the owner could withdraw from a miner actor."""
        return await self._call(
            "StateMinerAvailableBalance",
            [self._text(provider), _key(tsk)],
            codec.amount_from_json,
        )

    async def reward_state(self, tsk: TipSetKey | None = None) -> RewardState:
        """The reward actor's fields."""
        return await self._call(
            "StateReadState",
            [self._text(_REWARD_ACTOR), _key(tsk)],
            codec.reward_state_from_json,
        )

    # any actor

    async def actor(self, address: Address | ActorId, tsk: TipSetKey | None = None) -> ActorState:
        """An actor's record in the state tree; an absent actor is a `LotusRpcError`."""
        return await self._call(
            "StateGetActor", [self._text(address), _key(tsk)], codec.actor_state_from_json
        )

    async def read_state(
        self, address: Address | ActorId, tsk: TipSetKey | None = None
    ) -> dict[str, Any]:
        """An actor's balance, code and state as raw JSON: `State` has another form for every actor."""
        return await self._call("StateReadState", [self._text(address), _key(tsk)], _raw_object)

    async def lookup_id(self, address: Address, tsk: TipSetKey | None = None) -> ActorId:
        """The actor id behind an address."""
        found = await self._call(
            "StateLookupID", [self._text(address), _key(tsk)], codec.address_from_json
        )
        if found.protocol != 0:
            raise LotusDecodeError("StateLookupID", f"{found} is no id address")
        return found.actor_id

    async def account_key(
        self, address: Address | ActorId, tsk: TipSetKey | None = None
    ) -> Address:
        """The key address (f1, f3 or f4) of an account actor."""
        return await self._call(
            "StateAccountKey", [self._text(address), _key(tsk)], codec.address_from_json
        )

    async def balance(self, address: Address | ActorId) -> AttoFil:
        """The balance at the head; 0 for an address that the chain does not know."""
        return await self._call("WalletBalance", [self._text(address)], codec.amount_from_json)

    async def compute_state(self, height: Epoch, tsk: TipSetKey) -> dict[str, Any]:
        """The raw trace of executing tipset `tsk` at `height`, implicit messages included. Slow and large."""
        return await self._call("StateCompute", [height, None, _key(tsk)], _raw_object)

    # messages

    async def search_msg(
        self,
        cid: Cid,
        *,
        tsk: TipSetKey | None = None,
        limit: int = -1,
        allow_replaced: bool = False,
    ) -> MessageLookup | None:
        """Where a message was executed, looking back `limit` epochs (-1: to genesis), or None if nowhere.

        With `allow_replaced` the answer may be about a message with other fees: compare `.message`.
        """
        return await self._call(
            "StateSearchMsg",
            [_key(tsk), codec.cid_to_json(cid), limit, allow_replaced],
            lambda here: here.optional(codec.message_lookup_from_json),
        )

    async def mpool_push(self, signed: SignedMessage) -> Cid:
        """Hand a signed message to the node's mempool; its CID. Never repeated by itself on failure.

        Raises:
            LotusDecodeError: the node names another CID than ours, so something rewrote the message.
        """
        found = await self._call(
            "MpoolPush",
            [codec.signed_message_to_json(signed, self._prefix)],
            codec.cid_from_json,
        )
        if found != signed.cid:
            raise LotusDecodeError("MpoolPush", f"pushed {signed.cid}, the node took {found}")
        return found

    async def mpool_nonce(self, address: Address) -> int:
        """The next nonce of a sender, counting what is pending."""
        return await self._call("MpoolGetNonce", [self._text(address)], At.integer)

    async def mpool_pending(self, tsk: TipSetKey | None = None) -> list[SignedMessage]:
        """Every pending message; large on mainnet."""
        return await self._call("MpoolPending", [_key(tsk)], _signed_messages)

    async def estimate_gas(
        self, message: Message, max_fee: AttoFil | None = None, tsk: TipSetKey | None = None
    ) -> Message:
        """The message with its zero gas fields filled, the whole fee capped at `max_fee` (None: the node's cap).

        Raises:
            LotusDecodeError: the node changed anything but gas fields.
        """
        filled = await self._call(
            "GasEstimateMessageGas",
            [
                codec.message_to_json(message, self._prefix),
                codec.send_spec_to_json(max_fee),
                _key(tsk),
            ],
            codec.message_from_json,
        )
        if not filled.is_same_call(message):
            raise LotusDecodeError(
                "GasEstimateMessageGas", "the node changed more than the gas fields"
            )
        return filled

    async def wallet_verify(self, signer: Address, data: bytes, signature: Signature) -> bool:
        """Whether the node accepts a signature over exactly these bytes."""
        return await self._call(
            "WalletVerify",
            [
                self._text(signer),
                base64.b64encode(data).decode(),
                codec.signature_to_json(signature),
            ],
            At.boolean,
        )

    async def _call(self, method: str, params: Sequence[Any], read: Callable[[At], T]) -> T:
        return read(At(await self._transport.call(f"Filecoin.{method}", params), method))

    def _text(self, address: Address | ActorId) -> str:
        known = address if isinstance(address, Address) else Address.of_id(address)
        return known.to_text(self._prefix)


def _key(tsk: TipSetKey | None) -> list[dict[str, str]]:
    return codec.tipset_key_to_json(tsk or TipSetKey())


def _head_changes(here: At) -> list[HeadChange]:
    return [codec.head_change_from_json(item) for item in here.items()]


def _chain_messages(here: At) -> list[ChainMessage]:
    return [codec.chain_message_from_json(item) for item in here.items()]


def _signed_messages(here: At) -> list[SignedMessage]:
    return [codec.signed_message_from_json(item) for item in here.items()]


def _receipts(here: At) -> list[Receipt]:
    return [codec.receipt_from_json(item) for item in here.items()]


def _sectors(here: At) -> list[SectorOnChainInfo]:
    return [codec.sector_from_json(item) for item in here.items()]


def _texts(here: At) -> tuple[str, ...]:
    return tuple(item.text() for item in here.items())


def _raw_object(here: At) -> dict[str, Any]:
    if not isinstance(here.value, dict):
        here.fail("an object")
    return dict(here.value)
