"""The blocks of miners and of their power, as an independent reader finds them, are what the typed reads say."""

from __future__ import annotations

from typing import Any

import pytest

from devstack.chain import Network
from devstack.chain.deadline_states import SECTORS, ExpirationSet
from lotus_client import cbor
from lotus_client.address import Address
from lotus_client.state import SectorOnChainInfo
from lotus_client.types import AttoFil, SectorNumber
from lotus_client.varint import decode_uvarint
from tests.unit.devstack.chain_story import DAY, PROVIDER
from tests.unit.devstack.state_reader import Reader, busy_network
from tests.walker import bits, number, read, read_amt, read_hamt


@pytest.fixture(scope="module")
def network() -> Network:
    return busy_network()


@pytest.fixture(scope="module")
def reader(network: Network) -> Reader:
    return Reader(network, network.head.blocks[0].parent_state_root)


def test_power_claims_and_the_miners_cron(network: Network, reader: Reader) -> None:
    state, view = reader.state(4), network.state()
    claims = reader.by_address(state[15])
    assert {one: (number(raw), number(qap)) for one, (_, raw, qap) in claims.items()} == {
        miner: (view.miner_power(miner).miner.raw, view.miner_power(miner).miner.qap)
        for miner in view.miners()
    }
    assert {proof for proof, _, _ in claims.values()} == {network.config.window_post_proof}
    assert sum(number(raw) for _, raw, _ in claims.values()) == number(state[0]) == number(state[1])
    powerful = [miner for miner in view.miners() if view.miner_power(miner).has_min_power]
    assert (state[9], state[10]) == (2, len(powerful))
    assert (
        state[14] == network.head.height
    )  # the next epoch that cron looks at, in the parent's state
    queue = read_hamt(reader.get, state[13], bit_width=6)
    miners = []
    for key, events in queue.items():
        epoch = decode_uvarint(key)[0] >> 1
        assert epoch >= network.head.height
        for miner, payload in read_amt(reader.get, events).values():
            assert payload == b"\x81\x01"
            miners.append(Address.from_bytes(miner))
    assert sorted(miners) == view.miners()


@pytest.mark.parametrize("miner", [Address.of_id(1000), PROVIDER])
def test_sectors_and_where_they_are_proven(
    network: Network, reader: Reader, miner: Address
) -> None:
    view, state = network.state(), reader.state(miner.actor_id)
    sectors = read_amt(reader.get, state[9])
    expected = view.sectors(miner)
    assert sectors.keys() == expected.keys()
    for key, value in sectors.items():
        assert _sector_of(value) == expected[SectorNumber(key)]
    assert bits(read(reader.get, state[8])) >= sectors.keys()
    faults: set[int] = set()
    for index, deadline in enumerate(reader.deadlines(miner.actor_id)):
        partitions = read_amt(reader.get, deadline[0])
        assert deadline[5] == sum(len(bits(one[0])) for one in partitions.values())
        for at, partition in partitions.items():
            for sector in bits(partition[0]):
                place = view.sector_place(miner, SectorNumber(sector))
                assert place is not None
                assert (place.deadline, place.partition) == (index, at)
            faults |= bits(partition[2])
    assert faults == view.faults(miner)


def _sector_of(value: Any) -> SectorOnChainInfo:
    assert len(value) == 16
    assert (value[3], value[9], value[10], value[12]) == ([], None, None, None)
    return SectorOnChainInfo(
        number=value[0], seal_proof=value[1], sealed_cid=value[2], activation=value[4],
        expiration=value[5], deal_weight=number(value[6]), verified_deal_weight=number(value[7]),
        initial_pledge=AttoFil(number(value[8])), power_base_epoch=value[11],
        sector_key_cid=value[13], flags=value[14], daily_fee=AttoFil(number(value[15])),
    )  # fmt: skip


def test_each_live_sector_ends_once_and_powers_add_up(network: Network, reader: Reader) -> None:
    faulty_seen = False
    for miner in (1000, 1001):
        sectors = {
            key: _sector_of(value)
            for key, value in read_amt(reader.get, reader.state(miner)[9]).items()
        }
        period_start = reader.state(miner)[10]
        for index, deadline in enumerate(reader.deadlines(miner)):
            due = {epoch: bits(some) for epoch, some in read_amt(reader.get, deadline[1]).items()}
            live_power = live = fee = 0
            for at, partition in read_amt(reader.get, deadline[0]).items():
                alive = bits(partition[0]) - bits(partition[4])
                faults = bits(partition[2])
                ending: list[int] = []
                active = faulty = 0
                for epoch, entry in read_amt(reader.get, partition[5]).items():
                    on_time, early, pledge, active_power, faulty_power, deducted = entry
                    assert at in due[epoch]
                    # quantized to the last epoch of a window of this deadline
                    assert (epoch - period_start + 1) % DAY == (index + 1) * 60 % DAY
                    assert all(sectors[one].expiration <= epoch for one in bits(on_time))
                    ending += [*bits(on_time), *bits(early)]
                    pledged = sum(sectors[one].initial_pledge.value for one in bits(on_time))
                    assert number(pledge) == pledged
                    both = bits(on_time) | bits(early)
                    assert number(deducted) == sum(sectors[one].daily_fee.value for one in both)
                    assert bits(early) <= faults
                    active += number(active_power[1])
                    faulty += number(faulty_power[1])
                    faulty_seen |= bool(bits(early))
                assert sorted(ending) == sorted(alive)
                assert read_amt(reader.get, partition[6]) == {}
                assert active + faulty == number(partition[7][1])
                assert faulty == number(partition[9][1])
                live_power += number(partition[7][1])
                live += len(alive)
                fee += sum(sectors[one].daily_fee.value for one in alive)
            assert (deadline[4], number(deadline[11][1]), number(deadline[12])) == (
                live,
                live_power,
                fee,
            )
    assert faulty_seen


def test_proofs_of_the_last_window_can_be_disputed(reader: Reader) -> None:
    snapshots = [
        read_amt(reader.get, deadline[10])
        for deadline in reader.deadlines(1000)
        if read_amt(reader.get, deadline[10])
    ]
    assert len(snapshots) >= 40
    partitions, proofs = snapshots[0][0]
    assert bits(partitions)
    ((kind, proof),) = proofs
    assert kind in range(5, 15)
    assert proof


def test_a_pre_commit_is_in_its_map_and_in_the_clean_up_queue(
    network: Network, reader: Reader
) -> None:
    state = reader.state(1001)
    ((key, (info, deposit, epoch)),) = reader.by_number(state[6]).items()
    assert (key, info[1], info[4]) == (11, 11, [])
    assert number(deposit) == number(state[1])
    assert epoch == network.state().precommit_epoch(PROVIDER, SectorNumber(11))
    queued = {due: bits(some) for due, some in read_amt(reader.get, state[7]).items()}
    assert 11 in set().union(*queued.values())
    assert all((due - state[10]) % 60 == 0 for due in queued)


def test_locked_funds_are_the_vesting_table(network: Network, reader: Reader) -> None:
    head, tail = reader.state(1000)[3]
    (rest,) = read(reader.get, tail)
    steps = [(epoch, number(amount)) for epoch, amount in (head, *rest)]
    view = network.state()
    assert steps == [(epoch, amount.value) for epoch, amount in view.vesting(Address.of_id(1000))]
    assert sum(amount for _, amount in steps) == number(reader.state(1000)[2])


def test_the_info_block_names_the_keys(network: Network, reader: Reader) -> None:
    info = read(reader.get, reader.state(1001)[0])
    expected = network.state().miner_info(PROVIDER)
    assert len(info) == 14
    assert Address.from_bytes(info[0]) == expected.owner
    assert Address.from_bytes(info[1]) == expected.worker
    assert (info[2], info[3], info[4], info[5]) == ([], None, b"", [])
    assert info[6:10] == [expected.window_post_proof_type, expected.sector_size, 2, -1]
    assert Address.from_bytes(info[11]) == expected.beneficiary.address
    assert (info[10], info[12], info[13]) == (None, [b"", b"", 0], None)


def test_a_sector_is_encoded_as_builtin_actors_test_expects() -> None:
    golden = (
        "900108d82a49000182e20392200100800203420004420005490053444835ec580000"
        "f6f609f6f600490098a7d9b8314c0000"
    )
    sector = _sector_of(cbor.decode(bytes.fromhex(golden)))
    assert sector.initial_pledge == AttoFil(6 * 10**18)
    assert SECTORS.value(sector).hex() == golden


@pytest.mark.parametrize(
    ("entry", "golden"),
    [
        (
            ExpirationSet(frozenset(), frozenset(), 0, (0, 0), (0, 0), 0),
            "8640404082404082404040",
        ),
        (
            ExpirationSet(frozenset({0}), frozenset({1}), 2 * 10**18, (3, 4), (5, 6), 7 * 10**18),
            "86410c411849001bc16d674ec80000824200034200048242000542000649006124fee993bc0000",
        ),
    ],
)
def test_an_expiration_set_is_encoded_as_builtin_actors_test_expects(
    entry: ExpirationSet, golden: str
) -> None:
    assert entry.encoded().hex() == golden
