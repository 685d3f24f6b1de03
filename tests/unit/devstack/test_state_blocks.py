"""The state as an independent reader finds it, block by block from a header's state root, is what the typed reads say."""

from __future__ import annotations

from typing import Any

import pytest

from devstack.chain import Network, NetworkConfig
from devstack.chain.actors.reward import initial
from devstack.chain.code_cids import CODE_CIDS, MANIFEST
from devstack.chain.deadline_states import SECTORS, ExpirationSet
from lotus_client import cbor
from lotus_client.actors.datacap import INFINITE_ALLOWANCE
from lotus_client.actors.methods import VERIFIED_REGISTRY, MultisigMethod, VerifregMethod
from lotus_client.actors.multisig import ProposeParams
from lotus_client.actors.verifreg import DatacapParams
from lotus_client.address import Address
from lotus_client.chain import BlockHeader, TipSet
from lotus_client.cid import Cid
from lotus_client.messages import SignedMessage
from lotus_client.state import Allocation, Claim, SectorOnChainInfo
from lotus_client.types import AttoFil, Epoch, SectorNumber
from lotus_client.varint import decode_uvarint
from tests.unit.devstack.chain_story import DAY, MIB, PROVIDER, Story, piece_cid
from tests.walker import bits, number, read, read_amt, read_hamt

ROOT = Address.of_id(80)


class Reader:
    """Actors and maps of one state root."""

    def __init__(self, network: Network, root: Cid) -> None:
        self._network = network
        version, actors, info = read(self.get, root)
        assert version == 5
        assert read(self.get, info) == []
        self.actors = {
            Address.from_bytes(key).actor_id: record
            for key, record in read_hamt(self.get, actors).items()
        }

    def get(self, cid: bytes) -> bytes:
        block = self._network.blocks.get(Cid(cid))
        assert block is not None, Cid(cid)
        return block

    def state(self, actor_id: int) -> Any:
        return read(self.get, self.actors[actor_id][1])

    def by_number(self, root: Cid) -> dict[int, Any]:
        return {decode_uvarint(key)[0]: value for key, value in read_hamt(self.get, root).items()}

    def by_address(self, root: Cid, bit_width: int = 5) -> dict[Address, Any]:
        found = read_hamt(self.get, root, bit_width)
        return {Address.from_bytes(key): value for key, value in found.items()}

    def deadlines(self, miner: int) -> list[list[Any]]:
        (due,) = read(self.get, self.state(miner)[12])
        return [read(self.get, cid) for cid in due]


@pytest.fixture(scope="module")
def network() -> Network:
    """A day with verified data, waiting allocations, a pending proposal, faults, and a pre-commit to be proven."""
    network = Network(
        NetworkConfig(root_signers=("root-1", "root-2"), root_threshold=2, genesis_sectors=300)
    )
    story = Story(network)
    add = DatacapParams(network.key("bob").address, 1 << 40).to_cbor()
    call = ProposeParams(VERIFIED_REGISTRY, AttoFil(0), VerifregMethod.ADD_VERIFIER, add)
    story.ok("root-1", ROOT, MultisigMethod.PROPOSE, call.to_cbor())
    approval = cbor.encode([0, b""])
    story.ok("root-2", ROOT, MultisigMethod.APPROVE, approval)
    for waiting in (5, 6):
        call = ProposeParams(Address.of_id(100), AttoFil(waiting), 0, b"")
        story.ok("root-1", ROOT, MultisigMethod.PROPOSE, call.to_cbor())
    for client in ("alice", "root-1"):
        assert story.grant("bob", client, 64 * MIB).receipt.exit_code == 0
    for client, count in (("alice", 5), ("root-1", 9)):
        requests = [story.request(piece_cid(100 + one), MIB) for one in range(count)]
        assert story.allocate(client, *requests).receipt.exit_code == 0
    story.verified_sector(7, piece_cid(1), 8 * MIB)
    story.verified_sector(9, piece_cid(2), 4 * MIB)
    network.prove_automatically(PROVIDER)
    story.until(lambda view: view.miner_power(PROVIDER).miner.raw == 16 * MIB, 2 * DAY)
    network.prove_automatically(PROVIDER, enabled=False)
    story.until(lambda view: view.faults(PROVIDER))
    assert story.pre_commit(11, [(piece_cid(3), MIB)]).receipt.exit_code == 0
    network.advance(2)
    story.sound()
    return network


@pytest.fixture(scope="module")
def reader(network: Network) -> Reader:
    return Reader(network, network.head.blocks[0].parent_state_root)


def test_every_actor_record_is_what_state_get_actor_says(network: Network, reader: Reader) -> None:
    view = network.state()
    assert len(reader.actors) == len(view.tree.actors) > 20
    for actor_id, (code, head, nonce, balance, delegated) in reader.actors.items():
        record = view.actor(Address.of_id(actor_id))
        assert (code, head, nonce) == (record.code, record.head, record.nonce)
        assert number(balance) == record.balance.value
        assert delegated is None
        read(reader.get, head)


def test_the_address_map_leads_to_the_ids(network: Network, reader: Reader) -> None:
    addresses, next_id, name = reader.state(1)
    assert (next_id, name) == (1002, "devstack")
    found = reader.by_address(addresses)
    assert found[network.key("alice").address] == network.state().actor_id(
        network.key("alice").address
    )
    assert {address: network.state().actor_id(address) for address in found} == found


def test_the_system_actor_names_the_code_of_the_manifest(reader: Reader) -> None:
    (data,) = reader.state(0)
    assert dict(read(reader.get, data)) == CODE_CIDS  # type: ignore[arg-type]
    assert read(reader.get, MANIFEST.cid) == [1, data]
    # Lotus build/builtin_actors_gen.go: the v18.0.0 bundle for 2k networks
    expected = "bafy2bzaced35gjxagazf2fne5dakbok5abmivsh7cq7huwfuptebgwjmcpcf6"
    assert str(MANIFEST.cid) == expected


def test_allocations_and_claims_are_grouped_by_owner(network: Network, reader: Reader) -> None:
    _root, _verifiers, _proposals, allocations, next_id, claims = reader.state(6)
    view = network.state()
    assert next_id == 17
    read_allocations = {
        one: Allocation(one, *value)  # type: ignore[arg-type]
        for inner in reader.by_number(allocations).values()
        for one, value in reader.by_number(inner).items()
    }
    assert read_allocations == dict(view.all_allocations())
    assert len(read_allocations) == 14
    by_client = reader.by_number(allocations)
    for client in ("alice", "root-1"):
        key = network.key(client).address
        owner = view.actor_id(key)
        assert owner is not None
        assert reader.by_number(by_client[owner]).keys() == view.allocations(key).keys()
    (inner,) = reader.by_number(claims).values()
    read_claims = {one: Claim(one, *value) for one, value in reader.by_number(inner).items()}  # type: ignore[arg-type]
    assert read_claims == dict(view.claims(PROVIDER)) == dict(view.all_claims())
    assert len(read_claims) == 2


def test_verifiers_and_datacap_are_in_their_own_units(network: Network, reader: Reader) -> None:
    view = network.state()
    verifiers = reader.by_address(reader.state(6)[1])
    bob = network.key("bob").address
    owner = view.actor_id(bob)
    assert owner is not None
    assert {one: number(cap) for one, cap in verifiers.items()} == {
        Address.of_id(owner): view.verifier_datacap(bob)
    }
    governor, (supply, balances, allowances, width) = reader.state(7)
    assert (Address.from_bytes(governor), width) == (VERIFIED_REGISTRY, 5)
    held = {one: number(tokens) for one, tokens in reader.by_number(balances).items()}
    assert sum(held.values()) == number(supply)
    assert held == {one: (view.datacap(Address.of_id(one)) or 0) * 10**18 for one in (*held, 6)}
    assert held[6] == 14 * MIB * 10**18
    clients = {view.actor_id(network.key(name).address) for name in ("alice", "root-1")}
    allowed = reader.by_number(allowances)  # what a grant lets f05 spend
    assert allowed.keys() == clients
    for operators in allowed.values():
        spendable = reader.by_number(operators)
        assert {one: number(tokens) for one, tokens in spendable.items()} == {5: INFINITE_ALLOWANCE}


def test_pending_proposals_have_signed_varint_keys(reader: Reader) -> None:
    signers, threshold, next_txn, locked, start, duration, pending = reader.state(80)
    assert (len(signers), threshold, next_txn) == (2, 2, 3)
    assert (locked, start, duration) == (b"", 0, 0)
    found = read_hamt(reader.get, pending)
    assert found.keys() == {b"\x02", b"\x04"}  # 1 and 2, zigzag
    to, value, method, params, approved = found[b"\x04"]
    assert (Address.from_bytes(to), number(value), method, params) == (
        Address.of_id(100),
        6,
        0,
        b"",
    )
    assert approved == signers[:1]


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


def test_the_market_is_empty_and_its_cron_has_run(network: Network, reader: Reader) -> None:
    state = reader.state(5)
    assert [read_amt(reader.get, root) for root in state[:2]] == [{}, {}]
    assert [read(reader.get, root)[0] for root in state[:2]] == [5, 6]
    for root in (*state[2:5], state[6], *state[11:]):
        assert read_hamt(reader.get, root) == {}
    assert state[7] == network.head.height - 1


def test_past_states_stay_readable_block_by_block(network: Network) -> None:
    early = Reader(network, network.tipset_by_height(Epoch(3)).blocks[0].parent_state_root)
    assert read_hamt(early.get, early.state(6)[3]) == {}
    assert number(early.state(1000)[2]) < number(
        Reader(network, network.head.blocks[0].parent_state_root).state(1000)[2]
    )


def test_the_blocks_of_a_tipset_lead_to_messages_receipts_and_events(network: Network) -> None:
    found = next(
        tipset
        for height in range(network.head.height)
        if network.messages_in_tipset((tipset := network.tipset_by_height(Epoch(height))).key)
        and any(
            one.events_root for one in network.parent_receipts(_block_of(_child(network, tipset)))
        )
    )
    reader = Reader(network, found.blocks[0].parent_state_root)
    raw = reader.get(_block_of(found).raw)
    header = BlockHeader.from_cbor(raw)
    assert header == found.blocks[0]
    bls, secp = read(reader.get, header.messages)
    assert _list(reader, bls) == []
    messages = [SignedMessage.from_cbor(reader.get(cid.raw)) for cid in _list(reader, secp)]
    assert messages == list(network.messages_in_block(_block_of(found)))
    child = _child(network, found)
    receipts = _list(reader, child.blocks[0].parent_message_receipts)
    for written, receipt in zip(receipts, network.parent_receipts(_block_of(child)), strict=True):
        assert written == [
            receipt.exit_code, receipt.return_, receipt.gas_used, receipt.events_root
        ]  # fmt: skip
        if receipt.events_root is not None:
            events = read_amt(reader.get, receipt.events_root)
            emitted = network.events_of_root(receipt.events_root)
            assert [event[0] for event in events.values()] == [one.emitter for one in emitted]


def _block_of(tipset: TipSet) -> Cid:
    return next(iter(tipset.key))


def _child(network: Network, tipset: TipSet) -> TipSet:
    return network.tipset_after_height(Epoch(tipset.height + 1))


def _list(reader: Reader, root: Cid) -> list[Any]:
    """A list of the first layout that fits one node, as those of this story do."""
    height, count, (_bitmap, links, values) = read(reader.get, root)
    assert (height, links, count) == (0, [], len(values))
    return list(values)


def test_a_cid_of_nothing_is_not_found(network: Network) -> None:
    assert network.blocks.get(Cid.parse(str(MANIFEST.cid)[:-8] + "aaaaaaaa")) is None
    assert network.blocks.get(piece_cid(1)) is None


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


def test_the_first_baseline_is_one_byte_below_its_initial_value_as_in_builtin_actors_test() -> None:
    assert initial(0).this_epoch_baseline_power == 2_888_888_880_000_000_000 - 1
    assert initial(0).effective_baseline_power == 2_888_888_880_000_000_000
    assert (initial(1 << 39).cumsum_realized, initial(1 << 39).effective_network_time) == (
        1 << 39,
        1,
    )
