from __future__ import annotations

import pytest

from deals.commp import zero_commitment
from devstack.chain import FIL, EventFilter, Network, NetworkConfig
from devstack.chain.actors import policy, vesting
from devstack.chain.commd import CommDError, unsealed_cid
from devstack.chain.machine import Exit
from lotus_client import cbor
from lotus_client.actors.datacap import TransferParams
from lotus_client.actors.methods import (
    DATACAP,
    REWARD,
    VERIFIED_REGISTRY,
    DatacapMethod,
    InitMethod,
    MinerMethod,
    MultisigMethod,
    VerifregMethod,
)
from lotus_client.actors.miner import (
    SectorDeclaration,
    SectorDeclarations,
    WithdrawBalanceParams,
)
from lotus_client.actors.multisig import (
    ApproveReturn,
    ConstructorParams,
    ProposeParams,
    ProposeReturn,
    TxnIdParams,
)
from lotus_client.actors.system import AwardBlockRewardParams, CreatedActor, ExecParams
from lotus_client.actors.verifreg import (
    ClaimTerm,
    DatacapParams,
    ExtendClaimTermsParams,
    RemoveExpiredAllocationsReturn,
    RemoveExpiredParams,
)
from lotus_client.actors.wire import BatchReturn
from lotus_client.address import Address
from lotus_client.bitfield import BitField
from lotus_client.types import AttoFil, Epoch
from tests.unit.devstack.chain_story import DAY, MIB, PROVIDER, Story, piece_cid


@pytest.fixture
def story() -> Story:
    return Story(Network())


# Fil+ ---------------------------------------------------------------------------------------------------------------


def test_only_the_root_adds_verifiers_and_the_inner_failure_shows_in_the_return(
    story: Story,
) -> None:
    assert story.add_verifier("bob", 1 << 40).exit_code == 0
    grant = DatacapParams(story.network.key("alice").address, 1 << 40).to_cbor()
    outsider = story.run("alice", VERIFIED_REGISTRY, VerifregMethod.ADD_VERIFIER, grant)
    assert outsider.receipt.exit_code == Exit.FORBIDDEN
    too_little = story.add_verifier("alice", 1)
    assert (too_little.applied, too_little.exit_code) == (True, Exit.ILLEGAL_ARGUMENT)


def test_a_two_of_two_root_needs_both_signers() -> None:
    story = Story(Network(NetworkConfig(root_signers=("root-1", "root-2"), root_threshold=2)))
    proposed = story.add_verifier("bob", 1 << 40)
    assert not proposed.applied
    assert story.network.state().verifier_datacap(story.network.key("bob").address) is None
    again = story.run("root-1", Address.of_id(80), MultisigMethod.APPROVE, TxnIdParams(0).to_cbor())
    assert again.receipt.exit_code == Exit.FORBIDDEN
    found = story.ok("root-2", Address.of_id(80), MultisigMethod.APPROVE, TxnIdParams(0).to_cbor())
    assert ApproveReturn.from_cbor(found.receipt.return_) == ApproveReturn(True, 0, b"")
    bob = story.network.key("bob").address
    assert story.network.pending_state().verifier_datacap(bob) == 1 << 40


def test_a_verifier_grants_no_more_than_it_has(story: Story) -> None:
    assert story.grant("bob", "alice", MIB).receipt.exit_code == Exit.NOT_FOUND
    story.add_verifier("bob", 2 * MIB)
    assert story.grant("bob", "alice", 3 * MIB).receipt.exit_code == Exit.ILLEGAL_ARGUMENT
    assert story.grant("bob", "alice", 2 * MIB).receipt.exit_code == 0
    view = story.network.pending_state()
    assert view.verifier_datacap(story.network.key("bob").address) == 0
    assert view.datacap(story.network.key("alice").address) == 2 * MIB
    story.sound()


@pytest.mark.parametrize(
    "changes",
    [
        {"provider": 100},
        {"term_min": 179 * DAY},
        {"term_max": 5 * 365 * DAY + 1},
        {"expiration": 10**9},
        {"term_min": 541 * DAY},
    ],
)
def test_a_bad_allocation_request_fails_the_transfer_with_its_code(
    story: Story, changes: dict[str, int]
) -> None:
    story.client_with_datacap()
    found = story.allocate("alice", story.request(piece_cid(1), MIB, **changes))
    assert found.receipt.exit_code == Exit.ILLEGAL_ARGUMENT
    assert story.network.pending_state().datacap(story.network.key("alice").address) == 64 * MIB
    assert story.network.pending_state().all_allocations() == {}


def test_datacap_moves_only_to_and_from_the_registry(story: Story) -> None:
    story.client_with_datacap()
    transfer = TransferParams(story.network.key("bob").address, MIB * 10**18).to_cbor()
    found = story.run("alice", DATACAP, DatacapMethod.TRANSFER, transfer)
    assert found.receipt.exit_code == Exit.FORBIDDEN
    half = TransferParams(VERIFIED_REGISTRY, 5).to_cbor()
    found = story.run("alice", DATACAP, DatacapMethod.TRANSFER, half)
    assert found.receipt.exit_code == Exit.ILLEGAL_ARGUMENT


def test_expired_allocations_give_their_datacap_back_when_someone_asks(story: Story) -> None:
    client = story.client_with_datacap()
    soon = story.network.head.height + 8
    found = story.allocate("alice", story.request(piece_cid(1), MIB, expiration=soon))
    (allocation,) = story.allocation_ids(found)
    story.network.advance(10)
    assert story.network.state().all_allocations()
    params = RemoveExpiredParams(client, (allocation, 77)).to_cbor()
    found = story.ok("bob", VERIFIED_REGISTRY, VerifregMethod.REMOVE_EXPIRED_ALLOCATIONS, params)
    answer = RemoveExpiredAllocationsReturn.from_cbor(found.receipt.return_)
    assert answer.results == BatchReturn(1, ((1, Exit.NOT_FOUND),))
    assert answer.datacap_recovered == MIB
    assert story.network.pending_state().datacap(story.network.key("alice").address) == 64 * MIB
    story.sound()


def test_only_the_client_lengthens_a_claim(story: Story) -> None:
    story.client_with_datacap()
    claim = story.verified_sector(7, piece_cid(1), 8 * MIB)
    longer = ExtendClaimTermsParams((ClaimTerm(1001, claim, 600 * DAY),)).to_cbor()
    method = VerifregMethod.EXTEND_CLAIM_TERMS
    stranger = story.ok("bob", VERIFIED_REGISTRY, method, longer)
    assert BatchReturn.from_cbor(stranger.receipt.return_).fail_codes == ((0, Exit.FORBIDDEN),)
    owner = story.ok("alice", VERIFIED_REGISTRY, method, longer)
    assert BatchReturn.from_cbor(owner.receipt.return_) == BatchReturn(1)
    assert story.network.pending_state().claims(PROVIDER)[claim].term_max == 600 * DAY


# sectors ------------------------------------------------------------------------------------------------------------


def test_commd_pads_with_zero_pieces() -> None:
    size = 8 * MIB
    assert unsealed_cid([], size).digest == zero_commitment(size.bit_length() - 6)
    one = piece_cid(5)
    assert unsealed_cid([(one, size)], size) == one
    small_then_large = unsealed_cid([(piece_cid(1), MIB), (piece_cid(2), 4 * MIB)], size)
    digest = zero_commitment(MIB.bit_length() - 6)
    zero = type(one).of_digest(one.codec, one.hash_code, digest)
    written_out = [(piece_cid(1), MIB), *[(zero, MIB)] * 3, (piece_cid(2), 4 * MIB)]
    assert unsealed_cid(written_out, size) == small_then_large
    for bad in ([(one, 100)], [(one, 16 * MIB)], [(one, 8 * MIB), (one, 128)]):
        with pytest.raises(CommDError):
            unsealed_cid(bad, size)


def test_proving_too_early_is_forbidden_and_a_wrong_piece_fails_the_message(story: Story) -> None:
    pieces = [(piece_cid(1), 8 * MIB)]
    story.pre_commit(3, pieces)
    assert story.prove(3, pieces).receipt.exit_code == Exit.FORBIDDEN
    story.network.advance(12)
    other = [(piece_cid(2), 8 * MIB)]
    failed = story.prove(3, other, require_activation=False)
    assert failed.receipt.exit_code == Exit.ILLEGAL_ARGUMENT
    assert story.prove(3, pieces, proof=b"invalid").receipt.exit_code == Exit.ILLEGAL_ARGUMENT
    assert story.prove(4, pieces).receipt.exit_code == Exit.NOT_FOUND
    assert story.prove(3, pieces).receipt.exit_code == 0
    assert story.pre_commit(3, pieces).receipt.exit_code == Exit.ILLEGAL_ARGUMENT  # used number
    story.sound()


def test_a_claim_of_anothers_allocation_fails_and_leaves_it(story: Story) -> None:
    client = story.client_with_datacap()
    found = story.allocate("alice", story.request(piece_cid(1), 8 * MIB))
    (allocation,) = story.allocation_ids(found)
    pieces = [(piece_cid(2), 8 * MIB)]
    story.pre_commit(3, pieces)
    story.network.advance(12)
    refused = story.prove(3, pieces, {0: allocation}, client)
    assert refused.receipt.exit_code == Exit.ILLEGAL_ARGUMENT
    assert refused.receipt.events_root is None
    assert allocation in story.network.pending_state().all_allocations()
    assert not story.network.pending_state().sectors(PROVIDER)


def test_missed_posts_make_faults_that_recover_when_declared(story: Story) -> None:
    network = story.network
    pieces = [(piece_cid(1), 8 * MIB)]
    story.pre_commit(3, pieces)
    network.advance(12)
    story.prove(3, pieces)
    network.prove_automatically(PROVIDER)
    story.until(lambda view: view.active_sectors(PROVIDER).keys() == {3})
    network.prove_automatically(PROVIDER, enabled=False)
    story.until(lambda view: view.faults(PROVIDER) == {3})
    view = network.pending_state()
    assert view.miner_power(PROVIDER).miner.raw == 0
    place = view.sector_place(PROVIDER, 3)
    assert place is not None
    declared = SectorDeclarations(
        (SectorDeclaration(place.deadline, place.partition, BitField.from_ints([3])),)
    ).to_cbor()
    _leave_the_deadline(story, place.deadline)
    found = story.run("worker-1", PROVIDER, MinerMethod.DECLARE_FAULTS_RECOVERED, declared)
    assert found.receipt.exit_code == 0
    assert network.pending_state().recoveries(PROVIDER) == {3}
    network.prove_automatically(PROVIDER)
    story.until(lambda view: not view.faults(PROVIDER))
    assert network.pending_state().miner_power(PROVIDER).miner.raw == 8 * MIB
    story.sound()


def _leave_the_deadline(story: Story, deadline: int) -> None:
    """Mine until the deadline is neither open nor next, so that it may be changed."""
    while (deadline - story.network.pending_state().proving_deadline(PROVIDER).index) % 48 not in (
        range(4, 40)
    ):
        story.network.advance(60)


def test_terminated_sectors_lose_power_and_pledge_and_pay(story: Story) -> None:
    network = story.network
    story.pre_commit(3, [])
    network.advance(12)
    story.prove(3, [])
    network.prove_automatically(PROVIDER)
    story.until(lambda view: view.active_sectors(PROVIDER))
    burnt = network.pending_state().balance(Address.of_id(99))
    place = network.pending_state().sector_place(PROVIDER, 3)
    assert place is not None
    declared = SectorDeclarations(
        (SectorDeclaration(place.deadline, place.partition, BitField.from_ints([3])),)
    ).to_cbor()
    _leave_the_deadline(story, place.deadline)
    found = story.ok("worker-1", PROVIDER, MinerMethod.TERMINATE_SECTORS, declared)
    assert cbor.decode(found.receipt.return_) == [True]
    view = network.pending_state()
    assert view.miner_power(PROVIDER).miner.qap == 0
    assert view.miner_funds(PROVIDER).initial_pledge == AttoFil(0)
    assert view.balance(Address.of_id(99)).value > burnt.value
    network.advance(1)
    kinds = [
        cbor.decode(event.entries[0].value)
        for event in network.actor_events(EventFilter(addresses=(PROVIDER,), from_height=Epoch(0)))
    ]
    assert kinds[-1] == "sector-terminated"
    story.sound()


# money --------------------------------------------------------------------------------------------------------------


def test_an_awards_vesting_steps_are_those_of_the_worked_example() -> None:
    steps = vesting.schedule(8_250_092_592_591_759_258, 5_500_000, 123)
    assert len(steps) == 180
    assert steps[0] == (5_503_803, 60_522_959_354_989_314)
    assert steps[1] == (5_506_683, 45_833_847_736_620_884)
    assert steps[-1] == (6_019_323, 31_144_736_118_252_456)
    assert sum(amount for _, amount in steps) == 8_250_092_592_591_759_258


def test_quality_is_the_actors_integer_formula() -> None:
    size, duration = 32 << 30, 540 * DAY
    half = (16 << 30) * duration
    assert policy.qa_power(size, duration, half) == 188_978_561_024
    assert policy.qa_power(size, duration, 2 * half) == 10 * size
    assert policy.qa_power(size, duration, 0) == size


def test_three_quarters_of_a_credit_are_locked_and_the_award_is_in_the_trace() -> None:
    network = Network()
    network.advance(3)
    before = network.pending_state(network.head.parents).miner_funds(network.genesis_miner)
    execution = network.execution(network.head.key)
    awards = [run for run in execution.invocations if run.message.to == REWARD]
    assert len(awards) == len(network.head.blocks)
    (header,) = network.head.blocks
    told = AwardBlockRewardParams.from_cbor(awards[0].message.params)
    assert (told.miner, told.win_count) == (header.miner, header.win_count)
    credit = awards[0].trace.subcalls[0]
    assert (credit.to, credit.method) == (network.genesis_miner, MinerMethod.APPLY_REWARDS)
    reward = network.state().reward().this_epoch_reward.value
    assert credit.value.value == reward * header.win_count // 5
    after = network.pending_state().miner_funds(network.genesis_miner)
    assert after.locked_funds.value - before.locked_funds.value == credit.value.value * 3 // 4
    assert execution.invocations[-1].message.to == Address.of_id(3)


def test_the_owner_withdraws_what_is_free_and_nobody_else(story: Story) -> None:
    network = story.network
    params = WithdrawBalanceParams(AttoFil(400 * FIL)).to_cbor()
    stranger = story.run("alice", PROVIDER, MinerMethod.WITHDRAW_BALANCE, params)
    assert stranger.receipt.exit_code == Exit.FORBIDDEN
    owner = network.key("owner-1").address
    before = network.pending_state().balance(owner).value
    found = story.ok("owner-1", PROVIDER, MinerMethod.WITHDRAW_BALANCE, params)
    assert cbor.decode_bigint(cbor.decode(found.receipt.return_)) == 400 * FIL
    gained = network.pending_state().balance(owner).value - before
    assert 399 * FIL < gained < 400 * FIL
    everything = WithdrawBalanceParams(AttoFil(10**9 * FIL)).to_cbor()
    found = story.ok("owner-1", PROVIDER, MinerMethod.WITHDRAW_BALANCE, everything)
    assert cbor.decode_bigint(cbor.decode(found.receipt.return_)) == 99_600 * FIL
    assert network.pending_state().available_balance(PROVIDER) == AttoFil(0)
    story.sound()


def test_a_send_creates_accounts_and_placeholders_but_no_strange_addresses(story: Story) -> None:
    network = story.network
    newcomer = network.key("newcomer").address
    eth = Address.of_eth(b"\x11" * 20)
    assert story.run("alice", newcomer, 0, b"", FIL).receipt.exit_code == 0
    assert story.run("alice", eth, 0, b"", FIL).receipt.exit_code == 0
    nowhere = story.run("alice", Address.of_actor_data(b"nobody"), 0, b"", FIL)
    assert nowhere.receipt.exit_code == Exit.INVALID_RECEIVER
    view = network.pending_state()
    assert view.code_name(newcomer) == "account"
    assert view.code_name(eth) == "placeholder"
    assert view.balance(newcomer) == AttoFil(FIL)
    too_much = story.run("newcomer", network.key("bob").address, 0, b"", 0)
    assert too_much.receipt.exit_code == 0
    story.sound()


def test_a_multisig_made_by_exec_can_pay(story: Story) -> None:
    network = story.network
    signers = (network.key("alice").address, network.key("bob").address)
    code = network.state().actor(Address.of_id(80)).code
    params = ExecParams(code, ConstructorParams(signers, 2).to_cbor()).to_cbor()
    made = CreatedActor.from_cbor(
        story.ok("alice", Address.of_id(1), InitMethod.EXEC, params, 5 * FIL).receipt.return_
    )
    assert network.pending_state().balance(made.robust_address) == AttoFil(5 * FIL)
    payee = network.key("payee").address
    call = ProposeParams(payee, AttoFil(2 * FIL), 0, b"").to_cbor()
    proposed = ProposeReturn.from_cbor(
        story.ok("alice", made.robust_address, MultisigMethod.PROPOSE, call).receipt.return_
    )
    assert not proposed.applied
    story.ok("bob", made.id_address, MultisigMethod.APPROVE, TxnIdParams(0).to_cbor())
    assert network.pending_state().balance(payee) == AttoFil(2 * FIL)
    story.sound()


# network version 29 -------------------------------------------------------------------------------------------------


def test_from_network_version_29_data_gets_power_without_claims() -> None:
    network = Network(NetworkConfig(nv29_epoch=Epoch(60)))
    story = Story(network)
    client = story.client_with_datacap()
    found = story.allocate("alice", story.request(piece_cid(1), 8 * MIB))
    (allocation,) = story.allocation_ids(found)
    network.advance(60 - network.head.height)
    assert network.network_version(network.head.height) == 29
    assert network.pending_state().all_allocations() == {}
    assert story.grant("bob", "alice", MIB).receipt.exit_code == Exit.FORBIDDEN
    pieces = [(piece_cid(1), 8 * MIB)]
    story.pre_commit(3, pieces)
    network.advance(12)
    start = network.head.height
    assert story.prove(3, pieces, {0: allocation}, client).receipt.exit_code == 0
    network.advance(2)
    kinds = [
        cbor.decode(event.entries[0].value)
        for event in network.actor_events(EventFilter(from_height=start))
    ]
    assert kinds == ["sector-activated"]
    sector = network.pending_state().sectors(PROVIDER)[3]
    assert (sector.flags, sector.verified_deal_weight) == (2, 0)
    network.prove_automatically(PROVIDER)
    story.until(lambda view: view.miner_power(PROVIDER).miner.qap == 80 * MIB)
    story.sound()


def test_from_network_version_29_the_miner_gets_its_stream_and_the_rest_burns() -> None:
    network = Network(NetworkConfig(nv29_epoch=Epoch(5)))
    network.advance(8)
    award = next(
        run for run in network.execution(network.head.key).invocations if run.message.to == REWARD
    )
    wins = network.head.blocks[0].win_count
    whole = network.state().reward().this_epoch_reward.value * wins // 5
    assert award.trace.subcalls[0].value.value == whole * 95 // 100
    burn = award.trace.subcalls[1]
    assert (burn.to, burn.value.value) == (Address.of_id(99), whole - whole * 95 // 100)
