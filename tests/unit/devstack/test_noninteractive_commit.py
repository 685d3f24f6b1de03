"""Sectors that are committed without a pre-commit, in a deadline of the caller's choice."""

from __future__ import annotations

from dataclasses import replace as changed

import pytest

from devstack.chain.actors import policy
from devstack.chain.actors.miner_state import deadline_info, deadline_now, is_mutable
from devstack.chain.machine import Exit, Sent
from devstack.chain.states import MinerState
from devstack.chain.table import replace
from lotus_client import cbor
from lotus_client.actors.methods import MinerMethod as Method
from lotus_client.actors.miner import PoStPartition, SubmitWindowedPoStParams
from lotus_client.actors.miner_noninteractive import (
    ProveCommitSectorsNIParams,
    SectorNIActivationInfo,
)
from lotus_client.actors.wire import BatchReturn
from tests.unit.devstack.chain_story import piece_cid, sealed_cid
from tests.unit.devstack.direct import DAY, MIB, Direct

MINER, WORKER, SIZE = 1001, "worker-1", 8 * MIB
NI_8_MIB = 16


@pytest.fixture
def chain() -> Direct:
    return Direct()


def state_of(chain: Direct) -> MinerState:
    state: MinerState = chain.state(MINER)
    return state


def deadline(chain: Direct, *, mutable: bool = True) -> int:
    start = state_of(chain).proving_period_start
    return next(i for i in range(48) if is_mutable(start, i, chain.epoch) == mutable)


def sector(chain: Direct, number: int, **changes: object) -> SectorNIActivationInfo:
    one = SectorNIActivationInfo(
        number, MINER, sealed_cid(number), number, chain.epoch - 1, chain.epoch + 400 * DAY
    )
    return changed(one, **changes)  # type: ignore[arg-type]


def params(
    chain: Direct, *sectors: SectorNIActivationInfo, **changes: object
) -> ProveCommitSectorsNIParams:
    wanted = ProveCommitSectorsNIParams(sectors, b"proof", NI_8_MIB, 1, deadline(chain))
    return changed(wanted, **changes)  # type: ignore[arg-type]


def commit(
    chain: Direct, *sectors: SectorNIActivationInfo, who: str = WORKER, **changes: object
) -> Sent:
    wanted = params(chain, *sectors, **changes).to_cbor()
    return chain.call(who, MINER, Method.PROVE_COMMIT_SECTORS_NI, wanted)


def test_the_params_are_those_of_the_golden_vector() -> None:
    golden = bytes.fromhex("868040080102f4")
    wanted = ProveCommitSectorsNIParams((), b"", 8, 1, 2)
    assert wanted.to_cbor() == golden
    assert ProveCommitSectorsNIParams.from_cbor(golden) == wanted


def test_params_with_sectors_come_back_as_they_were(chain: Direct) -> None:
    wanted = params(chain, sector(chain, 5), sector(chain, 6), require_activation_success=True)
    assert ProveCommitSectorsNIParams.from_cbor(wanted.to_cbor()) == wanted


def test_sectors_go_to_the_named_deadline_and_count_after_its_window_post(chain: Direct) -> None:
    chosen = deadline(chain) + 3
    power = chain.state(4).claims[MINER]
    pledged = chain.state(4).total_pledge
    sent = commit(chain, sector(chain, 7), sector(chain, 5), proving_deadline=chosen)
    assert (sent.exit_code, sent.return_.hex()) == (0, "820280")
    assert chain.events == ["sector-activated"] * 2
    for event, number in zip(chain.machine.events, (7, 5), strict=True):
        assert [entry.key for entry in event.entries] == ["$type", "sector", "unsealed-cid"]
        assert [cbor.decode(entry.value) for entry in event.entries[1:]] == [number, None]
    state = state_of(chain)
    (partition,) = state.deadlines[chosen].partitions
    assert partition.sectors == partition.unproven == {5, 7}
    pledge = sum(state.sectors[number].initial_pledge.value for number in (5, 7))
    assert state.initial_pledge == pledge == chain.state(4).total_pledge - pledged > 0
    assert state.sectors[5].seal_proof == NI_8_MIB
    assert state.sectors[5].deal_weight == state.sectors[5].verified_deal_weight == 0
    assert state.deadline_cron_active
    assert chain.state(4).claims[MINER] == power
    chain.sound()
    info = deadline_info(state.proving_period_start, chosen, chain.epoch)
    chain.at(info.open + 5)
    at = chain.epoch - 2
    proof = SubmitWindowedPoStParams(
        chosen,
        (PoStPartition(0),),
        ((chain.config.window_post_proof, b"proof"),),
        at,
        bytes([9]) + at.to_bytes(31, "big"),
    )
    chain.ok(WORKER, MINER, Method.SUBMIT_WINDOWED_POST, proof.to_cbor())
    assert chain.state(4).claims[MINER] == (power[0] + 2 * SIZE, power[1] + 2 * SIZE)
    chain.sound()


def test_the_message_as_a_whole_is_refused_for_its_form(chain: Direct) -> None:
    one = sector(chain, 5)
    many = [sector(chain, number) for number in range(66)]
    near = deadline_now(state_of(chain).proving_period_start, chain.epoch).index
    assert commit(chain).exit_code == Exit.ILLEGAL_ARGUMENT
    assert commit(chain, *many).exit_code == Exit.ILLEGAL_ARGUMENT
    assert commit(chain, one, who="alice").exit_code == Exit.FORBIDDEN
    for changes, code in (
        ({"proving_deadline": 48}, Exit.ILLEGAL_ARGUMENT),
        ({"proving_deadline": near}, Exit.FORBIDDEN),
        ({"proving_deadline": (near + 1) % 48}, Exit.FORBIDDEN),
        ({"seal_proof_type": chain.config.seal_proof}, Exit.ILLEGAL_ARGUMENT),
        ({"seal_proof_type": NI_8_MIB + 1}, Exit.ILLEGAL_ARGUMENT),
        ({"aggregate_proof_type": 0}, Exit.ILLEGAL_ARGUMENT),
        ({"aggregate_proof": b""}, Exit.ILLEGAL_ARGUMENT),
        ({"aggregate_proof": b"invalid"}, Exit.ILLEGAL_ARGUMENT),
    ):
        assert commit(chain, one, **changes).exit_code == code, changes
    assert state_of(chain).sectors == {}
    assert commit(chain, *many[:65]).exit_code == 0
    chain.sound()


def test_a_bad_sector_fails_alone_unless_all_are_required(chain: Direct) -> None:
    chain.at(200 * DAY)
    now = chain.epoch
    good = sector(chain, 9)
    bad = [
        sector(chain, 1 << 63, sealing_number=1 << 63),
        sector(chain, 1, expiration=now + 180 * DAY - 1),
        sector(chain, 1, expiration=now + policy.MAX_SECTOR_EXTENSION + 1),
        sector(chain, 1, sealer_id=1000),
        sector(chain, 1, sealing_number=2),
        sector(chain, 1, sealed_cid=piece_cid(1)),
        sector(chain, 1, seal_rand_epoch=now),
        sector(chain, 1, seal_rand_epoch=now - 180 * DAY - 1),
    ]
    for one in bad:
        assert commit(chain, one).exit_code == Exit.ILLEGAL_ARGUMENT, one
        strict = commit(chain, good, one, require_activation_success=True)
        assert strict.exit_code == Exit.ILLEGAL_ARGUMENT, one
    edge = sector(chain, 3, seal_rand_epoch=now - 180 * DAY, expiration=now + 180 * DAY)
    sent = commit(chain, bad[3], good, good, edge)
    assert BatchReturn.from_cbor(sent.return_) == BatchReturn(2, ((0, 16), (2, 16)))
    assert chain.events == ["sector-activated"] * 2
    assert sorted(state_of(chain).sectors) == [3, 9]
    assert 1 in state_of(chain).allocated
    chain.sound()


def test_a_number_is_used_once(chain: Direct) -> None:
    assert commit(chain, sector(chain, 5)).exit_code == 0
    again = commit(chain, sector(chain, 6), sector(chain, 5))
    assert again.exit_code == Exit.ILLEGAL_ARGUMENT
    assert sorted(state_of(chain).sectors) == [5]


def test_pledge_and_debts_need_free_balance(chain: Direct) -> None:
    miner = chain.machine.actors[MINER]
    chain.machine.set_actor(MINER, replace(miner, balance=0))
    assert commit(chain, sector(chain, 5)).exit_code == Exit.INSUFFICIENT_FUNDS
    owing = replace(miner.state, fee_debt=miner.balance)
    chain.machine.set_actor(MINER, replace(miner, state=owing))
    assert commit(chain, sector(chain, 5)).exit_code == Exit.INSUFFICIENT_FUNDS
    chain.machine.set_actor(MINER, replace(miner, state=replace(miner.state, fee_debt=5)))
    burnt = chain.balance(99)
    assert commit(chain, sector(chain, 5)).exit_code == 0
    assert (state_of(chain).fee_debt, chain.balance(99) - burnt) == (0, 5)
