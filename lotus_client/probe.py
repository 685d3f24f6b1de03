"""Finding out what a node is, by asking it. Nothing asked here has an effect."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from lotus_client import codec
from lotus_client.actor_events import EventQuery, collect_actor_events
from lotus_client.address import Address, NetworkPrefix
from lotus_client.api_info import ApiInfoError, token_permissions
from lotus_client.chain import TipSet
from lotus_client.codec import At
from lotus_client.errors import (
    LotusDecodeError,
    LotusError,
    LotusNotSupported,
    LotusRpcError,
    LotusStatePruned,
)
from lotus_client.finality import FinalityReader
from lotus_client.node import Agent, FinalitySource, NodeCapabilities, NodeVersion
from lotus_client.secrets import Secret
from lotus_client.transport.base import Call, RpcTransport, call_many
from lotus_client.types import NetworkVersion

__all__ = ["USED_METHODS", "probe_node"]

# What a request without a token may do. Source: go-jsonrpc `auth/handler.go`, Lotus `api/permissioned.go`.
_WITHOUT_TOKEN: Final[tuple[str, ...]] = ("read",)
# What the sidecar calls, or could do without only at a price; those that the probe calls anyway are left out.
USED_METHODS: Final[tuple[str, ...]] = (
    "ChainGetEvents",
    "ChainGetFinalizedTipSet",
    "ChainGetMessagesInTipset",
    "ChainGetParentMessages",
    "ChainGetParentReceipts",
    "ChainGetPath",
    "ChainGetTipSet",
    "ChainGetTipSetAfterHeight",
    "ChainGetTipSetByHeight",
    "GasEstimateMessageGas",
    "GetActorEventsRaw",
    "MpoolGetNonce",
    "MpoolPending",
    "MpoolPush",
    "StateAccountKey",
    "StateCompute",
    "StateGetActor",
    "StateGetClaim",
    "StateGetClaims",
    "StateLookupID",
    "StateMinerActiveSectors",
    "StateMinerAvailableBalance",
    "StateMinerInfo",
    "StateMinerPower",
    "StateReadState",
    "StateSearchMsg",
    "StateSectorGetInfo",
    "WalletBalance",
)
# No method takes so many parameters: a node that knows the name refuses their number before it does anything.
_TOO_MANY_PARAMS: Final[list[None]] = [None] * 24
# gateway/node.go has none of these, every full node has all of them
_NOT_AT_A_GATEWAY: Final = frozenset({"StateMinerActiveSectors", "StateMinerAvailableBalance"})
_RECEIPTS_READ: Final = 3  # tipsets below the head in which a receipt with events is looked for


async def probe_node(
    transport: RpcTransport, token: Secret | None, finality: FinalityReader | None = None
) -> NodeCapabilities:
    """The node's network, software, permissions and switches.

    Raises:
        LotusError: the node cannot be reached, refuses the token or is no Lotus.
    """
    name, genesis, version, params, head, network_version = await _ask_all(
        transport,
        [
            Call("Filecoin.StateNetworkName"),
            Call("Filecoin.ChainGetGenesis"),
            Call("Filecoin.Version"),
            Call("Filecoin.StateGetNetworkParams"),
            Call("Filecoin.ChainHead"),
            Call("Filecoin.StateNetworkVersion", [[]]),
        ],
    )
    network, at_head = codec.network_params_from_json(params), codec.tipset_from_json(head)
    node = codec.node_version_from_json(version)
    missing = await _missing(transport)
    return NodeCapabilities(
        network_name=name.text(),
        genesis=codec.tipset_from_json(genesis).key.cids[0],
        version=node,
        network_version=NetworkVersion(network_version.integer()),
        chain_id=network.chain_id,
        block_delay_seconds=network.block_delay_seconds,
        address_prefix=_prefix_of(head),
        has_actor_events=await _has_actor_events(transport, at_head),
        permissions=await _permissions(transport, token),
        has_receipt_events=await _has_receipt_events(transport, at_head),
        agent=_agent(node, missing),
        finality=await _finality(finality or FinalityReader(transport, has_v2=False)),
        missing_methods=missing,
    )


async def _ask_all(transport: RpcTransport, calls: Sequence[Call]) -> list[At]:
    found = []
    for call, outcome in zip(calls, await call_many(transport, calls), strict=True):
        if isinstance(outcome, LotusError):
            raise outcome
        found.append(At(outcome, call.method.removeprefix("Filecoin.")))
    return found


async def _missing(transport: RpcTransport) -> tuple[str, ...]:
    """The used methods that the node does not have, found by calls that cannot be made."""
    calls = [Call(f"Filecoin.{name}", _TOO_MANY_PARAMS) for name in USED_METHODS]
    outcomes = await call_many(transport, calls)
    return tuple(
        name
        for name, outcome in zip(USED_METHODS, outcomes, strict=True)
        if isinstance(outcome, LotusNotSupported)
    )


async def _permissions(transport: RpcTransport, token: Secret | None) -> tuple[str, ...]:
    if not token:
        return _WITHOUT_TOKEN
    try:
        answer = await transport.call("Filecoin.AuthVerify", [token.reveal()])
    except LotusNotSupported:
        # a gateway has no tokens; ours may be for a proxy before it
        with suppress(ApiInfoError):
            return token_permissions(token.reveal())
        return _WITHOUT_TOKEN
    return tuple(item.text() for item in At(answer, "AuthVerify").items())


def _agent(version: NodeVersion, missing: Sequence[str]) -> Agent:
    text = f"{version.agent or ''} {version.version}".lower()
    for agent in (Agent.FOREST, Agent.CURIO):
        if agent in text:
            return agent
    if set(missing) >= _NOT_AT_A_GATEWAY:
        return Agent.GATEWAY
    # nodes from before the field print a bare version such as 1.32.2+mainnet+git.5abb9ea
    return Agent.LOTUS if "lotus" in text or not version.agent else Agent.UNKNOWN


async def _finality(reader: FinalityReader) -> FinalitySource:
    await reader.tipset()
    assert reader.source is not None
    return reader.source


def _prefix_of(raw_head: At) -> NetworkPrefix:
    """How the node prints addresses: the only sure sign of mainnet's `f`."""
    first = next(raw_head.field("Blocks").items())
    return "f" if first.field("Miner").text().startswith("f") else "t"


async def _has_actor_events(transport: RpcTransport, head: TipSet) -> bool | None:
    query = EventQuery([Address.of_id(6)], {}, head.height, head.height)
    try:
        await collect_actor_events(transport, query, "t")
    except LotusNotSupported:
        return False
    except LotusRpcError:
        return None
    return True


async def _has_receipt_events(transport: RpcTransport, head: TipSet) -> bool | None:
    """Whether the events behind a receipt can be read; None if no message near the head emitted any."""
    try:
        root = await _an_events_root(transport, head)
        if root is None:
            return None
        await transport.call("Filecoin.ChainGetEvents", [root])
    except (LotusNotSupported, LotusStatePruned):
        return False
    except (LotusRpcError, LotusDecodeError):
        return None
    return True


async def _an_events_root(transport: RpcTransport, tipset: TipSet) -> Any | None:
    for _ in range(_RECEIPTS_READ):
        block = codec.cid_to_json(tipset.key.cids[0])
        receipts = await transport.call("Filecoin.ChainGetParentReceipts", [block])
        for receipt in At(receipts, "ChainGetParentReceipts").items():
            if (root := receipt.field("EventsRoot").value) is not None:
                return root
        if not tipset.parents or tipset.height == 0:
            return None
        parents = codec.tipset_key_to_json(tipset.parents)
        answer = await transport.call("Filecoin.ChainGetTipSet", [parents])
        tipset = codec.tipset_from_json(answer, "ChainGetTipSet")
    return None
