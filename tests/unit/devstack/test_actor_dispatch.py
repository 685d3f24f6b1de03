"""Rules that all actors share: exit codes of calls that reach no method, and authentication (actors.md §0.2, §1)."""

from __future__ import annotations

import pytest

from devstack.chain.machine import Exit
from devstack.chain.states import Actor, EmptyState
from lotus_client import cbor
from lotus_client.actors.methods import (
    AccountMethod,
    DatacapMethod,
    InitMethod,
    MarketMethod,
    MinerMethod,
    MultisigMethod,
    PowerMethod,
    RewardMethod,
    VerifregMethod,
)
from lotus_client.actors.multisig import ConstructorParams
from lotus_client.actors.system import AuthenticateMessageParams, CreatedActor, ExecParams
from lotus_client.address import Address
from lotus_client.bls import BlsKey
from lotus_client.cid import Cid
from tests.unit.devstack.direct import Direct

MULTISIG_CODE = Cid.parse("bafk2bzacecquc4zxikmjfwsiyzx4tbxlsvauf53c7spf3hdz6jwmkczyqwbrg")
UNKNOWN_EXPORTED = 1 << 30


@pytest.fixture
def chain() -> Direct:
    return Direct()


@pytest.mark.parametrize("actor", [0, 1, 2, 3, 4, 5, 6, 7, 80, 100, 1001])
def test_an_unknown_small_method_is_unhandled(chain: Direct, actor: int) -> None:
    assert chain.call("alice", actor, 999).exit_code == Exit.UNHANDLED


@pytest.mark.parametrize(
    ("actor", "code"),
    [(1, 22), (2, 22), (4, 22), (5, 22), (6, 22), (7, 22), (1001, 22), (80, 0), (100, 0)],
)
def test_only_accounts_and_multisigs_answer_an_unknown_exported_method_with_nothing(
    chain: Direct, actor: int, code: int
) -> None:
    sent = chain.call("alice", actor, UNKNOWN_EXPORTED)
    assert (sent.exit_code, sent.return_) == (code, b"")


@pytest.mark.parametrize(
    ("actor", "method"),
    [
        (7, DatacapMethod.NAME),
        (4, PowerMethod.MINER_COUNT),
        (2, RewardMethod.THIS_EPOCH_REWARD),
        (1001, MinerMethod.GET_OWNER),
        (1001, MinerMethod.CONTROL_ADDRESSES),
    ],
)
def test_params_for_a_method_without_any_are_an_illegal_argument(
    chain: Direct, actor: int, method: int
) -> None:
    assert chain.call("alice", actor, method, b"\x80").exit_code == Exit.ILLEGAL_ARGUMENT
    assert chain.call("alice", actor, method).exit_code == 0


@pytest.mark.parametrize(
    ("actor", "method"),
    [
        (1, InitMethod.EXEC),
        (4, PowerMethod.CREATE_MINER),
        (5, MarketMethod.ADD_BALANCE),
        (5, MarketMethod.SETTLE_DEAL_PAYMENTS),
        (6, VerifregMethod.ADD_VERIFIER),
        (7, DatacapMethod.TRANSFER),
        (80, MultisigMethod.PROPOSE),
        (1001, MinerMethod.WITHDRAW_BALANCE),
        (1001, MinerMethod.PROVE_COMMIT_SECTORS3),
    ],
)
def test_missing_params_are_an_illegal_argument_and_wrong_ones_fail_decoding(
    chain: Direct, actor: int, method: int
) -> None:
    assert chain.call("alice", actor, method).exit_code == Exit.ILLEGAL_ARGUMENT
    assert chain.call("alice", actor, method, b"\xf6").exit_code == Exit.SERIALIZATION
    assert chain.call("alice", actor, method, b"\xff").exit_code == Exit.SERIALIZATION


def test_a_contract_reaches_exported_methods_only(chain: Direct) -> None:
    contract = 900
    chain.machine.set_actor(contract, Actor("evm", EmptyState()))
    asked = cbor.encode(Address.of_id(contract).to_bytes())
    assert chain.call(contract, 5, MarketMethod.ADD_BALANCE, asked).exit_code == Exit.FORBIDDEN
    assert chain.call(contract, 100, AccountMethod.PUBKEY_ADDRESS).exit_code == Exit.FORBIDDEN
    assert chain.call(contract, 7, DatacapMethod.NAME).exit_code == 0
    assert chain.call(contract, 4, PowerMethod.MINER_COUNT).exit_code == 0
    assert chain.call(contract, 100, 0).exit_code == 0


def test_what_cannot_be_reached_says_why(chain: Direct) -> None:
    assert chain.call("alice", 999_999, 0).exit_code == Exit.INVALID_RECEIVER
    nobody = Address.of_actor_data(b"nobody")
    assert chain.call("alice", nobody, 0).exit_code == Exit.INVALID_RECEIVER
    too_much = chain.balance(chain.ids["alice"]) + 1
    sent = chain.call("alice", 101, 0, value=too_much)
    assert sent.exit_code == Exit.SYS_INSUFFICIENT_FUNDS


def test_a_failed_call_makes_no_account(chain: Direct) -> None:
    key = BlsKey.of_seed(b"n" * 32)
    sent = chain.call("alice", key.address, 999)
    assert sent.exit_code == Exit.UNHANDLED
    assert chain.machine.resolve(key.address) is None


# accounts -----------------------------------------------------------------------------------------------------------


def test_an_account_says_its_key_address(chain: Direct) -> None:
    answer = chain.ok("bob", chain.id("alice"), AccountMethod.PUBKEY_ADDRESS)
    assert answer == cbor.encode(chain.key("alice").address.to_bytes())


def test_an_account_authenticates_what_its_own_key_signed(chain: Direct) -> None:
    signature = chain.key("alice").sign(b"text").data
    good = AuthenticateMessageParams(signature, b"text").to_cbor()
    method = AccountMethod.AUTHENTICATE_MESSAGE
    assert chain.ok("bob", chain.id("alice"), method, good) == b"\xf5"
    assert chain.call("bob", chain.id("bob"), method, good).exit_code == Exit.ILLEGAL_ARGUMENT
    other = AuthenticateMessageParams(signature, b"other").to_cbor()
    assert chain.call("bob", chain.id("alice"), method, other).exit_code == Exit.ILLEGAL_ARGUMENT
    assert chain.call("bob", 99, method, good).exit_code == Exit.ILLEGAL_ARGUMENT


def test_a_bls_account_authenticates_bls_signatures(chain: Direct) -> None:
    key = BlsKey.of_seed(b"b" * 32)
    assert chain.call("alice", key.address, 0, value=1).exit_code == 0
    params = AuthenticateMessageParams(key.sign(b"text").data, b"text").to_cbor()
    assert chain.ok("bob", key.address, AccountMethod.AUTHENTICATE_MESSAGE, params) == b"\xf5"


# init ---------------------------------------------------------------------------------------------------------------


def test_exec_makes_a_multisig_at_the_address_that_the_origin_and_nonce_give(chain: Direct) -> None:
    signers = (chain.key("alice").address, chain.key("bob").address)
    constructor = ConstructorParams(signers, 2).to_cbor()
    params = ExecParams(MULTISIG_CODE, constructor).to_cbor()
    made = CreatedActor.from_cbor(chain.ok("alice", 1, InitMethod.EXEC, params, 5))
    origin, nonce = chain.machine.origin
    preimage = cbor.encode(origin.to_bytes()) + nonce.to_bytes(8, "big") + bytes(8)
    assert made.robust_address == Address.of_actor_data(preimage)
    assert chain.machine.resolve(made.robust_address) == made.id_address.actor_id
    state = chain.state(made.id_address.actor_id)
    assert state.signers == (chain.ids["alice"], chain.ids["bob"])
    assert (state.threshold, state.initial_balance) == (2, 0)
    assert chain.balance(made.id_address.actor_id) == 5
    chain.sound()


def test_the_published_example_of_an_f2_address() -> None:
    origin = Address.from_bytes(bytes.fromhex("01df034b2156625ebac9d8f7c7af61eff43a451e9f"))
    preimage = cbor.encode(origin.to_bytes()) + (5).to_bytes(8, "big") + bytes(8)
    assert (
        preimage.hex() == "5501df034b2156625ebac9d8f7c7af61eff43a451e9f" + "0" * 15 + "5" + "0" * 16
    )
    expected = "02373f13aaf8fa34852020d2637447a115c02bda8f"
    assert Address.of_actor_data(preimage).to_bytes().hex() == expected


def test_exec_of_other_code_is_forbidden_and_a_failing_constructor_is_the_messages_failure(
    chain: Direct,
) -> None:
    account = Cid.parse("bafk2bzacedpmhtrp2kdjoga2phrbi3f7z7wn25s3tluxoagcu7hsg2ppktxbw")
    params = ExecParams(account, b"\x80").to_cbor()
    assert chain.call("alice", 1, InitMethod.EXEC, params).exit_code == Exit.FORBIDDEN
    before = chain.state(1)
    none = ExecParams(MULTISIG_CODE, ConstructorParams((), 1).to_cbor()).to_cbor()
    assert chain.call("alice", 1, InitMethod.EXEC, none).exit_code == Exit.ILLEGAL_ARGUMENT
    broken = ExecParams(MULTISIG_CODE, b"\x80").to_cbor()
    assert chain.call("alice", 1, InitMethod.EXEC, broken).exit_code == Exit.SERIALIZATION
    assert chain.state(1) == before


# power and reward ---------------------------------------------------------------------------------------------------


def test_power_says_what_miners_have(chain: Direct) -> None:
    total = chain.config.sector_size * chain.config.genesis_sectors
    power = cbor.decode(chain.ok("alice", 4, PowerMethod.MINER_RAW_POWER, cbor.encode(1000)))
    assert power == [cbor.encode_bigint(total), True]
    nothing = cbor.decode(chain.ok("alice", 4, PowerMethod.MINER_RAW_POWER, cbor.encode(1001)))
    assert nothing == [b"", False]
    both = cbor.decode(chain.ok("alice", 4, PowerMethod.MINER_POWER, cbor.encode(1000)))
    assert both == [cbor.encode_bigint(total)] * 2
    assert cbor.decode(chain.ok("alice", 4, PowerMethod.MINER_COUNT)) == 2
    assert cbor.decode(chain.ok("alice", 4, PowerMethod.MINER_CONSENSUS_COUNT)) == 1
    raw = cbor.decode(chain.ok("alice", 4, PowerMethod.NETWORK_RAW_POWER))
    assert raw == cbor.encode_bigint(total)
    unknown = chain.call("alice", 4, PowerMethod.MINER_POWER, cbor.encode(7))
    assert unknown.exit_code == Exit.NOT_FOUND


def test_only_miners_change_power_and_only_the_system_awards(chain: Direct) -> None:
    delta = cbor.encode([cbor.encode_bigint(1), cbor.encode_bigint(1)])
    for method, params in (
        (PowerMethod.UPDATE_CLAIMED_POWER, delta),
        (PowerMethod.UPDATE_PLEDGE_TOTAL, cbor.encode(cbor.encode_bigint(1))),
        (PowerMethod.ENROLL_CRON_EVENT, cbor.encode([5, b"\x81\x01"])),
    ):
        assert chain.call("alice", 4, method, params).exit_code == Exit.FORBIDDEN
    assert chain.call("alice", 4, PowerMethod.ON_EPOCH_TICK_END).exit_code == Exit.FORBIDDEN
    award = bytes.fromhex("844300e807404300303901")
    assert (
        chain.call("alice", 2, RewardMethod.AWARD_BLOCK_REWARD, award).exit_code == Exit.FORBIDDEN
    )
    kpi = cbor.encode(cbor.encode_bigint(1))
    assert chain.call("alice", 2, RewardMethod.UPDATE_NETWORK_KPI, kpi).exit_code == Exit.FORBIDDEN


def test_the_reward_of_the_epoch_is_the_smoothed_one(chain: Direct) -> None:
    state = chain.state(2)
    estimate, baseline = cbor.decode(chain.ok("alice", 2, RewardMethod.THIS_EPOCH_REWARD))
    assert estimate[0] == cbor.encode_bigint(state.reward_position)
    assert baseline == cbor.encode_bigint(state.this_epoch_baseline_power)
