"""The market actor as its users call it."""

from __future__ import annotations

from dataclasses import dataclass, field

from devstack.chain.machine import Sent
from lotus_client import cbor
from lotus_client.actors import market as wire
from lotus_client.actors import market_sectors as sectors
from lotus_client.actors.methods import MarketMethod as Method
from lotus_client.address import Address
from lotus_client.bitfield import BitField
from lotus_client.types import AttoFil
from tests.unit.devstack.chain_story import piece_cid
from tests.unit.devstack.direct import DAY, MIB, Direct
from tests.unit.devstack.fil_plus_story import PROVIDER

EXPIRED, NOT_ACTIVATED = 32, 33


SEAL_8_MIB = 6


START, TERM = 1000, 200 * DAY


@dataclass
class Market:
    chain: Direct = field(default_factory=Direct)

    def add(self, who: str, whose: Address, value: int) -> None:
        params = cbor.encode(whose.to_bytes())
        self.chain.ok(who, 5, Method.ADD_BALANCE, params, value)

    def fund(self, client: int = 10**9, provider: int = 10**9) -> None:
        self.add("alice", self.chain.id("alice"), client)
        self.add("owner-1", Address.of_id(PROVIDER), provider)

    def proposal(self, number: int = 1, **changes: object) -> wire.DealProposal:
        fields: dict[str, object] = {
            "piece_cid": piece_cid(number),
            "piece_size": MIB,
            "verified_deal": False,
            "client": self.chain.key("alice").address,
            "provider": Address.of_id(PROVIDER),
            "label": "label",
            "start_epoch": START,
            "end_epoch": START + TERM,
            "storage_price_per_epoch": AttoFil(3),
            "provider_collateral": AttoFil(500),
            "client_collateral": AttoFil(200),
        } | changes
        return wire.DealProposal(**fields)  # type: ignore[arg-type]

    def publish(
        self, *deals: wire.DealProposal, who: str = "worker-1", signer: str = "alice"
    ) -> Sent:
        signed = tuple(
            wire.ClientDealProposal(deal, self.chain.key(signer).sign(deal.to_cbor()).to_bytes())
            for deal in deals
        )
        params = wire.PublishStorageDealsParams(signed).to_cbor()
        return self.chain.call(who, 5, Method.PUBLISH_STORAGE_DEALS, params)

    def published(self, *deals: wire.DealProposal) -> wire.PublishStorageDealsReturn:
        sent = self.publish(*deals)
        assert sent.exit_code == 0
        return wire.PublishStorageDealsReturn.from_cbor(sent.return_)

    def activate(self, deal: int, number: int = 1, sector: int = 7, **changes: int) -> bool:
        fields = {"size": MIB, "expiry": START + TERM + DAY, "miner": PROVIDER} | changes
        piece = sectors.PieceChange(piece_cid(number), fields["size"], cbor.encode(deal))
        change = sectors.SectorChanges(sector, fields["expiry"], (piece,))
        params = sectors.SectorContentChangedParams((change,)).to_cbor()
        raw = self.chain.ok(fields["miner"], 5, Method.SECTOR_CONTENT_CHANGED, params)
        return sectors.SectorContentChangedReturn.from_cbor(raw).sectors == ((True,),)

    def settle(self, *deals: int) -> sectors.SettleDealPaymentsReturn:
        params = cbor.encode(BitField.from_ints(deals).encode())
        raw = self.chain.ok("dave", 5, Method.SETTLE_DEAL_PAYMENTS, params)
        return sectors.SettleDealPaymentsReturn.from_cbor(raw)

    def balance(self, whose: Address) -> tuple[int, int]:
        raw = self.chain.ok("dave", 5, Method.GET_BALANCE, cbor.encode(whose.to_bytes()))
        found = wire.MarketBalance.from_cbor(raw)
        return found.balance.value, found.locked.value

    def get(self, method: int, deal: int) -> Sent:
        return self.chain.call("dave", 5, method, cbor.encode(deal))

    def tick(self) -> None:
        self.chain.ok(3, 5, Method.CRON_TICK)

    @property
    def state(self):  # type: ignore[no-untyped-def]
        return self.chain.state(5)
