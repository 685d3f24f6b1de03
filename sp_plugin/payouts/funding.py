"""What arrived in the payout wallet: every final transfer becomes a *funding* entry with its message's CID.

The wallet's balance in final states is compared with what our own payouts explain. Only where the two part is a
tipset executed again and its trace read, so that a quiet day costs one read. The trace also shows transfers that
another actor makes on the way, such as a withdrawal whose beneficiary is the wallet.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from lotus_client.address import Address
from lotus_client.chain import TipSet
from lotus_client.cid import Cid
from lotus_client.types import AttoFil, Epoch
from sp_plugin.ledger import (
    MINER_AVAILABLE,
    PAYOUT_WALLET,
    PROVIDER,
    Draft,
    Entry,
    EntryKind,
    Posting,
    message_ref,
    tipset_ref,
)
from sp_plugin.payouts.ports import FundingChain, find_actor
from sp_plugin.payouts.states import UNDECIDED
from sp_plugin.store.ledger import LedgerRepository
from sp_plugin.store.payouts import PayoutRepository

__all__ = ["FundingReport", "FundingWatcher", "Transfer", "transfers_to", "withdraw_commands"]


@dataclass(frozen=True, slots=True)
class Transfer:
    """Value that a message brought to the wallet, itself or through calls it made."""

    message: Cid
    amount: AttoFil


@dataclass(frozen=True, slots=True)
class FundingReport:
    """The entries made, the epoch the balance is explained to, and what stays unexplained (empty: nothing)."""

    funded: tuple[Draft, ...]
    up_to: Epoch
    problem: str = ""


class FundingWatcher:
    """Watches one payout wallet."""

    def __init__(
        self,
        chain: FundingChain,
        payouts: PayoutRepository,
        ledger: LedgerRepository,
        wallet: Address,
    ) -> None:
        self._chain = chain
        self._payouts = payouts
        self._ledger = ledger
        self._wallet = wallet

    async def step(self) -> FundingReport:
        """Explain the wallet's balance up to the newest final tipset. Safe to repeat.

        The first step books what is in the wallet already as an *opening* entry. While a payout of ours is executed in
        a final state but not settled yet, it waits (`problem` says so): call the sender's step first.

        Raises:
            LotusError: the node could not be asked; the same step again goes on where this one was.
        """
        final = await self._chain.finalized_tipset()
        actor = await find_actor(self._chain, self._wallet, final.key)
        checkpoint = await self._payouts.funding_checkpoint(self._wallet)
        done = Epoch(0) if checkpoint is None else checkpoint[0]
        for payout in await self._payouts.payouts(*UNDECIDED):
            if payout.nonce is not None and actor is not None and payout.nonce < actor.nonce:
                return FundingReport((), done, f"payout {payout.id} has to be settled first")
        if checkpoint is None:
            return await self._open(final)
        if final.height <= done:
            return FundingReport((), done)
        return await self._advance(await self._chain.tipset_by_height(done, final.key), final)

    async def _open(self, final: TipSet) -> FundingReport:
        balances = await self._ledger.balances(up_to=final.height)
        there = await self._balance(final) - balances.get(PAYOUT_WALLET, AttoFil(0)).value
        drafts = [_opening_draft(self._wallet, AttoFil(there), final)] if there else []
        await self._payouts.open_wallet(self._wallet, await self._chain.mpool_nonce(self._wallet))
        await self._payouts.save_funding(self._wallet, final.height, final.key, drafts)
        return FundingReport(tuple(drafts), final.height)

    async def _advance(self, low: TipSet, final: TipSet) -> FundingReport:
        drafts: list[Draft] = []
        unexplained = 0
        async for inclusion, child, gained in self._movements(low, final):
            found, missing = await self._explain(inclusion, child, gained)
            drafts += found
            unexplained += missing
        await self._payouts.save_funding(self._wallet, final.height, final.key, drafts)
        problem = ""
        if unexplained:
            problem = f"{unexplained} attoFIL moved in {self._wallet} by no message we can see"
        if unexplained < 0:  # somebody else can spend from it: stop before there is no more
            await self._payouts.set_halted(self._wallet, f"{problem}: `payouts reconcile`")
        return FundingReport(tuple(drafts), final.height, problem)

    async def _movements(
        self, low: TipSet, high: TipSet
    ) -> AsyncIterator[tuple[TipSet, TipSet, int]]:
        """(tipset, its child, gain) where a tipset's messages changed the balance beyond our own payouts.

        A state read at a tipset is the one *before* its messages, so the gain shows at the child.
        """
        ours = _our_outflows(await self._ledger.entries())
        stack = [(low, await self._balance(low), high, await self._balance(high))]
        while stack:
            left, before, right, after = stack.pop()
            spent = sum(out for at, out in ours.items() if left.height < at <= right.height)
            gained = after - before + spent
            if not gained:
                continue
            middle = await self._between(left, right)
            if middle is None:
                yield left, right, gained
                continue
            balance = await self._balance(middle)
            stack.append((middle, balance, right, after))
            stack.append((left, before, middle, balance))

    async def _between(self, left: TipSet, right: TipSet) -> TipSet | None:
        if right.parents == left.key:
            return None
        middle = Epoch((left.height + right.height) // 2)
        found = await self._chain.tipset_by_height(middle, right.key)
        if found.height <= left.height:
            found = await self._chain.tipset_after_height(Epoch(middle + 1), right.key)
        if found.height >= right.height:
            found = await self._chain.tipset(right.parents)
        return found

    async def _balance(self, tipset: TipSet) -> int:
        actor = await find_actor(self._chain, self._wallet, tipset.key)
        return 0 if actor is None else actor.balance.value

    async def _explain(
        self, inclusion: TipSet, child: TipSet, gained: int
    ) -> tuple[list[Draft], int]:
        wallet_id = await self._chain.lookup_id(self._wallet, child.key)
        trace = await self._chain.compute_state(inclusion.height, inclusion.key)
        transfers = transfers_to({self._wallet, Address.of_id(wallet_id)}, trace)
        drafts = [_funding_draft(transfer, child.height) for transfer in transfers]
        return drafts, gained - sum(transfer.amount.value for transfer in transfers)


_OUTFLOWS: Final = frozenset({EntryKind.PAYOUT, EntryKind.WITHDRAWAL, EntryKind.FEE})


def _our_outflows(entries: list[Entry]) -> dict[Epoch, int]:
    sums: defaultdict[Epoch, int] = defaultdict(int)
    ours = (e for e in entries if e.draft.kind in _OUTFLOWS)
    for entry in ours:
        for posting in entry.draft.postings:
            if posting.account == PAYOUT_WALLET:
                sums[entry.draft.epoch] -= posting.amount.value
    return sums


def _funding_draft(transfer: Transfer, executed: Epoch) -> Draft:
    return Draft(
        key=f"funding:{transfer.message}",
        kind=EntryKind.FUNDING,
        epoch=executed,
        postings=(
            Posting(PAYOUT_WALLET, transfer.amount),
            Posting(MINER_AVAILABLE, -transfer.amount),
        ),
        refs=(message_ref(transfer.message),),
        memo="transfer to the payout wallet",
    )


def _opening_draft(wallet: Address, amount: AttoFil, final: TipSet) -> Draft:
    return Draft(
        key=f"opening:{wallet}",
        kind=EntryKind.OPENING,
        epoch=final.height,
        postings=(Posting(PAYOUT_WALLET, amount), Posting(PROVIDER, -amount)),
        refs=(tipset_ref(final.key),),
        memo="in the payout wallet when it was first seen",
    )


def transfers_to(names: set[Address], compute_state: Mapping[str, Any]) -> list[Transfer]:
    """What each message of a `StateCompute` answer brought to one of `names`, internal calls included.

    A call counts if it and all calls above it ended with exit code 0.
    """
    transfers = []
    for element in compute_state.get("Trace") or []:
        amount = sum(_received(element.get("ExecutionTrace") or {}, names))
        if amount:
            cid = Cid.parse(element["MsgCid"]["/"])
            transfers.append(Transfer(cid, AttoFil(amount)))
    return transfers


def _received(call: Mapping[str, Any], names: set[Address]) -> Iterator[int]:
    stack = [call]
    while stack:
        here = stack.pop()
        receipt, message = here.get("MsgRct") or {}, here.get("Msg") or {}
        if receipt.get("ExitCode") != 0 or not message:
            continue
        to_wallet = Address.parse(message["To"]) in names
        if to_wallet and Address.parse(message["From"]) not in names:
            yield AttoFil.parse(message["Value"]).value
        stack.extend(here.get("Subcalls") or [])


def withdraw_commands(provider: Address, wallet: Address, lacking: AttoFil) -> tuple[str, ...]:
    """The operator's commands that bring `lacking` from the miner to the payout wallet; empty if nothing lacks.

    We never hold the owner's key, so these are typed by the owner. `sptool` is Curio's; a beneficiary withdraws with
    `--beneficiary`. What is withdrawn goes to the owner (or beneficiary), who then sends it on.
    """
    if lacking.value <= 0:
        return ()
    amount = lacking.to_fil()
    miner, to = provider.to_text("f"), wallet.to_text("f")
    return (
        f"lotus-miner actor withdraw {amount}",
        f"sptool --actor {miner} actor withdraw {amount}    # Curio instead of lotus-miner",
        f"lotus send --from <owner> {to} {amount}",
    )
