"""A payment of a statement against its message on chain: executed once, for this amount, and the payee's balance rose by it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lotus_client.address import Address
from lotus_client.chain import TipSetKey
from lotus_client.cid import Cid
from sp_plugin.audit.chain import AuditChain
from sp_plugin.payouts.ports import find_actor
from sp_plugin.statement_checks import WrongStatement, same

__all__ = ["check_payment"]


async def check_payment(
    chain: AuditChain, statement: Mapping[str, Any], payment: Mapping[str, Any], payee: Address
) -> str:
    """What was compared of a payment of the statement to `payee`.

    Raises:
        WrongStatement: the chain does not show it.
        LotusError: the node cannot tell.
    """
    cid, amount = Cid.parse(payment["message"]), int(payment["amount"])
    lookup = await chain.search_msg(cid, allow_replaced=False)
    if lookup is None or lookup.message != cid:
        raise WrongStatement("the message is not on chain")
    same("executed_at", payment["executed_at"], lookup.height)
    if lookup.height > statement["as_of"]["epoch"]:
        raise WrongStatement("the message was executed after the statement's tipset")
    if lookup.receipt.exit_code != 0:
        raise WrongStatement(f"the message failed with exit code {lookup.receipt.exit_code}")
    execution = await chain.tipset(lookup.tipset)
    messages = await chain.messages_in_tipset(execution.parents)
    paid = [item.message for item in messages if item.cid == cid]
    if len(paid) != 1 or (paid[0].to, paid[0].value.value) != (payee, amount):
        raise WrongStatement("the message does not pay this amount to this payee")
    rose = await _balance(chain, payee, execution.key) - await _balance(
        chain, payee, execution.parents
    )
    if rose == amount:
        return f"{paid[0].from_} paid: exit code 0, the payee's balance rose by exactly {amount} attoFIL"
    others = [m for m in messages if payee in (m.message.to, m.message.from_)]
    if len(others) > 1:
        return f"{paid[0].from_} paid: exit code 0; other messages of the same tipset also moved the payee's balance ({rose})"
    raise WrongStatement(f"the payee's balance changed by {rose} attoFIL, not by {amount}")


async def _balance(chain: AuditChain, payee: Address, key: TipSetKey) -> int:
    actor = await find_actor(chain, payee, key)
    return 0 if actor is None else actor.balance.value
