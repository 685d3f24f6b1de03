"""Whether an address may be paid: nothing that would lose the money, or give it back to the provider.

An address without its network's prefix is the same on every network, so prefixes are refused where text is read (the
job's spec), not here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

from lotus_client.address import Address
from lotus_client.chain import TipSetKey
from lotus_client.errors import LotusRpcError
from lotus_client.state import MinerInfo
from lotus_client.types import ActorId
from sp_plugin.payouts.ports import ActorReader, find_actor

__all__ = ["RecipientReader", "unpayable"]

_FIRST_USER_ACTOR: Final = 100  # below are the network's own: f00 system … f099 burnt funds


class RecipientReader(ActorReader, Protocol):
    """The reads that are needed, all in the state of a final tipset; `LotusClient` has them."""

    async def lookup_id(self, address: Address, tsk: TipSetKey, /) -> ActorId: ...
    async def miner_info(self, provider: ActorId, tsk: TipSetKey, /) -> MinerInfo: ...


async def unpayable(
    chain: RecipientReader,
    payees: Iterable[Address],
    *,
    provider: ActorId,
    wallet: Address,
    final: TipSetKey,
) -> dict[Address, str]:
    """Why some of `payees` must not be paid; the others are left out.

    f1, f3 and f4 addresses that nobody has used yet are good: the first payment makes them. An id or an actor address
    that a *final* state does not know is held, because a reorg could still give it to somebody else.
    """
    info = await chain.miner_info(provider, final)
    controls = {info.owner, info.worker, info.beneficiary.address, *info.control_addresses}
    provider_ids = {await _id(chain, address, final) for address in controls}
    wallet_id = await _id(chain, wallet, final)
    reasons = {}
    for payee in payees:
        actor = await _id(chain, payee, final)
        if payee == wallet or (actor is not None and actor == wallet_id):
            reasons[payee] = "address: the payout wallet itself"
        elif actor is None:
            if payee.protocol in (0, 2):
                reasons[payee] = "address: no actor of it in a final state yet"
        elif actor < _FIRST_USER_ACTOR:
            reasons[payee] = "address: an actor of the network itself"
        elif actor in provider_ids or actor == provider:
            reasons[payee] = "address: the provider's own"
        elif payee.protocol in (0, 2) and await _is_miner(chain, actor, final):
            reasons[payee] = "address: a miner actor, which would lock it away"
    return reasons


async def _id(chain: RecipientReader, address: Address, key: TipSetKey) -> ActorId | None:
    """The actor behind an address, None if there is none."""
    if await find_actor(chain, address, key) is None:  # a node gives an id address back unseen
        return None
    return await chain.lookup_id(address, key)


async def _is_miner(chain: RecipientReader, actor: ActorId, key: TipSetKey) -> bool:
    try:
        await chain.miner_info(actor, key)
    except LotusRpcError:
        return False
    return True
