"""A typed client of a Lotus full node: JSON-RPC methods in, values out.

Every read takes the tipset it is pinned to; None or the empty key means the node's head at that moment. A `State*`
read at a tipset answers from that tipset's *parent* state: what a message in T did shows at T's child.
Addresses may be given as `Address` or as a bare actor id.
Source: Lotus `api/api_full.go` (v1), parameter lists and results from its OpenRPC document.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Self

from lotus_client import codec
from lotus_client.address import Address
from lotus_client.api_info import ApiInfo
from lotus_client.bitfield import BitField
from lotus_client.chain import TipSetKey
from lotus_client.chain_client import key_param
from lotus_client.cid import Cid
from lotus_client.codec import At
from lotus_client.crypto import Signature
from lotus_client.errors import LotusDecodeError
from lotus_client.messages import Message, SendSpec, SignedMessage
from lotus_client.proving_client import ProvingClient
from lotus_client.state import (
    ActorState,
    MessageLookup,
    MinerFunds,
    MinerInfo,
    MinerPower,
    RewardState,
)
from lotus_client.transport import (
    Endpoint,
    FailoverTransport,
    NodeTransport,
    RetryingTransport,
    RetryPolicy,
)
from lotus_client.types import (
    ActorId,
    AttoFil,
    Epoch,
)

__all__ = ["LotusClient"]

_REWARD_ACTOR = Address.of_id(2)


class LotusClient(ProvingClient):
    """Reads and pushes of one node. Every method raises only `LotusError`s; see `errors` for what each asks for."""

    @classmethod
    def connect(
        cls,
        api_info: ApiInfo | Sequence[ApiInfo],
        *,
        timeout_seconds: float = 60.0,
        heavy_timeout_seconds: float = 300.0,
        retry: RetryPolicy | None = None,
        on_switch: Callable[[str, str, str], None] | None = None,
    ) -> LotusClient:
        """A client over HTTP, with a WebSocket for streams. Nothing is sent before the first call.

        Several nodes are named in the order of preference: reads go to the next one while one is away; see
        `transport.failover`. `on_switch` hears from which to which, and why.
        """
        infos = [api_info] if isinstance(api_info, ApiInfo) else list(api_info)
        ways = [
            NodeTransport(
                info, timeout_seconds=timeout_seconds, heavy_timeout_seconds=heavy_timeout_seconds
            )
            for info in infos
        ]
        if len(ways) == 1:
            return cls(RetryingTransport(ways[0], retry), token=infos[0].token, has_v2=True)
        failover = FailoverTransport(
            [Endpoint(info.address, way) for info, way in zip(infos, ways, strict=True)],
            on_switch=on_switch,
        )
        return cls(
            RetryingTransport(failover, retry),
            token=infos[0].token,
            has_v2=True,
            failover=failover,
            tokens={info.address: info.token for info in infos},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # miners

    async def miner_info(
        self, provider: Address | ActorId, tsk: TipSetKey | None = None
    ) -> MinerInfo:
        """Keys and sizes of a miner."""
        return await self._call(
            "StateMinerInfo", [self._text(provider), key_param(tsk)], codec.miner_info_from_json
        )

    async def miner_power(
        self, provider: Address | ActorId, tsk: TipSetKey | None = None
    ) -> MinerPower:
        """Power of a miner and of the network."""
        return await self._call(
            "StateMinerPower", [self._text(provider), key_param(tsk)], codec.miner_power_from_json
        )

    async def faults(self, provider: Address | ActorId, tsk: TipSetKey | None = None) -> BitField:
        """Numbers of the faulty sectors."""
        return await self._call(
            "StateMinerFaults", [self._text(provider), key_param(tsk)], codec.bitfield_from_json
        )

    async def recoveries(
        self, provider: Address | ActorId, tsk: TipSetKey | None = None
    ) -> BitField:
        """Numbers of the faulty sectors declared recovered."""
        return await self._call(
            "StateMinerRecoveries", [self._text(provider), key_param(tsk)], codec.bitfield_from_json
        )

    async def funds(self, provider: Address | ActorId, tsk: TipSetKey | None = None) -> MinerFunds:
        """The money fields of a miner actor."""
        return await self._call(
            "StateReadState", [self._text(provider), key_param(tsk)], codec.miner_funds_from_json
        )

    async def available_balance(
        self, provider: Address | ActorId, tsk: TipSetKey | None = None
    ) -> AttoFil:
        """What the owner could withdraw from a miner actor."""
        return await self._call(
            "StateMinerAvailableBalance",
            [self._text(provider), key_param(tsk)],
            codec.amount_from_json,
        )

    async def reward_state(self, tsk: TipSetKey | None = None) -> RewardState:
        """The reward actor's fields."""
        return await self._call(
            "StateReadState",
            [self._text(_REWARD_ACTOR), key_param(tsk)],
            codec.reward_state_from_json,
        )

    # any actor

    async def actor(self, address: Address | ActorId, tsk: TipSetKey | None = None) -> ActorState:
        """An actor's record in the state tree; an absent actor is a `LotusRpcError`."""
        return await self._call(
            "StateGetActor", [self._text(address), key_param(tsk)], codec.actor_state_from_json
        )

    async def read_state(
        self, address: Address | ActorId, tsk: TipSetKey | None = None
    ) -> dict[str, Any]:
        """An actor's balance, code and state as raw JSON: `State` has another form for every actor."""
        return await self._call(
            "StateReadState", [self._text(address), key_param(tsk)], _raw_object
        )

    async def lookup_id(self, address: Address, tsk: TipSetKey | None = None) -> ActorId:
        """The actor id behind an address."""
        found = await self._call(
            "StateLookupID", [self._text(address), key_param(tsk)], codec.address_from_json
        )
        if found.protocol != 0:
            raise LotusDecodeError("StateLookupID", f"{found} is no id address")
        return found.actor_id

    async def account_key(
        self, address: Address | ActorId, tsk: TipSetKey | None = None
    ) -> Address:
        """The key address (f1, f3 or f4) of an account actor."""
        return await self._call(
            "StateAccountKey", [self._text(address), key_param(tsk)], codec.address_from_json
        )

    async def balance(self, address: Address | ActorId) -> AttoFil:
        """The balance at the head; 0 for an address that the chain does not know."""
        return await self._call("WalletBalance", [self._text(address)], codec.amount_from_json)

    async def compute_state(self, height: Epoch, tsk: TipSetKey) -> dict[str, Any]:
        """The raw trace of executing tipset `tsk` at `height`, implicit messages included. Slow and large."""
        return await self._call("StateCompute", [height, None, key_param(tsk)], _raw_object)

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
            [key_param(tsk), codec.cid_to_json(cid), limit, allow_replaced],
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
        return await self._call("MpoolPending", [key_param(tsk)], _signed_messages)

    async def mpool_push_message(self, message: Message, spec: SendSpec) -> SignedMessage:
        """Have the node's wallet estimate, number, sign and push a message of nonce 0 (permission `sign`).

        With the same `spec.uuid` again it gives back what it sent before. That lives in this one node and is no promise
        across crashes: payouts sign first, keep the bytes and push those.

        Raises:
            LotusDecodeError: what was sent is another call than asked for.
        """
        sent = await self._call(
            "MpoolPushMessage",
            [codec.message_to_json(message, self._prefix), codec.send_spec_to_json(spec)],
            codec.signed_message_from_json,
        )
        if not replace(sent.message, nonce=message.nonce).is_same_call(message):
            raise LotusDecodeError("MpoolPushMessage", "the node sent another message than asked")
        return sent

    async def estimate_gas(
        self,
        message: Message,
        max_fee: AttoFil | None = None,
        tsk: TipSetKey | None = None,
        *,
        maximize_fee_cap: bool = False,
    ) -> Message:
        """The message with its zero gas fields filled, the whole fee capped at `max_fee` (None: the node's cap).

        `maximize_fee_cap` asks for the highest fee cap that `max_fee` allows, so that it outlives a rising base fee.

        Raises:
            LotusDecodeError: the node changed anything but gas fields.
        """
        filled = await self._call(
            "GasEstimateMessageGas",
            [
                codec.message_to_json(message, self._prefix),
                codec.send_spec_to_json(SendSpec(max_fee, maximize_fee_cap=maximize_fee_cap)),
                key_param(tsk),
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


def _signed_messages(here: At) -> list[SignedMessage]:
    return [codec.signed_message_from_json(item) for item in here.items()]


def _raw_object(here: At) -> dict[str, Any]:
    if not isinstance(here.value, dict):
        here.fail("an object")
    return dict(here.value)
