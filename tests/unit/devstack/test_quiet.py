"""Quiet epochs give, byte for byte, the chain that calls between the actors give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from devstack.chain import Network, NetworkConfig, execution
from devstack.chain.config import ProviderSpec
from devstack.chain.machine import Environment
from devstack.chain.quiet import quiet_epoch
from devstack.chain.states import StateTree
from lotus_client.address import Address
from lotus_client.chain import BlockHeader
from lotus_client.types import AttoFil, Epoch

_DEADLINE = 60
_EPOCHS = 150  # two deadlines of every miner, whose cron is not quiet


def _chain(config: NetworkConfig) -> Network:
    network = Network(config)
    network.advance(_EPOCHS // 3)
    for _ in range(5):
        network.mine_epoch(null=True)
    network.send("alice", network.key("bob").address, value=AttoFil(5))
    network.advance(_EPOCHS)
    return network


def _headers(network: Network) -> list[bytes]:
    tipsets = [network.tipset_by_height(Epoch(at)) for at in range(network.epoch + 1)]
    return [header.to_cbor() for tipset in tipsets for header in tipset.blocks]


def _never(_tree: StateTree, _environment: Environment, _headers: Sequence[BlockHeader]) -> None:
    return None


@pytest.mark.parametrize(
    "config",
    [
        NetworkConfig(),
        NetworkConfig(nv29_epoch=Epoch(70)),
        NetworkConfig(seed=7, providers=(ProviderSpec("o", "w"), ProviderSpec("p", "x"))),
    ],
    ids=["version 28", "version 29 on the way", "two providers"],
)
def test_a_chain_of_quiet_epochs_is_byte_for_byte_the_one_that_calls_give(
    monkeypatch: pytest.MonkeyPatch, config: NetworkConfig
) -> None:
    quick = _chain(config)
    monkeypatch.setattr(execution, "quiet_epoch", _never)
    called = _chain(config)
    assert _headers(quick) == _headers(called)
    assert quick.pending_state().root == called.pending_state().root
    miner = quick.genesis_miner.actor_id
    for at in (2, 3, 4, 5, 99, miner):
        one, other = (net.pending_state().actor(Address.of_id(at)) for net in (quick, called))
        assert one == other


def test_most_epochs_are_quiet_and_those_of_a_deadlines_cron_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    quiet: list[bool] = []

    def noted(
        tree: StateTree, environment: Environment, headers: Sequence[BlockHeader]
    ) -> StateTree | None:
        after = quiet_epoch(tree, environment, headers)
        quiet.append(after is not None)
        return after

    monkeypatch.setattr(execution, "quiet_epoch", noted)
    Network(NetworkConfig()).advance(2 * _DEADLINE)
    assert 0 < quiet.count(False) < len(quiet) // 10


def test_traces_of_a_quiet_epoch_have_its_award_and_its_cron() -> None:
    network = Network(NetworkConfig())
    network.advance(3)
    done = network.execution()
    assert [run.message.method for run in done.invocations] == [2, 2]
    assert done.state_root == network.pending_state().root


def test_several_winners_of_an_epoch_are_paid_as_by_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network(NetworkConfig())
    network.advance(3)
    header = network.head.blocks[0]
    (provider,) = network.providers
    winners = [header, replace(header, miner=provider), header]
    environment = Environment(network.config, header.height, 28, _no_randomness)

    def after() -> StateTree:
        tree = network.state().tree  # before the head's own award
        blocks = [(one, ()) for one in winners]
        return execution.execute(tree, blocks, header.height - 1, lambda _: environment).tree

    quick = after()
    monkeypatch.setattr(execution, "quiet_epoch", _never)
    called = after()
    assert quick.root == called.root
    assert quick.actors[provider.actor_id].balance > network.state().actor(provider).balance.value


def _no_randomness(_domain: int, _epoch: int, _entropy: bytes) -> bytes:
    raise AssertionError("awards and cron draw nothing")
