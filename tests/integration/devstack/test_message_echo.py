"""What a node gives back of a message it was given, where clients depend on it."""

from __future__ import annotations

import pytest

from devstack.stack import Devstack
from tests.integration.devstack.conftest import RawRpc


@pytest.mark.parametrize(("sent", "expected"), [("", ""), (None, None), ("gA==", "gA==")])
async def test_gas_estimation_tells_empty_params_from_none_as_go_does(
    devnet: Devstack, rpc: RawRpc, sent: str | None, expected: str | None
) -> None:
    """Glif's client refuses null where it had sent an empty string."""
    alice = str(devnet.network.key("alice").address)
    message = {"To": "t06", "From": alice, "Value": "0", "Method": 0, "Params": sent}
    estimated = await rpc("GasEstimateMessageGas", message, None, None)
    assert estimated["Params"] == expected
    assert estimated["GasLimit"] > 0
