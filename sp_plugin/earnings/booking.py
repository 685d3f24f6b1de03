"""Ledger entries of awards, closed periods and passing time. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from fil_plus.vesting import locked_part, released
from lotus_client.chain import TipSetKey
from lotus_client.types import EPOCHS_PER_DAY, AttoFil, Epoch
from sp_plugin.earnings.closing import ClosedPeriod
from sp_plugin.earnings.wins import WinRecord
from sp_plugin.ledger import (
    MINER_AVAILABLE,
    MINER_LOCKED,
    PROVIDER,
    Account,
    Draft,
    Entry,
    EntryKind,
    LedgerError,
    Posting,
    Ref,
    RefKind,
    accrued,
    payable,
    payee_of,
    tipset_ref,
)

__all__ = ["accrual_draft", "accrual_key", "award_drafts", "release_drafts"]


def award_drafts(win: WinRecord, proving_period_start: Epoch) -> tuple[Draft, ...]:
    """The entries of a win's award: what was credited, and what was burnt of it. None while the award is unknown.

    The miner actor takes penalties and fee debt from vesting funds first; here they come out of `miner_available`,
    whose total with `miner_locked` is exact.
    """
    award = win.award()
    if award is None or not award.credited:
        return ()
    locked = locked_part(award.credited)
    refs = (tipset_ref(win.tipset), _vesting_ref(proving_period_start))
    drafts = [
        Draft(
            key=f"award:{win.id}",
            kind=EntryKind.AWARD,
            epoch=win.epoch,
            postings=_postings(
                {
                    MINER_LOCKED: locked.value,
                    MINER_AVAILABLE: award.credited.value - locked.value,
                    PROVIDER: -award.credited.value,
                }
            ),
            refs=refs,
            memo=f"{win.win_count} wins, of it {award.gas_reward} attoFIL tips",
        )
    ]
    if award.burnt:
        burnt = award.burnt.value
        drafts.append(
            Draft(
                key=f"penalty:{win.id}",
                kind=EntryKind.PENALTY,
                epoch=win.epoch,
                postings=_postings({PROVIDER: burnt, MINER_AVAILABLE: -burnt}),
                refs=refs[:1],
                memo="penalties and fee debt burnt with the award; not shared",
            )
        )
    return tuple(drafts)


def accrual_key(period: int, revision: int) -> str:
    """The ledger key of a period's accrual."""
    return f"accrual:{period}.{revision}"


def accrual_draft(
    closed: ClosedPeriod, tipsets: Sequence[TipSetKey], proving_period_start: Epoch
) -> Draft | None:
    """The entry by which the provider owes every payee its net of a closed period; `None` if nobody is owed.

    `tipsets` are those of the wins with parts. It counts as credited at the period's last epoch.
    """
    owed = closed.owed()
    if not owed:
        return None
    amounts = {accrued(payee): -amount.value for payee, amount in owed.items()}
    amounts[PROVIDER] = sum(amount.value for amount in owed.values())
    return Draft(
        key=accrual_key(closed.period, closed.revision),
        kind=EntryKind.ACCRUAL,
        epoch=closed.last_epoch,
        postings=_postings(amounts),
        refs=(
            *(tipset_ref(key) for key in tipsets),
            Ref(RefKind.ROOT, closed.record.root.hex()),
            _vesting_ref(proving_period_start),
        ),
        memo=f"period {closed.period}, {len(closed.wins)} wins",
    )


def release_drafts(entries: Iterable[Entry], now: Epoch, final: TipSetKey) -> tuple[Draft, ...]:
    """What vesting has released since the last release: shares to payees, and the miner's own locked rewards.

    Everything is derived from the ledger: each accrual and award by its amount, epoch and vesting reference, less what
    the releases after it have moved already. Nothing is returned when nothing changes.
    """
    shares = _Release(EntryKind.ACCRUAL, EntryKind.RELEASE)
    rewards = _Release(EntryKind.AWARD, EntryKind.VESTING)
    for entry in entries:
        shares.take(entry)
        rewards.take(entry)
    drafts = []
    moved = shares.moved(now)
    if moved:
        postings: defaultdict[Account, int] = defaultdict(int)
        for account, amount in moved.items():
            payee = payee_of(account)
            assert payee is not None
            postings[accrued(payee)] += amount
            postings[payable(payee)] -= amount
        drafts.append(
            Draft(
                key=f"release:{now}:{shares.last_sequence}",
                kind=EntryKind.RELEASE,
                epoch=now,
                postings=_postings(postings),
                refs=tuple(Ref(RefKind.ENTRY, key) for key in shares.origins(now)),
                memo="vesting released these shares",
            )
        )
    unlocked = sum(rewards.moved(now).values())
    if unlocked:
        drafts.append(
            Draft(
                key=f"vesting:{now}:{rewards.last_sequence}",
                kind=EntryKind.VESTING,
                epoch=now,
                postings=_postings({MINER_AVAILABLE: unlocked, MINER_LOCKED: -unlocked}),
                refs=(tipset_ref(final),),
                memo="rewards of the miner that vesting released",
            )
        )
    return tuple(drafts)


class _Release:
    """What entries of kind `source` have brought to accounts, and what entries of kind `release` have moved on.

    The two are compared as sums, so that a release is exact whatever was booked before it: a source that came late, a
    final tipset that went back, a release that was cut off.
    """

    def __init__(self, source: EntryKind, release: EntryKind) -> None:
        self.source = source
        self.release = release
        self.sources: list[tuple[Entry, Epoch]] = []
        self.released: defaultdict[Account, int] = defaultdict(int)
        self.last_release = (0, Epoch(-1))  # sequence, epoch
        self.last_sequence = 0

    def take(self, entry: Entry) -> None:
        if entry.draft.kind is self.source:
            self.sources.append((entry, _vesting_start(entry.draft)))
            self.last_sequence = entry.sequence
        elif entry.draft.kind is self.release:
            self.last_release = (entry.sequence, entry.draft.epoch)
            for posting in entry.draft.postings:
                if posting.account == MINER_LOCKED:
                    self.released[posting.account] -= posting.amount.value
                elif posting.account.startswith("accrued:"):
                    self.released[posting.account] += posting.amount.value

    def moved(self, now: Epoch) -> dict[Account, int]:
        due: defaultdict[Account, int] = defaultdict(int)
        for entry, start in self.sources:
            for account, amount in self._parts(entry.draft):
                due[account] += _released(amount, entry.draft.epoch, now, start, self.source)
        open_ = {account: total - self.released[account] for account, total in due.items()}
        return {account: amount for account, amount in open_.items() if amount > 0}

    def origins(self, now: Epoch) -> list[str]:
        """The keys of the sources of which something is new since the last release."""
        sequence, epoch = self.last_release
        keys = []
        for entry, start in self.sources:
            at = entry.draft.epoch
            for _, amount in self._parts(entry.draft):
                before = 0
                if entry.sequence < sequence:
                    before = _released(amount, at, epoch, start, self.source)
                if _released(amount, at, now, start, self.source) > before:
                    keys.append(entry.draft.key)
                    break
        return keys or [entry.draft.key for entry, _ in self.sources]

    def _parts(self, draft: Draft) -> list[tuple[Account, int]]:
        if self.source is EntryKind.AWARD:
            credited = -sum(p.amount.value for p in draft.postings if p.account == PROVIDER)
            return [(MINER_LOCKED, credited)]
        return [(p.account, -p.amount.value) for p in draft.postings if p.account != PROVIDER]


def _released(amount: int, credited_at: Epoch, now: Epoch, start: Epoch, source: EntryKind) -> int:
    value = released(AttoFil(amount), credited_at, now, start).value
    if source is EntryKind.AWARD and now >= credited_at:
        value -= (
            amount - locked_part(AttoFil(amount)).value
        )  # the award entry made this available at once
    return value


def _vesting_ref(proving_period_start: Epoch) -> Ref:
    # Only its place in the day matters to the schedule, and it never changes, while the start itself moves every day.
    return Ref(RefKind.VESTING, str(proving_period_start % EPOCHS_PER_DAY))


def _vesting_start(draft: Draft) -> Epoch:
    for ref in draft.refs:
        if ref.kind is RefKind.VESTING:
            return Epoch(int(ref.value))
    raise LedgerError(f"entry {draft.key!r} does not say how it vests")


def _postings(amounts: dict[Account, int] | defaultdict[Account, int]) -> tuple[Posting, ...]:
    return tuple(
        Posting(account, AttoFil(amount)) for account, amount in sorted(amounts.items()) if amount
    )
