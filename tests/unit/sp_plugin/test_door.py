"""The door for callers without a token."""

from __future__ import annotations

from contextlib import ExitStack, suppress

import pytest

from lotus_client.errors import LotusConnectError
from sp_plugin.errors import TooMany
from sp_plugin.http.door import Door


def fail(door: Door, remote: str | None, times: int) -> None:
    for _ in range(times):
        with suppress(ValueError), door.open(remote):
            raise ValueError


def is_open(door: Door, remote: str | None) -> bool:
    try:
        with door.open(remote):
            return True
    except TooMany:
        return False


def test_few_are_inside_at_a_time_fewer_of_one_address_and_leaving_makes_room():
    door = Door()
    with ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(door.open("10.0.0.1"))
        assert not is_open(door, "10.0.0.1")
        assert is_open(door, "10.0.0.2")
        for number in range(4):
            stack.enter_context(door.open(f"10.0.1.{number}"))
        with pytest.raises(TooMany, match="too many requests"), door.open("10.0.0.2"):
            pass
    assert is_open(door, "10.0.0.1")
    assert is_open(door, "10.0.0.2")


def test_an_address_that_failed_twenty_times_waits_a_minute_and_others_do_not():
    seconds = [100.0]
    door = Door(clock=lambda: seconds[0])
    fail(door, "10.0.0.1", 19)
    assert is_open(door, "10.0.0.1")
    fail(door, "10.0.0.1", 1)
    assert not is_open(door, "10.0.0.1")
    assert is_open(door, "10.0.0.2")
    seconds[0] += 60
    assert is_open(door, "10.0.0.1")
    fail(door, "10.0.0.1", 19)
    assert is_open(door, "10.0.0.1")


def test_neighbours_in_one_ipv6_network_are_one_caller():
    door = Door(clock=lambda: 0.0)
    for number in range(20):
        fail(door, f"2001:db8::{number:x}", 1)
    assert not is_open(door, "2001:db8::ffff")
    assert is_open(door, "2001:db8:0:1::1")


def test_what_is_remembered_is_bounded():
    door = Door(clock=lambda: 0.0)
    fail(door, None, 20)
    assert not is_open(door, None)
    for number in range(1024):
        fail(door, f"10.0.{number >> 8}.{number & 255}", 1)
    assert is_open(door, None)  # forgotten as the oldest


def test_a_node_that_is_away_is_no_failure_of_the_caller():
    door = Door(clock=lambda: 0.0)
    for _ in range(30):
        with suppress(LotusConnectError), door.open("10.0.0.1"):
            raise LotusConnectError("away")
    assert is_open(door, "10.0.0.1")
    for _ in range(20):
        door.note_idle("10.0.0.1")
    assert not is_open(door, "10.0.0.1")
