"""Who is woken when something may have happened."""

from __future__ import annotations

from sp_plugin.jobs.signals import Call, Signal


def test_a_signal_wakes_everybody_and_a_call_the_one_who_waited_longest():
    signal, call = Signal(), Call()
    all_, ones = [signal.moment() for _ in range(3)], [call.moment() for _ in range(3)]
    signal.give()
    call.give()
    assert [event.is_set() for event in all_] == [True] * 3
    assert [event.is_set() for event in ones] == [True, False, False]
    call.give()
    assert [event.is_set() for event in ones] == [True, True, False]


def test_who_is_busy_is_passed_by():
    call = Call()
    busy, idle = call.moment(), call.moment()
    call.forget(busy)
    call.give()
    assert (busy.is_set(), idle.is_set()) == (False, True)
    call.forget(idle)
    call.give()  # nobody is there, and whoever comes looks first
    assert not call.moment().is_set()
