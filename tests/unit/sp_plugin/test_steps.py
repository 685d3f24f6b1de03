"""What is written down when a step fails: the node's words, and a traceback only for what may be a fault of ours."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from structlog.testing import capture_logs

from lotus_client.errors import LotusConnectError, LotusDecodeError, LotusLookbackRefused
from sp_plugin.health import Health
from sp_plugin.steps import Step, Steps


@pytest.mark.parametrize(
    ("error", "traced"),
    [
        (LotusLookbackRefused("StateGetActor", 1, "lookbacks of more than 24h0m0s"), False),
        (LotusConnectError("refused"), False),
        (LotusDecodeError("Height", "not a number"), True),
        (ZeroDivisionError("ours"), True),
    ],
)
async def test_a_refusing_node_is_told_in_a_line_and_a_bug_with_its_traceback(error, traced):
    async def fail() -> bool:
        raise error

    steps = Steps((Step("earn", 60, fail),), Health(("earn",), datetime.now(UTC)))
    with capture_logs() as logs:
        await steps.run_once("earn")
    (line,) = [entry for entry in logs if entry["event"] == "step_failed"]
    assert line["exc_info"] is traced
    assert str(error) in line["error"]


async def test_a_step_wanted_soon_by_many_runs_once_and_again_when_wanted_later():
    rounds = []

    async def trace() -> bool:
        rounds.append(1)
        return False

    steps = Steps((Step("trace", 60, trace),), Health(("trace",), datetime.now(UTC)))
    for _ in range(2):
        for _ in range(100):
            steps.wake_within("trace", 0.01)
        await asyncio.sleep(0.05)
    assert len(rounds) == 2
