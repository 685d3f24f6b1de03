"""Epochs of a closed period that were unknown, and later known."""

from deals.gaps import Gap, GapKind
from lotus_client.types import Epoch
from sp_plugin.earnings.gap_names import gap_name, is_of_a_gap, still_unknown

GAP = Gap(Epoch(10), Epoch(30), GapKind.CHAIN, "pruned: gone")
TEXT = f"{gap_name(GAP)}: chain_gap: pruned: gone"
WIN = "bafy2bzacea: credited_unknown: no trace"


def test_a_gap_is_named_by_its_first_and_last_epoch() -> None:
    assert gap_name(GAP) == "gap 10-29"
    assert is_of_a_gap(TEXT)
    assert not is_of_a_gap(WIN)


def test_a_gap_stays_in_a_statement_as_long_as_any_of_it_is_unread() -> None:
    assert still_unknown([TEXT, WIN], [GAP]) == [TEXT, WIN]
    rest = Gap(Epoch(29), Epoch(90), GapKind.CHAIN, "pruned")
    assert still_unknown([TEXT], [rest]) == [TEXT]


def test_a_gap_that_was_filled_is_no_longer_told_and_a_win_still_is() -> None:
    beyond = Gap(Epoch(30), Epoch(90), GapKind.CHAIN, "pruned")
    only_events = Gap(Epoch(10), Epoch(30), GapKind.EVENTS, "off")
    assert still_unknown([TEXT, WIN], [beyond, only_events]) == [WIN]
