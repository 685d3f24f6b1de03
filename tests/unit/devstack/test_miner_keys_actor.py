from __future__ import annotations

import pytest

from devstack.chain.actors.miner_state import deadline_now
from devstack.chain.machine import Exit, Sent
from devstack.chain.table import replace
from lotus_client import cbor
from lotus_client.actors import miner_keys as wire
from lotus_client.actors.methods import MinerMethod as Method
from lotus_client.actors.methods import PowerMethod
from lotus_client.actors.miner import WithdrawBalanceParams
from lotus_client.address import Address
from lotus_client.types import AttoFil
from tests.unit.devstack.direct import Direct

MINER = 1001
FIL = 10**18


@pytest.fixture
def chain() -> Direct:
    return Direct()


def details(chain: Direct):  # type: ignore[no-untyped-def]
    return chain.state(MINER).details


def read(chain: Direct, method: int, params: bytes = b"") -> object:
    return cbor.decode(chain.ok("dave", MINER, method, params))


def f0(chain: Direct, name: str) -> bytes:
    return chain.id(name).to_bytes()


# worker and controls ------------------------------------------------------------------------------------------------


def change_worker(chain: Direct, who: str, worker: str, *controls: str) -> Sent:
    params = wire.ChangeWorkerAddressParams(
        chain.key(worker).address, tuple(chain.key(one).address for one in controls)
    )
    return chain.call(who, MINER, Method.CHANGE_WORKER_ADDRESS, params.to_cbor())


def test_controls_change_at_once_and_the_worker_after_900_epochs(chain: Direct) -> None:
    start = chain.epoch
    assert change_worker(chain, "owner-1", "alice", "bob").exit_code == 0
    assert details(chain).controls == (chain.ids["bob"],)
    assert details(chain).worker == chain.ids["worker-1"]
    assert details(chain).pending_worker_key.effective_at == start + 900
    assert change_worker(chain, "owner-1", "carol").exit_code == 0  # the first change stays
    assert details(chain).pending_worker_key.new_worker == chain.ids["alice"]
    chain.at(start + 899)
    assert chain.call("owner-1", MINER, Method.CONFIRM_CHANGE_WORKER_ADDRESS).exit_code == 0
    assert details(chain).worker == chain.ids["worker-1"]
    chain.at(start + 900)
    stranger = chain.call("worker-1", MINER, Method.CONFIRM_CHANGE_WORKER_ADDRESS)
    assert stranger.exit_code == Exit.FORBIDDEN
    assert chain.call("owner-1", MINER, Method.CONFIRM_CHANGE_WORKER_ADDRESS).exit_code == 0
    assert details(chain).worker == chain.ids["alice"]
    assert details(chain).pending_worker_key is None


def test_a_due_worker_takes_over_at_the_deadlines_end_by_itself(chain: Direct) -> None:
    change_worker(chain, "owner-1", "alice")
    chain.at(chain.epoch + 1000)
    last = deadline_now(chain.state(MINER).proving_period_start, chain.epoch).last
    chain.at(last)
    estimate = [cbor.encode_bigint(1), cbor.encode_bigint(0)]
    event = cbor.encode([b"\x81\x01", estimate, estimate])
    chain.ok(4, MINER, Method.ON_DEFERRED_CRON_EVENT, event)
    assert details(chain).worker == chain.ids["alice"]


def test_only_the_owner_changes_the_worker_to_an_account(chain: Direct) -> None:
    assert change_worker(chain, "worker-1", "alice").exit_code == Exit.FORBIDDEN
    for worker, controls in (
        (Address.of_id(80), ()),
        (Address.of_actor_data(b"nobody"), ()),
        (chain.id("alice"), (Address.of_id(1000),)),
        (chain.id("alice"), (chain.id("bob"),) * 11),
    ):
        params = wire.ChangeWorkerAddressParams(worker, controls).to_cbor()
        sent = chain.call("owner-1", MINER, Method.CHANGE_WORKER_ADDRESS_EXPORTED, params)
        assert sent.exit_code == Exit.ILLEGAL_ARGUMENT


def test_peer_id_and_multiaddrs_are_set_by_any_key_within_their_sizes(chain: Direct) -> None:
    peer = wire.ChangePeerIdParams(b"p" * 38).to_cbor()
    assert chain.call("alice", MINER, Method.CHANGE_PEER_ID, peer).exit_code == Exit.FORBIDDEN
    assert chain.call("worker-1", MINER, Method.CHANGE_PEER_ID, peer).exit_code == 0
    assert read(chain, Method.GET_PEER_ID) == [b"p" * 38]
    long = wire.ChangePeerIdParams(b"p" * 129).to_cbor()
    assert chain.call("owner-1", MINER, Method.CHANGE_PEER_ID, long).exit_code == 16
    addresses = wire.ChangeMultiaddrsParams((b"a", b"b")).to_cbor()
    stranger = chain.call("alice", MINER, Method.CHANGE_MULTIADDRS, addresses)
    assert stranger.exit_code == Exit.FORBIDDEN
    assert chain.call("owner-1", MINER, Method.CHANGE_MULTIADDRS, addresses).exit_code == 0
    assert read(chain, Method.GET_MULTIADDRS) == [[b"a", b"b"]]
    for bad in ((b"",), (b"x" * 1025,)):
        params = wire.ChangeMultiaddrsParams(bad).to_cbor()
        assert chain.call("owner-1", MINER, Method.CHANGE_MULTIADDRS, params).exit_code == 16


# owner --------------------------------------------------------------------------------------------------------------


def change_owner(chain: Direct, who: str, name: str) -> int:
    params = cbor.encode(chain.key(name).address.to_bytes())
    return chain.call(who, MINER, Method.CHANGE_OWNER_ADDRESS, params).exit_code


def test_a_proposed_owner_takes_over_by_confirming(chain: Direct) -> None:
    assert change_owner(chain, "alice", "alice") == Exit.FORBIDDEN
    assert change_owner(chain, "owner-1", "alice") == 0
    assert read(chain, Method.GET_OWNER) == [f0(chain, "owner-1"), f0(chain, "alice")]
    assert change_owner(chain, "bob", "alice") == Exit.FORBIDDEN
    assert change_owner(chain, "alice", "bob") == Exit.ILLEGAL_ARGUMENT
    assert change_owner(chain, "alice", "alice") == 0
    assert read(chain, Method.GET_OWNER) == [f0(chain, "alice"), None]
    assert details(chain).beneficiary.address == chain.ids["alice"]


def test_an_owner_takes_its_proposal_back_with_its_own_address(chain: Direct) -> None:
    change_owner(chain, "owner-1", "alice")
    assert change_owner(chain, "owner-1", "owner-1") == 0
    assert details(chain).pending_owner_address is None
    assert change_owner(chain, "alice", "alice") == Exit.FORBIDDEN


# beneficiary --------------------------------------------------------------------------------------------------------


def change_beneficiary(chain: Direct, who: str, name: str, quota: int, expiration: int) -> int:
    params = wire.ChangeBeneficiaryParams(chain.id(name), AttoFil(quota), expiration)
    return chain.call(who, MINER, Method.CHANGE_BENEFICIARY, params.to_cbor()).exit_code


def beneficiary(chain: Direct) -> wire.GetBeneficiaryReturn:
    raw = chain.ok("dave", MINER, Method.GET_BENEFICIARY)
    return wire.GetBeneficiaryReturn.from_cbor(raw)


def test_a_nominee_becomes_beneficiary_by_repeating_the_proposal(chain: Direct) -> None:
    assert change_beneficiary(chain, "alice", "alice", FIL, 5000) == Exit.FORBIDDEN
    assert change_beneficiary(chain, "owner-1", "alice", FIL, 5000) == 0
    proposed = beneficiary(chain).proposed
    assert proposed == wire.PendingBeneficiaryChange(
        chain.id("alice"), AttoFil(FIL), 5000, True, False
    )
    assert change_beneficiary(chain, "bob", "alice", FIL, 5000) == Exit.FORBIDDEN
    for wrong in ((2 * FIL, 5000), (FIL, 5001)):
        assert change_beneficiary(chain, "alice", "alice", *wrong) == Exit.ILLEGAL_ARGUMENT
    assert change_beneficiary(chain, "alice", "bob", FIL, 5000) == Exit.ILLEGAL_ARGUMENT
    assert change_beneficiary(chain, "alice", "alice", FIL, 5000) == 0
    active = wire.ActiveBeneficiary(chain.id("alice"), AttoFil(FIL), AttoFil(0), 5000)
    assert beneficiary(chain) == wire.GetBeneficiaryReturn(active)


def test_a_proposal_needs_a_quota_and_the_return_to_the_owner_none(chain: Direct) -> None:
    assert change_beneficiary(chain, "owner-1", "alice", 0, 5000) == Exit.ILLEGAL_ARGUMENT
    assert change_beneficiary(chain, "owner-1", "owner-1", FIL, 0) == Exit.ILLEGAL_ARGUMENT
    assert change_beneficiary(chain, "owner-1", "owner-1", 0, 1) == Exit.ILLEGAL_ARGUMENT


def with_beneficiary(chain: Direct, quota: int = FIL, expiration: int = 5000) -> None:
    change_beneficiary(chain, "owner-1", "alice", quota, expiration)
    change_beneficiary(chain, "alice", "alice", quota, expiration)


def withdraw(chain: Direct, who: str, amount: int) -> Sent:
    params = WithdrawBalanceParams(AttoFil(amount)).to_cbor()
    return chain.call(who, MINER, Method.WITHDRAW_BALANCE, params)


def test_an_effective_beneficiary_must_agree_to_be_replaced(chain: Direct) -> None:
    with_beneficiary(chain)
    assert change_beneficiary(chain, "owner-1", "bob", FIL, 9000) == 0
    assert change_beneficiary(chain, "bob", "bob", FIL, 9000) == 0
    assert details(chain).beneficiary.address == chain.ids["alice"]
    assert change_beneficiary(chain, "alice", "bob", FIL, 9000) == 0
    assert details(chain).beneficiary.address == chain.ids["bob"]
    assert details(chain).beneficiary.used_quota == 0


def test_a_spent_or_expired_term_counts_as_agreed(chain: Direct) -> None:
    with_beneficiary(chain)
    assert withdraw(chain, "alice", 5 * FIL).exit_code == 0
    change_beneficiary(chain, "owner-1", "owner-1", 0, 0)
    assert details(chain).beneficiary.address == chain.ids["owner-1"]
    with_beneficiary(chain, expiration=5000)
    chain.at(5000)
    change_beneficiary(chain, "owner-1", "owner-1", 0, 0)
    assert details(chain).beneficiary.address == chain.ids["owner-1"]


def test_withdrawals_go_to_the_beneficiary_within_its_term(chain: Direct) -> None:
    with_beneficiary(chain, quota=2 * FIL)
    before = chain.balance(chain.ids["alice"])
    assert withdraw(chain, "bob", FIL).exit_code == Exit.FORBIDDEN
    assert withdraw(chain, "worker-1", FIL).exit_code == Exit.FORBIDDEN
    assert withdraw(chain, "alice", -1).exit_code == Exit.ILLEGAL_ARGUMENT
    assert withdraw(chain, "owner-1", FIL).return_ == cbor.encode(cbor.encode_bigint(FIL))
    assert withdraw(chain, "alice", 9 * FIL).return_ == cbor.encode(cbor.encode_bigint(FIL))
    assert chain.balance(chain.ids["alice"]) == before + 2 * FIL
    assert withdraw(chain, "alice", 1).exit_code == Exit.FORBIDDEN
    assert beneficiary(chain).active.used_quota == AttoFil(2 * FIL)
    chain.sound()


def test_an_expired_beneficiary_gets_nothing(chain: Direct) -> None:
    with_beneficiary(chain, expiration=100)
    chain.at(100)
    assert withdraw(chain, "alice", 1).exit_code == Exit.FORBIDDEN


# money and reads ----------------------------------------------------------------------------------------------------


def test_debt_is_repaid_by_any_key_from_what_is_free(chain: Direct) -> None:
    actor = chain.machine.actors[MINER]
    state = replace(actor.state, fee_debt=7)
    chain.machine.set_actor(MINER, replace(actor, state=state))
    burnt = chain.balance(99)
    assert chain.call("alice", MINER, Method.REPAY_DEBT).exit_code == Exit.FORBIDDEN
    assert chain.call("worker-1", MINER, Method.REPAY_DEBT).exit_code == 0
    assert chain.state(MINER).fee_debt == 0
    assert chain.balance(99) == burnt + 7
    chain.sound()


def test_uncovered_debt_stops_withdrawals(chain: Direct) -> None:
    actor = chain.machine.actors[MINER]
    state = replace(actor.state, fee_debt=actor.balance + 1)
    chain.machine.set_actor(MINER, replace(actor, state=state))
    assert withdraw(chain, "owner-1", 1).exit_code == Exit.INSUFFICIENT_FUNDS


def test_a_miner_says_what_it_is(chain: Direct) -> None:
    balance = chain.balance(MINER)
    keys = [f0(chain, "owner-1"), f0(chain, "worker-1"), []]
    assert read(chain, Method.CONTROL_ADDRESSES) == keys
    assert read(chain, Method.GET_SECTOR_SIZE) == 8 << 20
    assert read(chain, Method.GET_AVAILABLE_BALANCE) == cbor.encode_bigint(balance)
    assert read(chain, Method.GET_VESTING_FUNDS) == [[]]
    assert read(chain, Method.INITIAL_PLEDGE) == b""
    for name, controls in (("owner-1", True), ("worker-1", True), ("alice", False)):
        key = cbor.encode(chain.key(name).address.to_bytes())
        assert read(chain, Method.IS_CONTROLLING_ADDRESS, key) is controls
    expiration = chain.state(1000).sectors[0].expiration
    raw = chain.ok("dave", 1000, Method.GET_NOMINAL_SECTOR_EXPIRATION, cbor.encode(0))
    assert cbor.decode(raw) == expiration
    missing = chain.call("dave", MINER, Method.GET_NOMINAL_SECTOR_EXPIRATION, cbor.encode(0))
    assert missing.exit_code == Exit.NOT_FOUND


def test_the_highest_termination_fee_is_85_permille_of_the_pledge_or_the_fault_fee(
    chain: Direct,
) -> None:
    asked = cbor.encode([cbor.encode_bigint(0), cbor.encode_bigint(1000)])
    raw = chain.ok("dave", MINER, Method.MAX_TERMINATION_FEE, asked)
    assert cbor.decode(raw) == cbor.encode_bigint(85)


def test_locked_rewards_are_told_as_vesting_funds(chain: Direct) -> None:
    award = cbor.encode([cbor.encode_bigint(4000), b""])
    chain.ok(2, MINER, Method.APPLY_REWARDS, award, 4000)
    (steps,) = read(chain, Method.GET_VESTING_FUNDS)  # type: ignore[misc]
    assert sum(cbor.decode_bigint(part) for _, part in steps) == 3000
    pledge = cbor.decode(chain.ok("dave", 4, PowerMethod.CURRENT_TOTAL_POWER))
    assert isinstance(pledge, list)
    assert chain.call("alice", MINER, Method.APPLY_REWARDS, award).exit_code == Exit.FORBIDDEN
    chain.sound()
