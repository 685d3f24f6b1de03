"""The wallet's nonces as the chain has them beside those we signed, for the person who has to find out what happened."""

from __future__ import annotations

from dataclasses import dataclass

from lotus_client.address import Address
from sp_plugin.errors import Conflict
from sp_plugin.payouts.ports import PayoutChain, find_actor
from sp_plugin.payouts.states import PayoutState
from sp_plugin.store.payouts import PayoutRepository

__all__ = ["Reconciler", "Reconciliation"]


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

    def __init__(self, chain: PayoutChain, payouts: PayoutRepository, wallet: Address) -> None:
        self._chain = chain
        self._payouts = payouts
        self._wallet = wallet

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
        """Take all messages below `nonce` that are not ours as known, and let sending go on; the comparison after it.

        `nonce` must be the wallet's next one, so that nobody accepts what came after they looked.

        Raises:
            Conflict: it is another by now, there is nothing to accept, or a payout's own nonce was used by a stranger.
        """
        found = await self.compare()
        if found.fits:
            raise Conflict("there is nothing to accept: every message of the wallet is ours")
        if nonce != found.pool_nonce:
            raise Conflict(
                f"the wallet's next nonce is {found.pool_nonce}, not {nonce}: look again, then accept that"
            )
        if found.displaced:
            raise Conflict(
                f"the nonce of payout {', '.join(found.displaced)} was used by another message. Whether it can still be "
                "executed is only certain when that message is final (900 epochs); accept it then"
            )
        await self._payouts.accept_nonce(self._wallet, nonce)
        return await self.compare()

    async def _was_executed(self, payout_id: str) -> bool:
        for message in await self._payouts.messages(payout_id):
            lookup = await self._chain.search_msg(message.cid, limit=-1, allow_replaced=False)
            if lookup is not None and lookup.message == message.cid:
                return True
        return False
