"""Who is who on chain, so that nobody approves work that pays himself under another address."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Protocol

from fil_plus.approvals import Conflicts
from lotus_client.address import Address
from lotus_client.errors import LotusRpcError
from lotus_client.state import MinerInfo
from lotus_client.types import ActorId

__all__ = ["IdentityReader", "gather_conflicts"]


class IdentityReader(Protocol):
    """The reads of a node that are needed; `LotusClient` has them."""

    async def miner_info(self, provider: ActorId) -> MinerInfo: ...
    async def lookup_id(self, address: Address) -> ActorId: ...
    async def account_key(self, address: Address) -> Address: ...


async def gather_conflicts(
    chain: IdentityReader, provider: ActorId, payee: Address | None, approvers: Iterable[Address]
) -> Conflicts:
    """Every known address of the payee, of the provider's owner and beneficiary, and of each approver.

    An address that is not on chain yet has no other form. A node that cannot be reached raises.
    """
    info = await chain.miner_info(provider)
    owners: frozenset[Address] = frozenset({Address.of_id(provider)})
    for address in {info.owner, info.beneficiary.address}:
        owners |= await _forms(chain, address)
    return Conflicts(
        payee=frozenset() if payee is None else await _forms(chain, payee),
        provider=owners,
        identities={approver: await _forms(chain, approver) for approver in approvers},
    )


async def _forms(chain: IdentityReader, address: Address) -> frozenset[Address]:
    """The address, its id address, and the key address behind it where there is one."""
    forms = {address}
    try:
        forms.add(Address.of_id(await chain.lookup_id(address)))
    except LotusRpcError:
        return frozenset(forms)  # no such actor: nobody has used the address yet
    with suppress(LotusRpcError):  # an actor without a key: a multisig or a contract
        forms.add(await chain.account_key(address))
    return frozenset(forms)
