"""Typed reads of one state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from devstack.chain.actors import policy, vesting
from devstack.chain.actors.miner_state import available_balance, deadline_now
from devstack.chain.actors.power import CONSENSUS_MINER_MIN_POWER
from devstack.chain.machine import record_of
from devstack.chain.market_reads import MarketView
from devstack.chain.states import (
    AccountState,
    Actor,
    InitState,
    MinerState,
    PowerState,
    StateTree,
    VerifregState,
)
from devstack.chain.values import ChainLookupError, ProvingDeadline, SectorPlace
from lotus_client.address import Address
from lotus_client.cid import Cid
from lotus_client.state import (
    ActorState,
    Allocation,
    Beneficiary,
    Claim,
    MinerFunds,
    MinerInfo,
    MinerPower,
    PowerPair,
    RewardState,
    SectorOnChainInfo,
)
from lotus_client.types import ActorId, AllocationId, AttoFil, ClaimId, Epoch, SectorNumber

__all__ = ["StateView"]


class StateView:
    """Reads of one state tree. Unknown actors raise ChainLookupError, absent items are None.

    `epoch` is the height of the tipset that the state is read at: what proving deadlines and due vesting refer to.
    """

    def __init__(self, tree: StateTree, epoch: Epoch) -> None:
        self.tree = tree
        self.epoch = epoch

    @property
    def root(self) -> Cid:
        """The state root."""
        return self.tree.root

    def actor_id(self, address: Address) -> ActorId | None:
        """The id behind an address; None when it is not on chain."""
        if address.protocol == 0:
            return address.actor_id if address.actor_id in self.tree.actors else None
        init: InitState = self.tree.actors[1].state
        found = init.address_map.get(address)
        return None if found is None else ActorId(found)

    def _actor(self, address: Address) -> Actor:
        actor_id = self.actor_id(address)
        if actor_id is None:
            raise ChainLookupError(f"actor not found: {address}")
        return self.tree.actors[actor_id]

    def _miner(self, address: Address) -> MinerState:
        actor = self._actor(address)
        if actor.code != "storageminer":
            raise ChainLookupError(f"{address} is not a storage miner but a {actor.code} actor")
        state: MinerState = actor.state
        return state

    def account_key(self, address: Address) -> Address:
        """The key address (f1, f3) of an account; of what has one, the f410 address (Lotus `chain/vm`)."""
        actor = self._actor(address)
        if actor.delegated is not None:
            return actor.delegated
        if actor.code != "account":
            raise ChainLookupError(f"{address} is not an account")
        state: AccountState = actor.state
        return state.address

    def robust_address(self, address: Address) -> Address | None:
        """The f1, f2, f3 or f410 address of an actor; None for singletons, which have none."""
        actor_id = self.actor_id(address)
        init: InitState = self.tree.actors[1].state
        return next((key for key, value in init.address_map.items() if value == actor_id), None)

    def actor(self, address: Address) -> ActorState:
        """The actor's record."""
        return record_of(self._actor(address))

    def actor_state(self, address: Address) -> Any:
        """The actor's state, a frozen dataclass of `devstack.chain.states`."""
        return self._actor(address).state

    def code_name(self, address: Address) -> str:
        """The bundle's name of the actor's code, such as "storageminer"."""
        return self._actor(address).code

    def balance(self, address: Address) -> AttoFil:
        """The actor's balance; 0 for an unknown address, as WalletBalance."""
        actor_id = self.actor_id(address)
        return AttoFil(0 if actor_id is None else self.tree.actors[actor_id].balance)

    # Fil+ ---------------------------------------------------------------------------------------------------------

    @property
    def _registry(self) -> VerifregState:
        state: VerifregState = self.tree.actors[6].state
        return state

    def allocations(self, client: Address) -> Mapping[AllocationId, Allocation]:
        """The client's pending allocations, also expired ones that nobody removed."""
        owner = self.actor_id(client)
        mine = {} if owner is None else self._registry.allocations.of(owner)
        return {AllocationId(one): mine[one] for one in sorted(mine)}

    def all_allocations(self) -> Mapping[AllocationId, Allocation]:
        """All pending allocations."""
        return {item.id: item for item in self._registry.allocations.values()}

    def claims(self, provider: Address) -> Mapping[ClaimId, Claim]:
        """The provider's claims, also expired ones that nobody removed."""
        owner = self.actor_id(provider)
        mine = {} if owner is None else self._registry.claims.of(owner)
        return {ClaimId(one): mine[one] for one in sorted(mine)}

    def all_claims(self) -> Mapping[ClaimId, Claim]:
        """All claims."""
        return {item.id: item for item in self._registry.claims.values()}

    def datacap(self, client: Address) -> int | None:
        """The client's unspent DataCap in bytes; None without any."""
        holder = self.actor_id(client)
        balances: Mapping[int, int] = self.tree.actors[7].state.balances
        return None if holder is None else balances.get(holder)

    def verifier_datacap(self, verifier: Address) -> int | None:
        """What a verifier may still grant, in bytes; None when it is none."""
        holder = self.actor_id(verifier)
        return None if holder is None else self._registry.verifiers.get(holder)

    def root_key(self) -> Address:
        """The address that may add verifiers."""
        return Address.of_id(self._registry.root_key)

    @property
    def market(self) -> MarketView:
        """The storage market's deals and balances."""
        return MarketView(self.tree.actors[5].state)

    # miners -------------------------------------------------------------------------------------------------------

    def miners(self) -> list[Address]:
        """All miner actors, by id."""
        return [Address.of_id(one) for one in sorted(self.tree.actors[4].state.claims)]

    def miner_info(self, miner: Address) -> MinerInfo:
        """Keys and sizes."""
        details = self._miner(miner).details
        terms = details.beneficiary
        return MinerInfo(
            owner=Address.of_id(details.owner),
            worker=Address.of_id(details.worker),
            control_addresses=tuple(Address.of_id(one) for one in details.controls),
            sector_size=details.sector_size,
            window_post_proof_type=details.window_post_proof,
            beneficiary=Beneficiary(
                Address.of_id(terms.address),
                AttoFil(terms.quota),
                AttoFil(terms.used_quota),
                Epoch(terms.expiration),
            ),
        )

    def miner_power(self, miner: Address) -> MinerPower:
        """The miner's power and the network's; of an unknown miner, none."""
        power: PowerState = self.tree.actors[4].state
        actor_id = self.actor_id(miner)
        raw, qap = (0, 0) if actor_id is None else power.claims.get(actor_id, (0, 0))
        return MinerPower(
            PowerPair(raw, qap),
            PowerPair(power.total_raw, power.total_qap),
            raw >= CONSENSUS_MINER_MIN_POWER,
        )

    def sectors(self, miner: Address) -> Mapping[SectorNumber, SectorOnChainInfo]:
        """All committed sectors, with the ended ones."""
        return {SectorNumber(key): one for key, one in self._miner(miner).sectors.items()}

    def active_sectors(self, miner: Address) -> Mapping[SectorNumber, SectorOnChainInfo]:
        """The sectors that count for power."""
        return self._some(miner, "active")

    def live_sectors(self, miner: Address) -> Mapping[SectorNumber, SectorOnChainInfo]:
        """The sectors that have not ended, faulty and unproven ones too."""
        return self._some(miner, "live")

    def _some(self, miner: Address, kind: str) -> Mapping[SectorNumber, SectorOnChainInfo]:
        state = self._miner(miner)
        numbers = sorted(
            number
            for deadline in state.deadlines.values()
            for partition in deadline.partitions
            for number in getattr(partition, kind)
        )
        return {SectorNumber(number): state.sectors[number] for number in numbers}

    def faults(self, miner: Address) -> frozenset[SectorNumber]:
        """The faulty sectors, recovering ones too."""
        return frozenset(
            SectorNumber(number)
            for deadline in self._miner(miner).deadlines.values()
            for partition in deadline.partitions
            for number in partition.faults
        )

    def recoveries(self, miner: Address) -> frozenset[SectorNumber]:
        """The faulty sectors that were declared recovered."""
        return frozenset(
            SectorNumber(number)
            for deadline in self._miner(miner).deadlines.values()
            for partition in deadline.partitions
            for number in partition.recoveries
        )

    def sector_place(self, miner: Address, sector: SectorNumber) -> SectorPlace | None:
        """Deadline and partition of a committed sector; None when there is no such sector."""
        for index, deadline in self._miner(miner).deadlines.items():
            for at, partition in enumerate(deadline.partitions):
                if sector in partition.sectors:
                    return SectorPlace(index, at)
        return None

    def precommit_epoch(self, miner: Address, sector: SectorNumber) -> Epoch | None:
        """When a sector was pre-committed that is not proven yet; None otherwise."""
        found = self._miner(miner).pre_committed.get(sector)
        return None if found is None else Epoch(found.epoch)

    def miner_funds(self, miner: Address) -> MinerFunds:
        """The money fields of the miner's state."""
        state = self._miner(miner)
        return MinerFunds(
            balance=self.balance(miner),
            pre_commit_deposits=AttoFil(state.pre_commit_deposits),
            locked_funds=AttoFil(state.locked_funds),
            fee_debt=AttoFil(state.fee_debt),
            initial_pledge=AttoFil(state.initial_pledge),
            proving_period_start=Epoch(state.proving_period_start),
        )

    def available_balance(self, miner: Address) -> AttoFil:
        """What could be withdrawn now, due vesting counted; never negative."""
        state = vesting.unlock_due(vesting.settled(self._miner(miner)), self.epoch)
        return AttoFil(max(available_balance(state, self.balance(miner).value), 0))

    def vesting(self, miner: Address) -> tuple[tuple[Epoch, AttoFil], ...]:
        """What still vests, by epoch."""
        steps = vesting.all_steps(self._miner(miner))
        return tuple((Epoch(epoch), AttoFil(amount)) for epoch, amount in steps)

    def proving_deadline(self, miner: Address) -> ProvingDeadline:
        """The deadline that is open at the state's epoch."""
        info = deadline_now(self._miner(miner).proving_period_start, self.epoch)
        return ProvingDeadline(
            current_epoch=self.epoch,
            period_start=Epoch(info.period_start),
            index=info.index,
            open=Epoch(info.open),
            close=Epoch(info.close),
            challenge=Epoch(info.challenge),
            fault_cutoff=Epoch(info.fault_cutoff),
        )

    # network ------------------------------------------------------------------------------------------------------

    def reward(self) -> RewardState:
        """What the next epoch's winners will share."""
        state = self.tree.actors[2].state
        return RewardState(
            AttoFil(state.this_epoch_reward),
            Epoch(state.epoch),
            AttoFil(state.total_storage_power_reward),
        )

    def circulating_supply(self) -> AttoFil:
        """FIL that is neither unminted, reserved, burnt nor pledged."""
        return AttoFil(policy.circulating_supply(self.tree.actors))
