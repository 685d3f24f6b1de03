"""Messages run on a state and thrown away: calls, traces, StateCompute and gas estimates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from devstack.chain import gas
from devstack.chain.execution import call_message, compute_on
from devstack.chain.lookups import ChainLookups
from devstack.chain.values import Invocation, MessageFailed, TipSetExecution
from lotus_client.chain import TipSetKey
from lotus_client.messages import Message
from lotus_client.types import AttoFil, Epoch

__all__ = ["ChainCalls"]

# Lotus: premium floor 100,000; 0.07 FIL default maximum fee
_MIN_PREMIUM: Final = 100_000
_DEFAULT_MAX_FEE: Final = AttoFil(7 * 10**16)
_SIGNATURE_ROOM: Final = 80  # bytes that signing adds to a message on chain, at most


class ChainCalls(ChainLookups):
    """The part of `Network` that executes without changing anything."""

    def execution(self, key: TipSetKey | None = None) -> TipSetExecution:
        """The tipset executed again with all traces (StateCompute without extra messages)."""
        tipset = self.tipset(key)
        run = self._execute(tipset, tracing=True) if tipset.parents else self._after(tipset)
        return TipSetExecution(
            tipset.key, tipset.height, run.tree.root, run.receipts_root, run.invocations,
            run.messages,
        )  # fmt: skip

    def compute(
        self, height: Epoch, messages: Sequence[Message], key: TipSetKey | None = None
    ) -> TipSetExecution:
        """The tipset executed with traces, then these messages at `height` on top of it, without cron (StateCompute)."""
        done = self.execution(key)
        if not messages:
            return done
        tipset = self.tipset(key)
        environment = self._environment(tipset, height, tracing=True)
        tree, runs = compute_on(self._after(tipset).tree, environment, messages)
        return replace(done, state_root=tree.root, invocations=(*done.invocations, *runs))

    def call_on_parent(self, message: Message, key: TipSetKey | None = None) -> Invocation:
        """The message run on the state before the tipset's own messages and thrown away, as StateCall does."""
        tipset = self.tipset(key)
        before = self._store.parent(tipset) if tipset.parents else tipset
        environment = self._environment(tipset, tipset.height, tracing=True)
        return call_message(self._after(before).tree, environment, message)

    def call(
        self, message: Message, key: TipSetKey | None = None, *, any_sender: bool = False
    ) -> Invocation:
        """The message run on the tipset's *post* state and thrown away ; no signature, nonce or gas needed.

        With `any_sender` an f410 sender need not be on chain, as for eth_call.
        """
        tipset = self.tipset(key)
        environment = self._environment(tipset, tipset.height + 1, tracing=True)
        return call_message(self._after(tipset).tree, environment, message, any_sender=any_sender)

    def estimate_gas(self, message: Message, max_fee: AttoFil | None = None) -> Message:
        """The message with its zero gas fields filled, as GasEstimateMessageGas: MessageFailed if it would fail."""
        run = self.call(replace(message, gas_limit=0))
        if run.receipt.exit_code:
            raise MessageFailed(run.receipt.exit_code, f"method {message.method} of {message.to}")
        return self._with_gas(message, max_fee, run.receipt.gas_used)

    def _with_gas(
        self, message: Message, max_fee: AttoFil | None, ran: int | None = None
    ) -> Message:
        """The message with gas for what it used when it `ran`, or for the fixed price of its kind."""
        limit = message.gas_limit
        if limit == 0:
            fixed = gas.gas_used(message, len(message.to_cbor()) + _SIGNATURE_ROOM)
            used = max(fixed, ran or 0)
            limit = gas.with_margin(used)
        premium = message.gas_premium.value or _MIN_PREMIUM
        cap = message.gas_fee_cap.value or gas.BASE_FEE * 11 + premium
        most = (max_fee or _DEFAULT_MAX_FEE).value
        if message.gas_fee_cap.value == 0 and cap * limit > most:
            cap = most // limit
        return replace(
            message,
            gas_limit=limit,
            gas_fee_cap=AttoFil(cap),
            gas_premium=AttoFil(min(premium, cap)),
        )
