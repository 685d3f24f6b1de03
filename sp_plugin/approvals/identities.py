"""Who is who on chain, so that nobody approves work that pays himself under another address."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Final, Protocol

from fil_plus.approvals import Conflicts
from lotus_client.address import Address
from lotus_client.errors import LotusActorNotFound, LotusRpcError
from lotus_client.state import MinerInfo
from lotus_client.types import ActorId, Epoch

__all__ = ["Identities", "IdentityReader"]

_MOST_SECONDS: Final = 30.0
_MOST_KNOWN: Final = 10_000


class IdentityReader(Protocol):
    """The reads of a node that are needed; `LotusClient` has them."""

    async def miner_info(self, provider: ActorId) -> MinerInfo: ...
    async def lookup_id(self, address: Address) -> ActorId: ...
    async def account_key(self, address: Address) -> Address: ...


class Identities:
    """Who is who, as the node said it at one epoch; what was said is asked again at the next epoch, or after half a minute.

    Only a tipset changes what the answers are, so between two of them a node need not be asked for every job.
    """

    def __init__(
        self,
        chain: IdentityReader,
        provider: ActorId,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._chain = chain
        self._provider = provider
        self._clock = clock
        self._epoch, self._since = Epoch(-1), 0.0
        self._known: dict[Address | None, frozenset[Address]] = {}  # None: the provider's own

    async def conflicts(
        self, payee: Address | None, approvers: Iterable[Address], at: Epoch
    ) -> Conflicts:
        """Every known address of the payee, of the provider's owner and beneficiary, and of each approver.

        `at` is the head's epoch. An address that is not on chain yet has no other form. A node that cannot be reached, or
        does not say, raises.
        """
        if (
            at != self._epoch
            or self._clock() - self._since > _MOST_SECONDS
            or len(self._known) > _MOST_KNOWN
        ):
            self._epoch, self._since, self._known = at, self._clock(), {}
        known = self._known  # what is asked now belongs to this epoch, whatever comes meanwhile
        return Conflicts(
            payee=frozenset() if payee is None else await self._forms(known, payee),
            provider=await _once(known, None, self._owners),
            identities={approver: await self._forms(known, approver) for approver in approvers},
        )

    async def _forms(
        self, known: dict[Address | None, frozenset[Address]], address: Address
    ) -> frozenset[Address]:
        return await _once(known, address, lambda: _forms(self._chain, address))

    async def _owners(self) -> frozenset[Address]:
        info = await self._chain.miner_info(self._provider)
        owners: frozenset[Address] = frozenset({Address.of_id(self._provider)})
        for address in {info.owner, info.beneficiary.address}:
            owners |= await _forms(self._chain, address)
        return owners


async def _once(
    known: dict[Address | None, frozenset[Address]],
    key: Address | None,
    ask: Callable[[], Awaitable[frozenset[Address]]],
) -> frozenset[Address]:
    if (found := known.get(key)) is None:
        found = known[key] = await ask()
    return found


async def _forms(chain: IdentityReader, address: Address) -> frozenset[Address]:
    """The address, its id address, and the key address behind it where there is one."""
    forms = {address}
    try:
        forms.add(Address.of_id(await chain.lookup_id(address)))
    except LotusActorNotFound:
        return frozenset(forms)  # nobody has used the address yet
    with suppress(LotusRpcError):  # an actor without a key: a multisig or a contract
        forms.add(await chain.account_key(address))
    return frozenset(forms)
