"""The first state: singletons, funded accounts, the genesis miner with proven sectors, and further miners without."""

from __future__ import annotations

from dataclasses import replace

from devstack.chain.actors import policy, reward
from devstack.chain.actors.miner_state import deadline_now, new_miner
from devstack.chain.actors.partitions import Placement, placed, summarised
from devstack.chain.config import FIL, AccountSpec, NetworkConfig, derive_key
from devstack.chain.deadline_states import SECTORS
from devstack.chain.election import draw
from devstack.chain.market_state import MarketState
from devstack.chain.states import (
    NO_CRON_EVENTS,
    AccountState,
    Actor,
    CronState,
    DatacapState,
    Deadline,
    Deadlines,
    EmptyState,
    InitState,
    MinerState,
    MultisigState,
    Partition,
    PowerState,
    StateTree,
    SystemState,
    VerifregState,
    claims_kind,
)
from devstack.ipld import Amt, Bits, Hamt
from lotus_client.address import Address
from lotus_client.cid import FIL_COMMITMENT_SEALED, POSEIDON_BLS12_381_A2_FC1, Cid
from lotus_client.state import SectorOnChainInfo
from lotus_client.types import AttoFil, Epoch, SectorNumber

__all__ = ["FIRST_MINER", "GENESIS_OWNER", "GENESIS_WORKER", "genesis_state"]

FIRST_ACCOUNT = 100
FIRST_MINER = 1000
GENESIS_OWNER = "genesis-owner"
GENESIS_WORKER = "genesis-worker"
_REWARD_BALANCE = 1_100_000_000 * FIL  # 330 million simple and 770 million baseline minting
_RESERVE = 300_000_000 * FIL
_GENESIS_MINER_BALANCE = 1_000_000 * FIL


def accounts_of(config: NetworkConfig) -> dict[str, int]:
    """Every account's starting balance by name, in the order of their ids."""
    balances = {GENESIS_OWNER: 0, GENESIS_WORKER: 1_000_000 * FIL}
    specs = [AccountSpec(name) for name in config.root_signers]
    specs += config.accounts
    for provider in config.providers:
        specs += [AccountSpec(provider.owner), AccountSpec(provider.worker)]
    for spec in specs:
        balances.setdefault(spec.name, spec.balance.value)
    return balances


def genesis_state(config: NetworkConfig) -> StateTree:
    """The state before the first epoch. All FIL that nobody gets goes to the genesis miner's owner."""
    names = accounts_of(config)
    if len(names) > FIRST_MINER - FIRST_ACCOUNT:
        raise ValueError(
            f"at most {FIRST_MINER - FIRST_ACCOUNT} accounts fit below the miners' ids"
        )
    ids = {name: FIRST_ACCOUNT + index for index, name in enumerate(names)}
    keys = {name: derive_key(config.seed, name).address for name in names}
    address_map = {keys[name]: ids[name] for name in names}
    actors = {
        ids[name]: Actor("account", AccountState(keys[name]), balance=balance)
        for name, balance in names.items()
    }
    signers = tuple(ids[name] for name in config.root_signers)
    miners = [FIRST_MINER + index for index in range(1 + len(config.providers))]
    for miner in miners:
        address_map[Address.of_actor_data(f"genesis miner {miner}".encode())] = miner
    init = InitState(InitState().address_map.with_(address_map), miners[-1] + 1, config.name)
    actors |= _singletons(config, signers, init)
    actors[FIRST_MINER] = Actor(
        "storageminer",
        new_miner(config, FIRST_MINER, ids[GENESIS_OWNER], ids[GENESIS_WORKER], 0),
        balance=_GENESIS_MINER_BALANCE,
    )
    for miner, spec in zip(miners[1:], config.providers, strict=True):
        state = new_miner(config, miner, ids[spec.owner], ids[spec.worker], 0)
        actors[miner] = Actor("storageminer", state, balance=spec.balance.value)
    given = sum(actor.balance for actor in actors.values())
    if given > policy.TOTAL_SUPPLY:
        raise ValueError("the accounts and providers are given more FIL than there is")
    owner = ids[GENESIS_OWNER]
    actors[owner] = replace(actors[owner], balance=policy.TOTAL_SUPPLY - given)
    _give_power(config, actors, miners)
    return StateTree(actors)


def _singletons(
    config: NetworkConfig, signers: tuple[int, ...], init: InitState
) -> dict[int, Actor]:
    threshold = config.root_threshold
    burnt = AccountState(Address.of_id(99))
    return {
        0: Actor("system", SystemState()),
        1: Actor("init", init),
        2: Actor(
            "reward",
            reward.initial(config.sector_size * config.genesis_sectors),
            balance=_REWARD_BALANCE,
        ),
        3: Actor("cron", CronState()),
        5: Actor("storagemarket", MarketState()),
        6: Actor("verifiedregistry", VerifregState(root_key=80)),
        7: Actor("datacap", DatacapState()),
        10: Actor("eam", EmptyState()),
        80: Actor("multisig", MultisigState(signers, threshold)),
        90: Actor("multisig", MultisigState(signers, threshold), balance=_RESERVE),
        99: Actor("account", burnt),
    }


def _give_power(config: NetworkConfig, actors: dict[int, Actor], miners: list[int]) -> None:
    """Put proven CC sectors into the genesis miner, evenly over its deadlines."""
    size, count = config.sector_size, config.genesis_sectors
    total = size * count
    actors[4] = Actor(
        "storagepower",
        PowerState(
            claims=Hamt(
                claims_kind(config.window_post_proof),
                dict.fromkeys(miners, (0, 0)) | {FIRST_MINER: (total, total)},
            ),
            above_minimum=1,
            total_raw=total,
            total_qap=total,
            total_pledge=0,
            this_epoch_raw=total,
            this_epoch_qap=total,
            this_epoch_pledge=0,
            power_position=total << 128,
            power_velocity=0,
        ),
    )
    pledge = policy.initial_pledge(actors, size)
    fee = policy.daily_fee(actors, size)
    sectors = {number: _sector(config, number, pledge, fee) for number in range(count)}
    miner = actors[FIRST_MINER]
    state: MinerState = miner.state
    state = replace(
        state,
        sectors=Amt(SECTORS, sectors),
        allocated=Bits(sectors),
        initial_pledge=pledge * count,
        deadlines=_deadlines(config, sectors, state.proving_period_start),
        deadline_cron_active=True,
    )
    actors[FIRST_MINER] = replace(miner, state=state)
    first_cron = deadline_now(state.proving_period_start, 0).last
    power: PowerState = actors[4].state
    power = replace(
        power,
        total_pledge=pledge * count,
        this_epoch_pledge=pledge * count,
        cron_queue=power.cron_queue.with_({first_cron: NO_CRON_EVENTS.appended(FIRST_MINER)}),
    )
    actors[4] = replace(actors[4], state=power)


def _sector(config: NetworkConfig, number: int, pledge: int, fee: int) -> SectorOnChainInfo:
    digest = bytearray(draw("genesis sector", config.seed, number))
    digest[31] &= 0x3F
    return SectorOnChainInfo(
        number=SectorNumber(number),
        seal_proof=config.seal_proof,
        sealed_cid=Cid.of_digest(FIL_COMMITMENT_SEALED, POSEIDON_BLS12_381_A2_FC1, bytes(digest)),
        activation=Epoch(0),
        expiration=Epoch(policy.MAX_SECTOR_EXTENSION),
        deal_weight=0,
        verified_deal_weight=0,
        initial_pledge=AttoFil(pledge),
        power_base_epoch=Epoch(0),
        sector_key_cid=None,
        flags=policy.SIMPLE_QA_POWER,
        daily_fee=AttoFil(fee),
    )


def _deadlines(
    config: NetworkConfig, sectors: dict[int, SectorOnChainInfo], period_start: int
) -> Deadlines:
    size = config.partition_sectors
    deadlines = {}
    for index in range(policy.DEADLINES):
        numbers = [number for number in sectors if number % policy.DEADLINES == index]
        place = Placement(period_start, index, config.sector_size)
        deadline = Deadline()
        for at, first in enumerate(range(0, len(numbers), size)):
            partition = Partition(frozenset(numbers[first : first + size]))
            deadline = placed(deadline, at, summarised(partition, sectors, place))
        deadlines[index] = deadline
    return Deadlines(deadlines)
