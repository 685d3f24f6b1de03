"""Finding out what a node is, by asking it."""

from __future__ import annotations

from typing import Final

from lotus_client import codec
from lotus_client.actor_events import EventQuery, collect_actor_events
from lotus_client.address import Address, NetworkPrefix
from lotus_client.chain import TipSet
from lotus_client.codec import At
from lotus_client.errors import LotusNotSupported, LotusRpcError
from lotus_client.node import NodeCapabilities
from lotus_client.secrets import Secret
from lotus_client.transport.base import RpcTransport
from lotus_client.types import NetworkVersion

__all__ = ["probe_node"]

# What a request without a token may do. Source: go-jsonrpc `auth/handler.go`, Lotus `api/permissioned.go`.
_WITHOUT_TOKEN: Final[tuple[str, ...]] = ("read",)


async def probe_node(transport: RpcTransport, token: Secret | None) -> NodeCapabilities:
    """The node's network, software, permissions and switches.

    Raises:
        LotusError: the node cannot be reached, refuses the token or is no Lotus.
    """

    async def ask(method: str, *params: object) -> At:
        return At(await transport.call(f"Filecoin.{method}", params), method)

    network_name = (await ask("StateNetworkName")).text()
    genesis = codec.tipset_from_json(await ask("ChainGetGenesis"))
    version = codec.node_version_from_json(await ask("Version"))
    params = codec.network_params_from_json(await ask("StateGetNetworkParams"))
    raw_head = await ask("ChainHead")
    head = codec.tipset_from_json(raw_head)
    permissions = _WITHOUT_TOKEN
    if token:
        permissions = tuple(
            item.text() for item in (await ask("AuthVerify", token.reveal())).items()
        )
    return NodeCapabilities(
        network_name=network_name,
        genesis=genesis.key.cids[0],
        version=version,
        network_version=NetworkVersion((await ask("StateNetworkVersion", [])).integer()),
        chain_id=params.chain_id,
        block_delay_seconds=params.block_delay_seconds,
        address_prefix=_prefix_of(raw_head),
        has_actor_events=await _has_actor_events(transport, head),
        permissions=permissions,
    )


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
