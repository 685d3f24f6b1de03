"""The call with which a miner asks f04 for its next deadline's cron."""

from __future__ import annotations

from typing import Final

from devstack.chain.machine import Runtime
from lotus_client import cbor
from lotus_client.actors.methods import POWER, PowerMethod

__all__ = ["DEADLINE_PAYLOAD", "enroll_deadline_cron"]

DEADLINE_PAYLOAD: Final = cbor.encode([1])  # builtin-actors actors/miner: 1 is the proving deadline


def enroll_deadline_cron(runtime: Runtime, epoch: int) -> None:
    """Have method 12 called at the end of `epoch`."""
    params = cbor.encode([epoch, DEADLINE_PAYLOAD])
    runtime.must_send(POWER, PowerMethod.ENROLL_CRON_EVENT, params)
