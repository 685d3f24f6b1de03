"""The ledger: balanced, chained, append-only, traceable."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from lotus_client.chain import TipSetKey
from lotus_client.cid import dag_cbor_cid
from lotus_client.crypto import Secp256k1Key
from lotus_client.types import AttoFil, Epoch
from sp_plugin.ledger import (
    MINER_AVAILABLE,
    PAYOUT_WALLET,
    PROVIDER,
    Account,
    Draft,
    Entry,
    EntryKind,
    LedgerError,
    Posting,
    Ref,
    RefKind,
    WalletOnChain,
    accrued,
    chain_entry,
    check_ledger,
    message_ref,
    payable,
    payee_of,
    tipset_ref,
)
from sp_plugin.store.base import Store, metadata
from sp_plugin.store.ledger import LedgerRepository

PAYEE = Secp256k1Key(b"\x07" * 32).address
TIPSET = tipset_ref(TipSetKey((dag_cbor_cid(b"\x80"),)))
MESSAGE = message_ref(dag_cbor_cid(b"\x81\x01"))


def draft(
    key: str,
    kind: EntryKind,
    debit: Account,
    credit: Account,
    amount: int,
    *refs: Ref,
    epoch: int = 1,
) -> Draft:
    value = AttoFil(amount)
    return Draft(key, kind, Epoch(epoch), (Posting(debit, value), Posting(credit, -value)), refs)


def chained(*drafts: Draft) -> list[Entry]:
    entries: list[Entry] = []
    for item in drafts:
        entries.append(chain_entry(item, entries[-1] if entries else None))
    return entries


AWARD = draft("award:1", EntryKind.AWARD, MINER_AVAILABLE, PROVIDER, 100, TIPSET)
ACCRUAL = draft("accrual:1", EntryKind.ACCRUAL, PROVIDER, accrued(PAYEE), 40, TIPSET)
RELEASE = draft(
    "release:1",
    EntryKind.RELEASE,
    accrued(PAYEE),
    payable(PAYEE),
    30,
    Ref(RefKind.ENTRY, "accrual:1"),
)
FUNDING = draft("funding:1", EntryKind.FUNDING, PAYOUT_WALLET, MINER_AVAILABLE, 50, MESSAGE)
PAYOUT = draft("payout:1", EntryKind.PAYOUT, payable(PAYEE), PAYOUT_WALLET, 30, MESSAGE, epoch=5)
GOOD = (AWARD, ACCRUAL, RELEASE, FUNDING, PAYOUT)


@given(st.lists(st.integers(-(10**30), 10**30), min_size=2, max_size=6))
def test_an_entry_balances_or_does_not_exist(amounts: list[int]) -> None:
    accounts = [
        MINER_AVAILABLE,
        PROVIDER,
        PAYOUT_WALLET,
        Account("fees"),
        accrued(PAYEE),
        payable(PAYEE),
    ]
    postings = tuple(Posting(a, AttoFil(v)) for a, v in zip(accounts, amounts, strict=False))
    if sum(amounts):
        with pytest.raises(LedgerError, match="not to zero"):
            Draft("k", EntryKind.AWARD, Epoch(1), postings)
    else:
        assert Draft("k", EntryKind.AWARD, Epoch(1), postings).postings == postings


@given(st.lists(st.integers(1, 10**24), min_size=1, max_size=20))
def test_the_balances_of_any_ledger_add_up_to_zero(amounts: list[int]) -> None:
    drafts = [
        draft(f"award:{n}", EntryKind.AWARD, MINER_AVAILABLE, PROVIDER, amount, TIPSET)
        for n, amount in enumerate(amounts)
    ]
    report = check_ledger(chained(*drafts))
    assert report.ok
    assert sum(amount.value for amount in report.balances.values()) == 0


def test_a_good_ledger_has_no_problems_and_fits_the_wallet_on_chain() -> None:
    assert check_ledger(chained(*GOOD), WalletOnChain(Epoch(9), AttoFil(20))).ok


def test_the_wallet_is_compared_at_the_epoch_it_was_read_at() -> None:
    assert check_ledger(chained(*GOOD), WalletOnChain(Epoch(4), AttoFil(50))).ok
    report = check_ledger(chained(*GOOD), WalletOnChain(Epoch(9), AttoFil(19)))
    assert "-1 attoFIL moved without an entry" in report.problems[0].message


@pytest.mark.parametrize(
    ("drafts", "message"),
    [
        ((ACCRUAL,), "whose award is not in the ledger"),
        ((AWARD, ACCRUAL, draft("r", EntryKind.RELEASE, accrued(PAYEE), payable(PAYEE), 1)), "which entry"),
        (
            (
                AWARD,
                ACCRUAL,
                draft(
                    "r",
                    EntryKind.RELEASE,
                    accrued(PAYEE),
                    payable(PAYEE),
                    41,
                    Ref(RefKind.ENTRY, "accrual:1"),
                ),
            ),
            "releases 1 attoFIL more",
        ),
        ((draft("x", EntryKind.FUNDING, PAYOUT_WALLET, payable(PAYEE), 1, MESSAGE),), "without a release"),
        ((PAYOUT,), "more than was due"),
        ((*GOOD[:4], draft("payout:1", EntryKind.PAYOUT, payable(PAYEE), PAYOUT_WALLET, 30)), "0 messages"),
        (
            (*GOOD[:4], *[draft(f"payout:{n}", EntryKind.PAYOUT, payable(PAYEE), PAYOUT_WALLET, 15, MESSAGE) for n in (1, 2)]),
            "already stands for another payout",
        ),
        ((AWARD, AWARD), "booked twice"),
    ],
)  # fmt: skip
def test_what_cannot_be_traced_is_a_problem(drafts: tuple[Draft, ...], message: str) -> None:
    problems = check_ledger(chained(*drafts)).problems
    assert any(message in problem.message for problem in problems)


def test_a_dropped_a_swapped_and_a_changed_entry_are_seen() -> None:
    entries = chained(*GOOD)
    assert not check_ledger(entries[:1] + entries[2:]).ok
    assert not check_ledger([entries[0], entries[2], entries[1], *entries[3:]]).ok
    forged = Entry(2, RELEASE, entries[1].previous, entries[1].hash)
    assert not check_ledger([entries[0], forged]).ok


def test_accounts_of_payees_have_one_spelling() -> None:
    assert payee_of(payable(PAYEE)) == PAYEE
    assert payee_of(PROVIDER) is None
    with pytest.raises(LedgerError, match="unknown account"):
        draft("k", EntryKind.AWARD, Account(f"payable:{PAYEE.to_text('f')}"), PROVIDER, 1)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    made = Store(f"sqlite+aiosqlite:///{tmp_path / 'state.db'}")
    async with made.transaction() as connection:
        await connection.run_sync(metadata.create_all)
    yield made
    await made.close()


async def test_appending_again_changes_nothing_and_other_content_is_refused(store: Store) -> None:
    ledger = LedgerRepository(store)
    first = await ledger.append(GOOD)
    assert await ledger.append(GOOD) == first
    assert await ledger.entries() == list(first)
    other = draft("award:1", EntryKind.AWARD, MINER_AVAILABLE, PROVIDER, 101, TIPSET)
    with pytest.raises(LedgerError, match="other content"):
        await ledger.append([other])
    assert (await ledger.check()).ok


async def test_a_refused_entry_takes_its_whole_transaction_back(store: Store) -> None:
    ledger = LedgerRepository(store)
    await ledger.append([AWARD])
    other = draft("award:1", EntryKind.AWARD, MINER_AVAILABLE, PROVIDER, 101, TIPSET)
    with pytest.raises(LedgerError):
        await ledger.append([ACCRUAL, other])
    assert len(await ledger.entries()) == 1


@pytest.mark.parametrize("change", ["'100'->'999'", "unbalanced", "garbage"])
async def test_a_row_changed_in_the_database_is_found(store: Store, change: str) -> None:
    ledger = LedgerRepository(store)
    await ledger.append(GOOD)
    edits = {
        "'100'->'999'": "UPDATE ledger_entries SET content = replace(replace(content, '\"100\"', '\"999\"'), '-100', '-999')",
        "unbalanced": "UPDATE ledger_entries SET content = replace(content, '\"100\"', '\"999\"') WHERE sequence = 1",
        "garbage": "UPDATE ledger_entries SET content = '{' WHERE sequence = 3",
    }
    async with store.transaction() as connection:
        await connection.execute(text(edits[change]))
    assert not (await ledger.check()).ok
