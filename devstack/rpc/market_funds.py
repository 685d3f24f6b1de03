"""`Market*`: money into and out of the market's escrow. Sources: Lotus `node/impl/market`, `chain/market/fundmanager.go`.

Nothing is ever reserved here, so that what is not locked in deals can be withdrawn.
"""

from __future__ import annotations

from typing import Any

from devstack.auth import Permission
from devstack.node import FullNode
from devstack.rpc.encode import amount_json, cid_json
from devstack.rpc.errors import RpcError
from devstack.rpc.methods import Method
from devstack.rpc.mpool import push_message
from devstack.rpc.params import ADDRESS, AMOUNT, SendSpec
from devstack.rpc.resolve import defined, existing_id
from lotus_client import cbor
from lotus_client.actors.market import MarketWithdrawParams
from lotus_client.actors.methods import MARKET, MarketMethod
from lotus_client.address import Address
from lotus_client.messages import Message
from lotus_client.types import AttoFil

__all__ = ["METHODS"]

Json = dict[str, Any]
MaybeAddress = Address | None


def _add(node: FullNode, wallet: MaybeAddress, address: MaybeAddress, amount: AttoFil) -> Json:
    params = cbor.encode(defined(address).to_bytes())
    return _push(node, wallet, MarketMethod.ADD_BALANCE, params, amount)


def _withdraw(
    node: FullNode, wallet: MaybeAddress, address: MaybeAddress, amount: AttoFil
) -> Json | None:
    state = node.network.state()
    balance = state.market.balance(existing_id(state, address).actor_id)
    if amount.value > balance.balance.value - balance.locked.value:
        raise RpcError(1, f"insufficient funds for withdrawal of {amount.value}")
    if not amount.value:
        return None  # Lotus sends nothing and answers with an undefined CID
    params = MarketWithdrawParams(defined(address), amount).to_cbor()
    return _push(node, wallet, MarketMethod.WITHDRAW_BALANCE, params, AttoFil(0))


def _push(
    node: FullNode, wallet: MaybeAddress, method: MarketMethod, params: bytes, value: AttoFil
) -> Json:
    message = Message(MARKET, defined(wallet), value=value, method=int(method), params=params)
    return cid_json(push_message(node, message, SendSpec()).cid)


def _reserved(_node: FullNode, _address: MaybeAddress) -> str:
    return amount_json(AttoFil(0))


_FUNDS = (ADDRESS, ADDRESS, AMOUNT)

METHODS: tuple[Method[FullNode], ...] = (
    Method("MarketAddBalance", Permission.SIGN, _FUNDS, _add),
    Method("MarketWithdraw", Permission.SIGN, _FUNDS, _withdraw),
    Method("MarketGetReserved", Permission.SIGN, (ADDRESS,), _reserved),
)
