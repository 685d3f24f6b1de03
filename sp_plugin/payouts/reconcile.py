"""The wallet's nonces as the chain has them beside those we signed, for the person who has to find out what happened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from lotus_client.address import Address
from lotus_client.chain import TipSet
from sp_plugin.errors import Conflict
from sp_plugin.payouts.ports import PayoutChain, find_actor
from sp_plugin.payouts.recovery import Recovery, RecoveryChain
from sp_plugin.payouts.states import PayoutState
from sp_plugin.store.ledger import LedgerRepository
from sp_plugin.store.payouts import PayoutRepository

__all__ = ["ReconcileChain", "Reconciler", "Reconciliation"]


class ReconcileChain(PayoutChain, RecoveryChain, Protocol):
    """The reads that comparing and booking need; `LotusClient` has them."""


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What was compared.

    `chain_nonce` is the next nonce in the state of the head, `pool_nonce` the next one counting messages not executed
    yet, `expected` the one that should be next if nobody but us used the wallet. `displaced` are payouts whose nonce
    was used up in the head's state although none of their messages was executed there.
    """

    wallet: Address
    chain_nonce: int
    pool_nonce: int
    our_highest: int | None
    expected: int
    displaced: tuple[str, ...]
    halted: str

    @property
    def fits(self) -> bool:
        """Whether everything the wallet sent is ours."""
        return self.pool_nonce <= self.expected and not self.displaced and not self.halted


class Reconciler:
    """Compares, and on a person's word accepts what others did with the wallet."""

    def __init__(
        self,
        chain: ReconcileChain,
        payouts: PayoutRepository,
        ledger: LedgerRepository,
        wallet: Address,
    ) -> None:
        self._chain = chain
        self._payouts = payouts
        self._wallet = wallet
        self._recovery = Recovery(chain, payouts, ledger, wallet)

    async def compare(self) -> Reconciliation:
        """The nonces now. Changes nothing."""
        head = await self._chain.head()
        actor = await find_actor(self._chain, self._wallet, head.key)
        chain_nonce = 0 if actor is None else actor.nonce
        pool_nonce = await self._chain.mpool_nonce(self._wallet)
        state = await self._payouts.wallet(self._wallet)
        ours = await self._payouts.highest_nonce(self._wallet)
        base = pool_nonce if state is None else state.base_nonce
        displaced = [
            payout.id
            for payout in await self._payouts.payouts(PayoutState.SIGNED, PayoutState.SENT)
            if payout.nonce is not None
            and payout.nonce < chain_nonce
            and not await self._was_executed(payout.id)
        ]
        return Reconciliation(
            wallet=self._wallet,
            chain_nonce=chain_nonce,
            pool_nonce=pool_nonce,
            our_highest=ours,
            expected=base if ours is None else max(base, ours + 1),
            displaced=tuple(displaced),
            halted="" if state is None else state.halted,
        )

    async def accept(self, nonce: int) -> Reconciliation:
        """Book what the wallet sent below `nonce` without us, and let sending go on; the comparison after it.

        `nonce` must be the wallet's next one, so that nobody accepts what came after they looked, and all below it must
        be final, so that what is booked stays true.

        Raises:
            Conflict: it is another by now, there is nothing to accept, or not all of it is final yet.
        """
        found = await self.compare()
        if found.fits:
            raise Conflict("there is nothing to accept: every message of the wallet is ours")
        if nonce != found.pool_nonce:
            raise Conflict(
                f"the wallet's next nonce is {found.pool_nonce}, not {nonce}: look again, then accept that"
            )
        final = await self._chain.finalized_tipset()
        actor = await find_actor(self._chain, self._wallet, final.key)
        known = {p.nonce for p in await self._payouts.payouts() if p.wallet == self._wallet}
        waiting = set(range(0 if actor is None else actor.nonce, nonce)) - known
        if waiting or set(found.displaced) & await self._not_final(final):
            raise Conflict(
                "not all that the wallet sent is final yet (900 epochs): only then is certain what it was; accept it then"
            )
        await self._recovery.recover()
        return await self.compare()

    async def _not_final(self, final: TipSet) -> set[str]:
        """Our payouts whose nonce is not used up in a final state."""
        actor = await find_actor(self._chain, self._wallet, final.key)
        used = 0 if actor is None else actor.nonce
        open_ = await self._payouts.payouts(PayoutState.SIGNED, PayoutState.SENT)
        return {p.id for p in open_ if p.nonce is not None and p.nonce >= used}

    async def _was_executed(self, payout_id: str) -> bool:
        for message in await self._payouts.messages(payout_id):
            lookup = await self._chain.search_msg(message.cid, limit=-1, allow_replaced=False)
            if lookup is not None and lookup.message == message.cid:
                return True
        return False
