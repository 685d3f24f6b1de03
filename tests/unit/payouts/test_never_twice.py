"""Whatever crashes, restarts, reorgs and lost mempools do, nobody is paid twice and the books agree with the chain."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lotus_client.address import Address
from lotus_client.crypto import Signature
from lotus_client.messages import Message, SignedMessage
from sp_plugin.payouts.batch import BatchRefused
from sp_plugin.payouts.states import TERMINAL, PayoutState
from tests.money_fixtures import PAYEE, PAYEE_TWO, Money

PAYEES = (PAYEE, PAYEE_TWO)
MOMENTS = ("before signing", "after signing", "before push", "after push", "after commit")


class Killed(Exception):
    """Stands for a process that died here."""


class NeverTwice(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.money = Money(Path(self.folder.name) / "state.db")
        self.owed: dict[Address, int] = dict.fromkeys(PAYEES, 0)
        self.run(self.money.create())

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    @rule(payee=st.sampled_from(PAYEES), amount=st.integers(10, 10**6))
    def owe(self, payee: Address, amount: int) -> None:
        self.owed[payee] += amount
        self.run(self.money.owe(payee, amount))

    @precondition(lambda self: any(self.owed.values()))
    @rule()
    def approve(self) -> None:
        async def work() -> None:
            planned = await self.money.planner().plan()
            if planned.batch.items:
                try:
                    await self.money.payouts.approve(
                        planned.digest, "operator", planned.batch.created
                    )
                except BatchRefused as error:  # a batch of the same content was approved before
                    raise AssertionError from error

        self.run(work())

    @rule()
    def step(self) -> None:
        self.run(self.money.sender().step())

    @rule(moment=st.sampled_from(MOMENTS))
    def die(self, moment: str) -> None:
        async def work() -> None:
            sender, chain = self.money.sender(), self.money.chain
            sign, push = sender._outbox._signer.sign, type(chain).mpool_push
            pushed = self.money.payouts.record_pushed

            async def dying_sign(message: Message) -> Signature:
                if moment == "after signing":
                    await sign(message)
                raise Killed

            async def dying_push(signed: SignedMessage) -> Any:
                if moment == "after push":
                    await push(chain, signed)
                raise Killed

            async def dying_commit(*args: Any) -> None:
                await pushed(*args)
                raise Killed

            if "sign" in moment:
                sender._outbox._signer.sign = dying_sign  # type: ignore[method-assign]
            elif "push" in moment:
                chain.mpool_push = dying_push  # type: ignore[method-assign]
            else:
                self.money.payouts.record_pushed = dying_commit  # type: ignore[method-assign]
            try:
                await sender.step()
            except Killed:
                pass
            finally:
                chain.__dict__.pop("mpool_push", None)
            await self.money.restart()

        self.run(work())

    @rule(take=st.booleans(), gap=st.integers(1, 25))
    def mine(self, take: bool, gap: int) -> None:
        self.money.chain.mine(take=take, gap=gap)

    @rule(depth=st.integers(1, 4), lose=st.booleans())
    def reorg(self, depth: int, lose: bool) -> None:
        self.money.chain.reorg(depth, lose=lose)

    @rule()
    def lose_mempool(self) -> None:
        self.money.chain.pool.clear()

    @rule(payee=st.sampled_from(PAYEES))
    def toggle_failure(self, payee: Address) -> None:
        self.money.chain.fail_to ^= {payee}

    @invariant()
    def nobody_is_overpaid(self) -> None:
        for payee in PAYEES:
            assert self.money.chain.balance(payee) <= self.owed[payee]

    def teardown(self) -> None:
        try:
            self.run(self.finish())
        finally:
            self.run(self.money.store.close())
            self.runner.close()
            self.folder.cleanup()

    async def finish(self) -> None:
        money = self.money
        money.chain.fail_to.clear()
        await money.settle(14)
        if any(self.owed.values()):
            for _ in range(2):  # a payout that failed before is due again
                planned = await money.planner().plan()
                if planned.batch.items:
                    await money.payouts.approve(planned.digest, "operator", planned.batch.created)
                await money.settle(14)
        for payee in PAYEES:
            assert money.chain.balance(payee) == self.owed[payee]
        payouts = await money.payouts.payouts()
        assert all(p.state in TERMINAL | {PayoutState.HELD} for p in payouts)
        nonces = [p.nonce for p in payouts if p.nonce is not None]
        assert nonces == list(range(len(nonces)))
        assert not any(event == "payouts_halted" for event, _ in money.alerts)
        assert (await money.check()).problems == ()


TestNeverTwice = NeverTwice.TestCase
TestNeverTwice.settings = settings(
    max_examples=12,
    stateful_step_count=14,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
