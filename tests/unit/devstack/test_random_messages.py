"""Whatever messages run, in whatever order, the state stays sound (actors.md §13)."""

from __future__ import annotations

import random
from collections.abc import Callable

from devstack.chain.invariants import check_invariants
from devstack.chain.machine import Sent
from devstack.chain.states import StateTree
from lotus_client import cbor
from lotus_client.actors import market as market_wire
from lotus_client.actors import miner_updates
from lotus_client.actors import multisig as multisig_wire
from lotus_client.actors import verifreg as verifreg_wire
from lotus_client.actors.datacap import (
    DATACAP_PRECISION,
    AllowanceChange,
    BurnFromParams,
    BurnParams,
    TransferFromParams,
)
from lotus_client.actors.methods import (
    MARKET,
    VERIFIED_REGISTRY,
    DatacapMethod,
    InitMethod,
    MarketMethod,
    MinerMethod,
    MultisigMethod,
    VerifregMethod,
)
from lotus_client.actors.miner import (
    DataActivationNotification,
    PieceActivationManifest,
    SectorDeclaration,
    SectorDeclarations,
    VerifiedAllocationKey,
    WithdrawBalanceParams,
)
from lotus_client.actors.system import ExecParams
from lotus_client.address import Address
from lotus_client.bitfield import BitField
from lotus_client.types import AttoFil
from tests.unit.devstack.chain_story import piece_cid
from tests.unit.devstack.direct import DAY, MIB, NAMES, Direct
from tests.unit.devstack.fil_plus_story import PROVIDER, grant, make_verifier, request, transfer
from tests.unit.devstack.market import Market
from tests.unit.devstack.miner_data import (
    GENESIS,
    SIZE,
    WORKER,
    extend,
    place,
    pre_commit,
    prove,
    prove_commit,
    update,
)
from tests.unit.devstack.test_actor_dispatch import MULTISIG_CODE


class Chaos:
    """Random messages, most of them sensible. Every choice comes from the seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.market = Market()
        self.chain: Direct = self.market.chain
        self.market.fund(10**12, 10**12)
        self.market.add(WORKER, Address.of_id(GENESIS), 10**12)
        self.next_sector = 1
        self.pieces: dict[int, tuple[PieceActivationManifest, ...]] = {}
        make_verifier(self.chain, "bob", 1 << 50)
        grant(self.chain, "bob", "alice", 512 * MIB)
        self.actions: list[Callable[[], Sent | int | None]] = [
            self.grant, self.allocate, self.allocate_by_operator, self.burn, self.allow,
            self.remove_expired, self.publish, self.publish, self.settle, self.withdraw,
            self.market_cron, self.begin_sector, self.begin_sector, self.finish_sector,
            self.finish_sector, self.update, self.extend, self.terminate, self.new_multisig,
            self.propose, self.approve, self.rewards, self.withdraw_miner, self.claims,
            self.faults, self.deadline_ends,
        ]  # fmt: skip

    def step(self) -> None:
        if self.random.random() < 0.3:
            self.chain.at(self.chain.epoch + self.random.choice((1, 12, 60, DAY, 30 * DAY)))
        self.random.choice(self.actions)()

    def name(self) -> str:
        return self.random.choice(NAMES)

    # DataCap --------------------------------------------------------------------------------------------------------

    def grant(self) -> Sent:
        return grant(self.chain, "bob", self.name(), self.random.choice((MIB, 64 * MIB)))

    def allocate(self) -> Sent:
        number = self.random.randrange(1, 40)
        provider = self.random.choice((PROVIDER, GENESIS))
        wait = self.random.choice((100, 50 * DAY))
        one = request(
            self.chain, number, SIZE, provider=provider, term_max=5 * 365 * DAY,
            expiration=self.chain.epoch + wait,
        )  # fmt: skip
        return transfer(self.chain, one, size=self.random.choice((SIZE, SIZE, MIB)))

    def allocate_by_operator(self) -> Sent:
        data = verifreg_wire.AllocationRequests((request(self.chain, 1, MIB),)).to_cbor()
        params = TransferFromParams(
            self.chain.id("alice"), VERIFIED_REGISTRY, MIB * DATACAP_PRECISION, data
        )
        return self.chain.call(self.name(), 7, DatacapMethod.TRANSFER_FROM, params.to_cbor())

    def burn(self) -> Sent:
        tokens = MIB * DATACAP_PRECISION
        if self.random.random() < 0.5:
            return self.chain.call(self.name(), 7, DatacapMethod.BURN, BurnParams(tokens).to_cbor())
        params = BurnFromParams(self.chain.id("alice"), tokens).to_cbor()
        return self.chain.call(self.name(), 7, DatacapMethod.BURN_FROM, params)

    def allow(self) -> Sent:
        params = AllowanceChange(self.chain.id(self.name()), MIB * DATACAP_PRECISION).to_cbor()
        method = self.random.choice(
            (DatacapMethod.INCREASE_ALLOWANCE, DatacapMethod.DECREASE_ALLOWANCE)
        )
        return self.chain.call(self.name(), 7, method, params)

    def remove_expired(self) -> Sent:
        allocations = self.random.random() < 0.7
        owner = self.chain.ids["alice"] if allocations else PROVIDER
        params = verifreg_wire.RemoveExpiredParams(owner).to_cbor()
        method = (
            VerifregMethod.REMOVE_EXPIRED_ALLOCATIONS
            if allocations
            else VerifregMethod.REMOVE_EXPIRED_CLAIMS
        )
        return self.chain.call(self.name(), 6, method, params)

    def claims(self) -> Sent | None:
        claims = self.chain.state(6).claims
        if not claims:
            return None
        claim = self.random.choice(list(claims.values()))
        longer = verifreg_wire.ClaimTerm(claim.provider, claim.id, claim.term_max + DAY)
        if self.random.random() < 0.5:
            return transfer(self.chain, extensions=(longer,), size=claim.size)
        params = verifreg_wire.ExtendClaimTermsParams((longer,)).to_cbor()
        return self.chain.call("alice", 6, VerifregMethod.EXTEND_CLAIM_TERMS, params)

    # market ---------------------------------------------------------------------------------------------------------

    def publish(self) -> Sent:
        deals = [
            self.market.proposal(
                self.random.randrange(1, 40),
                piece_size=SIZE,
                verified_deal=self.random.random() < 0.5,
                start_epoch=(start := self.chain.epoch + self.random.choice((5, 100, 3 * DAY))),
                end_epoch=start + self.random.choice((180, 200, 300)) * DAY,
                storage_price_per_epoch=AttoFil(self.random.randrange(4)),
                provider_collateral=AttoFil(self.random.randrange(1000)),
                client_collateral=AttoFil(self.random.randrange(1000)),
            )
            for _ in range(self.random.randrange(1, 4))
        ]
        return self.market.publish(*deals)

    def settle(self) -> Sent:
        upper = self.chain.state(5).next_id + 2
        wanted = BitField.from_ints({self.random.randrange(upper) for _ in range(3)})
        return self.chain.call(
            self.name(), 5, MarketMethod.SETTLE_DEAL_PAYMENTS, cbor.encode(wanted.encode())
        )

    def withdraw(self) -> Sent:
        who = self.random.choice((self.chain.id("alice"), Address.of_id(PROVIDER)))
        params = market_wire.MarketWithdrawParams(who, AttoFil(self.random.randrange(10**6)))
        caller = self.random.choice(("alice", "owner-1"))
        return self.chain.call(caller, 5, MarketMethod.WITHDRAW_BALANCE, params.to_cbor())

    def market_cron(self) -> Sent:
        return self.chain.call(3, 5, MarketMethod.CRON_TICK)

    # sectors --------------------------------------------------------------------------------------------------------

    def piece(self, provider: int) -> PieceActivationManifest:
        """A piece that fulfils an allocation and a deal, if there are some."""
        deals = [
            (deal_id, deal)
            for deal_id, deal in self.chain.state(5).proposals.items()
            if deal.provider.actor_id == provider and deal_id not in self.chain.state(5).states
        ]
        if deals and self.random.random() < 0.7:
            deal_id, deal = self.random.choice(deals)
            number = self.chain.state(5).pending_deal_allocation_ids.get(deal_id)
            key = None if number is None else VerifiedAllocationKey(deal.client.actor_id, number)
            notify = (DataActivationNotification(MARKET, cbor.encode(deal_id)),)
            return PieceActivationManifest(deal.piece_cid, SIZE, key, notify)
        for allocation in self.chain.state(6).allocations.values():
            if allocation.provider == provider and allocation.size == SIZE:
                key = VerifiedAllocationKey(allocation.client, allocation.id)
                return PieceActivationManifest(allocation.data, SIZE, key)
        return PieceActivationManifest(piece_cid(self.random.randrange(1, 40)), SIZE)

    def begin_sector(self) -> None:
        number, self.next_sector = self.next_sector, self.next_sector + 1
        pieces = (self.piece(PROVIDER),)
        pre_commit(self.chain, number, *pieces, life=self.random.choice((250, 400)) * DAY)
        self.pieces[number] = pieces
        self.chain.at(self.chain.epoch + 12)

    def finish_sector(self) -> Sent | None:
        waiting = list(self.chain.state(PROVIDER).pre_committed)
        if not waiting:
            return None
        number = self.random.choice(waiting)
        return prove_commit(
            self.chain, number, *self.pieces[number], require=self.random.random() < 0.3
        )

    def update(self) -> Sent:
        number = self.random.randrange(96)
        return prove(self.chain, update(self.chain, number, self.piece(GENESIS)))

    def extend(self) -> int:
        number = self.random.randrange(96)
        sector = self.chain.state(GENESIS).sectors[number]
        claims = [
            one.id
            for one in self.chain.state(6).claims.values()
            if one.sector == number and one.provider == GENESIS
        ]
        expiration = sector.expiration + self.random.randrange(50) * DAY
        if not claims:
            return extend(self.chain, expiration, [number])
        cut = self.random.randrange(len(claims) + 1)
        listed = miner_updates.SectorClaim(number, tuple(claims[:cut]), tuple(claims[cut:]))
        return extend(self.chain, expiration, [], [listed])

    def _declare(self, method: int) -> Sent | None:
        live = [
            number
            for deadline in self.chain.state(PROVIDER).deadlines.values()
            for partition in deadline.partitions
            for number in partition.live
        ]
        if not live:
            return None
        number = self.random.choice(live)
        one = SectorDeclaration(*place(self.chain, number, PROVIDER), BitField.from_ints([number]))
        params = SectorDeclarations((one,)).to_cbor()
        return self.chain.call("worker-1", PROVIDER, method, params)

    def terminate(self) -> Sent | None:
        return self._declare(MinerMethod.TERMINATE_SECTORS)

    def faults(self) -> Sent | None:
        methods = (MinerMethod.DECLARE_FAULTS, MinerMethod.DECLARE_FAULTS_RECOVERED)
        return self._declare(self.random.choice(methods))

    def deadline_ends(self) -> Sent:
        estimate = [cbor.encode_bigint(1), cbor.encode_bigint(0)]
        event = cbor.encode([b"\x81\x01", estimate, estimate])
        miner = self.random.choice((PROVIDER, GENESIS))
        return self.chain.call(4, miner, MinerMethod.ON_DEFERRED_CRON_EVENT, event)

    def rewards(self) -> Sent:
        value = self.random.randrange(10**18)
        params = cbor.encode([cbor.encode_bigint(value), cbor.encode_bigint(value // 9)])
        return self.chain.call(2, PROVIDER, MinerMethod.APPLY_REWARDS, params, value)

    def withdraw_miner(self) -> Sent:
        params = WithdrawBalanceParams(AttoFil(self.random.randrange(10**19))).to_cbor()
        return self.chain.call("owner-1", PROVIDER, MinerMethod.WITHDRAW_BALANCE, params)

    # multisigs ------------------------------------------------------------------------------------------------------

    def new_multisig(self) -> Sent:
        signers = tuple(self.chain.id(name) for name in self.random.sample(NAMES, 3))
        constructor = multisig_wire.ConstructorParams(
            signers, self.random.randrange(1, 4), self.random.choice((0, 1000)), self.chain.epoch
        )
        params = ExecParams(MULTISIG_CODE, constructor.to_cbor()).to_cbor()
        return self.chain.call("dave", 1, InitMethod.EXEC, params, self.random.randrange(10**9))

    def _multisig(self) -> int | None:
        found = [
            one for one, actor in self.chain.machine.actors.items()
            if actor.code == "multisig" and one > 1000
        ]  # fmt: skip
        return self.random.choice(found) if found else None

    def propose(self) -> Sent | None:
        wallet = self._multisig()
        if wallet is None:
            return None
        signer = self.chain.id(self.name())
        inner = self.random.choice(
            (
                (signer, 0, b"", self.random.randrange(10**6)),
                (Address.of_id(wallet), MultisigMethod.ADD_SIGNER, multisig_wire.AddSignerParams(signer, True).to_cbor(), 0),
                (Address.of_id(wallet), MultisigMethod.REMOVE_SIGNER, multisig_wire.AddSignerParams(signer, False).to_cbor(), 0),
            )
        )  # fmt: skip
        to, method, params, value = inner
        call = multisig_wire.ProposeParams(to, AttoFil(value), method, params).to_cbor()
        return self.chain.call(self.name(), wallet, MultisigMethod.PROPOSE, call)

    def approve(self) -> Sent | None:
        wallet = self._multisig()
        if wallet is None:
            return None
        txn = self.random.randrange(self.chain.state(wallet).next_txn + 1)
        params = multisig_wire.TxnIdParams(txn).to_cbor()
        method = self.random.choice((MultisigMethod.APPROVE, MultisigMethod.CANCEL))
        return self.chain.call(self.name(), wallet, method, params)


def check_progress(before: StateTree, after: StateTree) -> None:
    """What only ever grows, and what never comes back."""
    assert after.actors[99].balance >= before.actors[99].balance
    assert after.actors[6].state.next_allocation_id >= before.actors[6].state.next_allocation_id
    assert after.actors[5].state.next_id >= before.actors[5].state.next_id
    assert after.actors[1].state.next_id >= before.actors[1].state.next_id
    for miner in (GENESIS, PROVIDER):
        assert before.actors[miner].state.allocated <= after.actors[miner].state.allocated


# Claims and deals end only after months, which the runs rarely reach.
SEEN = {
    "allocation", "allocation-removed", "claim", "claim-updated", "deal-activated",
    "deal-published", "deal-terminated", "sector-activated",
    "sector-terminated", "sector-updated", "verifier-balance",
}  # fmt: skip


def test_random_messages_leave_the_state_sound() -> None:
    seen: set[str] = set()
    for seed in range(5):
        chaos = Chaos(seed)
        before = chaos.chain.machine.tree()
        for _ in range(40):
            for _ in range(4):  # the check costs more than the messages
                chaos.step()
                seen |= set(chaos.chain.events)
            problems = check_invariants(chaos.chain.machine.tree())
            assert problems == [], f"seed {seed}"
            after = chaos.chain.machine.tree()
            check_progress(before, after)
            before = after
    assert seen >= SEEN


def test_a_failed_message_leaves_state_and_events_as_they_were() -> None:
    chaos = Chaos(99)
    failures = 0
    for _ in range(300):
        root = chaos.chain.machine.tree().root
        epoch = chaos.chain.epoch
        sent = chaos.random.choice(chaos.actions)()
        if isinstance(sent, Sent) and sent.exit_code and epoch == chaos.chain.epoch:
            failures += 1
            assert chaos.chain.machine.tree().root == root
            assert chaos.chain.machine.events == []
        chaos.chain.at(chaos.chain.epoch + 1)
    assert failures > 20
