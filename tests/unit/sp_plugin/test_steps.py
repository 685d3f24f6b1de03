"""What is written down when a step fails: the node's words, and a traceback only for what may be a fault of ours."""

from __future__ import annotations

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
