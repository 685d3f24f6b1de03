"""What the probe concludes of nodes of several kinds, and by which source the final tipset is read."""

from __future__ import annotations

from typing import Any

import pytest

from lotus_client import codec
from lotus_client.client import LotusClient
from lotus_client.errors import LotusConnectError, LotusNotSupported, LotusStatePruned
from lotus_client.node import Agent, FinalitySource
from lotus_client.probe import USED_METHODS
from lotus_client.secrets import Secret
from tests.unit.lotus_client.chain_data import load
from tests.unit.lotus_client.test_client import FakeTransport, a_node
from tests.unit.lotus_client.test_codec import CID, RECEIPT

TIPSET = load("tipset_mainnet.json")
FULL = dict.fromkeys(USED_METHODS)


def full_node(**other: Any) -> FakeTransport:
    return a_node(**{**FULL, "ChainGetFinalizedTipSet": TIPSET, "ChainGetTipSet": TIPSET, **other})


def without(*names: str, **other: Any) -> FakeTransport:
    node = full_node(**other)
    for name in names:
        del node.answers[name]
    return node


def version(text: str, agent: str | None = None) -> dict[str, Any]:
    return {"Version": text, "APIVersion": 131840, "BlockDelay": 30, "Agent": agent}


GATEWAY = ("StateMinerActiveSectors", "StateMinerAvailableBalance", "AuthVerify")


@pytest.mark.parametrize(
    ("node", "agent"),
    [
        (full_node(Version=version("1.36.2+mainnet+git.5abb9ea", "lotus")), Agent.LOTUS),
        (full_node(Version=version("1.32.2+mainnet+git.5abb9ea")), Agent.LOTUS),
        (full_node(Version=version("forest-0.32.0+git.72c2f2f")), Agent.FOREST),
        (full_node(Version=version("0.32.0", "Forest")), Agent.FOREST),
        (full_node(Version=version("1.27.0", "curio")), Agent.CURIO),
        (full_node(Version=version("9.9", "venus")), Agent.UNKNOWN),
        (without(*GATEWAY, Version=version("1.36.2+mainnet", "lotus")), Agent.GATEWAY),
    ],
)
async def test_the_software_is_known_by_its_version_or_by_what_it_lacks(
    node: FakeTransport, agent: Agent
) -> None:
    assert (await LotusClient(node).probe()).agent is agent


async def test_missing_methods_are_found_without_making_a_call_that_could_do_anything() -> None:
    node = without("StateCompute", "MpoolPush")
    found = await LotusClient(node).probe()
    assert set(found.missing_methods) == {"StateCompute", "MpoolPush"}
    assert not found.may_push
    pushed = [params for method, params in node.calls if method == "Filecoin.MpoolPush"]
    assert all(params == [None] * 24 for params in pushed)


async def test_a_gateway_takes_pushes_without_a_token_and_a_full_node_does_not() -> None:
    assert (await LotusClient(without(*GATEWAY)).probe()).may_push
    assert not (await LotusClient(full_node()).probe()).may_push


async def test_a_gateways_lack_of_tokens_is_no_error() -> None:
    found = await LotusClient(without(*GATEWAY), token=Secret("no-jwt")).probe()
    assert found.permissions == ("read",)


def refuses(error: Exception) -> Any:
    def refuse(*_: Any) -> Any:
        raise error

    return refuse


@pytest.mark.parametrize(
    ("events", "receipts", "expected"),
    [
        ([], [{**RECEIPT, "EventsRoot": {"/": CID}}], True),
        (refuses(LotusStatePruned("m", 1, "block not found")), [{**RECEIPT, "EventsRoot": {"/": CID}}], False),
        (refuses(LotusNotSupported("m", -32601, "")), [{**RECEIPT, "EventsRoot": {"/": CID}}], False),
        ([], [{**RECEIPT, "EventsRoot": None}], None),
        ([], None, None),
    ],
)  # fmt: skip
async def test_events_of_receipts_are_looked_for_near_the_head(
    events: Any, receipts: Any, expected: bool | None
) -> None:
    node = full_node(ChainGetEvents=events, ChainGetParentReceipts=receipts)
    assert (await LotusClient(node).probe()).has_receipt_events is expected


async def test_the_final_tipset_is_read_from_v2_where_it_is_served() -> None:
    node = a_node(**{"v2/Filecoin.ChainGetTipSet": TIPSET})
    client = LotusClient(node, has_v2=True)
    assert (await client.probe()).finality is FinalitySource.RPC_V2
    await client.finalized_tipset()
    assert node.calls[-1] == ("v2/Filecoin.ChainGetTipSet", [{"tag": "finalized"}])


async def test_without_v2_v1_is_asked_and_v2_not_again() -> None:
    node = a_node()
    client = LotusClient(node, has_v2=True)
    await client.finalized_tipset()
    await client.finalized_tipset()
    assert [method for method, _ in node.calls] == [
        "v2/Filecoin.ChainGetTipSet",
        "Filecoin.ChainGetFinalizedTipSet",
        "Filecoin.ChainGetFinalizedTipSet",
    ]


async def test_without_both_what_lies_900_epochs_below_the_head_is_final() -> None:
    node = FakeTransport({"ChainHead": TIPSET, "ChainGetTipSetByHeight": TIPSET})
    client = LotusClient(node, has_v2=True)
    assert (await client.finalized_tipset()).height == TIPSET["Height"]
    key = codec.tipset_key_to_json(codec.tipset_from_json(TIPSET).key)
    assert node.calls[-1] == ("Filecoin.ChainGetTipSetByHeight", [TIPSET["Height"] - 900, key])


async def test_a_node_that_is_away_is_not_taken_for_one_without_v2() -> None:
    node = a_node(**{"v2/Filecoin.ChainGetTipSet": refuses(LotusConnectError("away"))})
    client = LotusClient(node, has_v2=True)
    with pytest.raises(LotusConnectError):
        await client.finalized_tipset()
    assert [method for method, _ in node.calls] == ["v2/Filecoin.ChainGetTipSet"]
