"""Signed bytes on their way to a node: pushed until one has them, pushed again after a reorg, and replaced when stuck."""

from __future__ import annotations

from lotus_client.chain import TipSet
from lotus_client.errors import LotusRpcError, LotusUnauthorized, LotusUnavailable
from lotus_client.messages import Message, SignedMessage
from sp_plugin.payouts.fees import replacement_of
from sp_plugin.payouts.passes import Alert, SenderSettings, StepReport
from sp_plugin.payouts.ports import PayoutChain, Signer
from sp_plugin.payouts.signer import SignerError
from sp_plugin.payouts.states import IllegalTransition, Payout, PayoutState
from sp_plugin.store.payout_wallets import SendingStopped
from sp_plugin.store.payouts import PayoutRepository, StoredMessage

__all__ = ["Outbox"]


class Outbox:
    """Signs and pushes messages of payouts; nothing is pushed that is not stored."""

    def __init__(
        self,
        chain: PayoutChain,
        signer: Signer,
        payouts: PayoutRepository,
        settings: SenderSettings,
        alert: Alert,
    ) -> None:
        self._chain = chain
        self._signer = signer
        self._payouts = payouts
        self._settings = settings
        self._alert = alert

    async def push_waiting(self, head: TipSet, report: StepReport) -> bool:
        """Push stored bytes that no node has; return whether all undecided payouts are with a node now."""
        all_pushed = True
        pool_nonce = await self._chain.mpool_nonce(self._settings.wallet)
        for payout in await self._payouts.payouts(PayoutState.SIGNED, PayoutState.SENT):
            newest = (await self._payouts.messages(payout.id))[-1]
            assert payout.nonce is not None
            if newest.pushed and pool_nonce > payout.nonce:
                await self._replace_if_stuck(payout, newest, head, report)
                continue
            if await self.push(payout, newest.signed):
                report.pushed.append(payout.id)
            else:
                all_pushed = False
        return all_pushed

    async def push(self, payout: Payout, signed: SignedMessage) -> bool:
        """Give signed bytes that are stored to a node; whether it has them now."""
        try:
            await self._chain.mpool_push(signed)
        except LotusUnavailable:
            return False  # perhaps it arrived: the next pass pushes the same bytes
        except LotusUnauthorized as error:
            text = f"payout {payout.id} waits for a node token with the permission write: {error}"
            await self._alert("payout_push_forbidden", text)
            return False
        except LotusRpcError as error:
            # The refusal is not an answer to "was it paid?": only the chain is. The bytes stay as they are.
            if not await self._is_waiting(signed):
                await self._alert("payout_push_refused", f"payout {payout.id}: {error}")
                return False
        await self._payouts.record_pushed(payout.id, signed.cid)
        return True

    async def _is_waiting(self, signed: SignedMessage) -> bool:
        """Whether the node has these very bytes; it refuses them a second time (Lotus `messagepool`, `msgSet.add`)."""
        return any(message.cid == signed.cid for message in await self._chain.mpool_pending())

    async def _replace_if_stuck(
        self, payout: Payout, newest: StoredMessage, head: TipSet, report: StepReport
    ) -> None:
        policy = self._settings.fees
        if head.height - newest.signed_at < policy.replace_after_epochs:
            return
        base_fee = head.blocks[0].parent_base_fee
        message = replacement_of(newest.signed.message, base_fee, policy)
        if message is None:
            await self._alert("payout_stuck", f"payout {payout.id} is stuck and at its fee cap")
            return
        signed = await self.sign(payout, message)
        if signed is None:
            return
        try:
            await self._payouts.record_replacement(payout.id, signed, head.height)
        except (SendingStopped, IllegalTransition):
            return
        report.replaced.append(payout.id)
        await self.push(payout, signed)

    async def sign(self, payout: Payout, message: Message) -> SignedMessage | None:
        """The signed message, nowhere stored yet; None if the signer does not sign, which is an alert."""
        try:
            return SignedMessage(message, await self._signer.sign(message))
        except SignerError as error:
            await self._alert("payout_signer", f"payout {payout.id}: {error}")
            return None
