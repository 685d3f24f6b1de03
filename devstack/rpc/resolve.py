"""What several subjects share: the state at a key, and addresses as actors."""

from __future__ import annotations

from devstack.chain import ChainLookupError, StateView
from devstack.node import FullNode
from devstack.rpc.errors import RpcError
from lotus_client.address import Address
from lotus_client.chain import TipSetKey

__all__ = ["defined", "existing_id", "state_at"]


def defined(address: Address | None) -> Address:
    """The address.

    Raises:
        RpcError: it is the undefined one.
    """
    if address is None:
        raise RpcError(1, "cannot resolve the undefined address")
    return address


def state_at(node: FullNode, key: TipSetKey) -> StateView:
    """The state that `State*` reads at this key: the tipset's parent state.

    Raises:
        RpcError: no such tipset.
    """
    try:
        return node.network.state(key)
    except ChainLookupError as error:
        raise RpcError(1, f"loading tipset {key}: {error}") from error


def existing_id(state: StateView, address: Address | None) -> Address:
    """The f0 form of an address that has an actor.

    Raises:
        RpcError: code 11, actor not found.
    """
    actor_id = state.actor_id(defined(address))
    if actor_id is None:
        raise RpcError.actor_not_found()
    return Address.of_id(actor_id)
