"""The costs that a statement takes off, computed again from pledge, daily fee and verified space on chain."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from deals.held import claimed_piece
from deals.sectors import lookback_height
from lotus_client.address import Address
from lotus_client.chain import TipSet
from lotus_client.types import ActorId, AttoFil, Epoch
from sp_plugin.audit.chain import AuditChain
from sp_plugin.earnings.closing import CostTerms, HoldingsAt, bears_costs, period_costs
from sp_plugin.earnings.registry_json import shares_from_json
from sp_plugin.statement_checks import WrongStatement, same

__all__ = ["CostsAudit"]


class CostsAudit:
    """Checks the costs of one statement, period by period in its order: deficits go on from one to the next."""

    def __init__(self, chain: AuditChain, provider: ActorId, payee: Address, head: TipSet) -> None:
        self._chain = chain
        self._provider = provider
        self._payee = payee
        self._head = head
        self._deficits: defaultdict[str, int] = defaultdict(int)  # by piece

    async def check(self, period: Mapping[str, Any]) -> str:
        """Deficits continue the last period's, and costs are what pledge and daily fee on chain give.

        Raises:
            WrongStatement: they do not.
            LotusError: the node cannot tell.
        """
        for net in period["nets"]:
            same(f"carried of {net['piece']}", int(net["carried"]), self._deficits[net["piece"]])
            self._deficits[net["piece"]] = int(net["deficit"])
        stated = {
            net["piece"]: (int(net["fee_cost"]), int(net["capital_cost"])) for net in period["nets"]
        }
        shares = shares_from_json(period["shares"])
        if int(period["revision"]) or not bears_costs(*shares):
            if any(fee or capital for fee, capital in stated.values()):
                raise WrongStatement("a supplement and shares without costs have none taken off")
            return "no costs were taken off"
        computed = await self._computed(period)
        for payee, piece in computed:
            if payee == self._payee:
                stated.setdefault(piece, (0, 0))
        used = {item.piece_key for item in shares[1]}
        for piece, (fee, capital) in stated.items():
            nothing = AttoFil(0)
            fee_now, capital_now = computed.get((self._payee, piece), (nothing, nothing))
            exact = (fee, capital) == (fee_now.value, capital_now.value)
            # a bonus for use bears its part of the cost only, divided by users that are not in this statement
            if not exact and (
                piece not in used or fee > fee_now.value or capital > capital_now.value
            ):
                raise WrongStatement(
                    f"{piece}: costs of {fee} + {capital} attoFIL, the chain gives {fee_now} + {capital_now}"
                )
        return "costs computed again from pledge, daily fee and verified space on chain"

    async def _computed(
        self, period: Mapping[str, Any]
    ) -> dict[tuple[Address, str], tuple[AttoFil, AttoFil]]:
        height = lookback_height(Epoch(period["last_epoch"]))
        lookback = await self._chain.tipset_after_height(height, self._head.key)
        claims = await self._chain.claims(self._provider, lookback.key)
        settings = period["settings"]
        holdings = HoldingsAt(
            epoch=Epoch(height - 1),
            sectors=await self._chain.active_sectors(self._provider, lookback.key),
            sector_size=int(settings["sector_size"]),
            pieces=[claimed_piece(claim) for claim in claims.values()],
            solstice_epoch=settings["solstice_epoch"],
        )
        produced, used = shares_from_json(period["shares"])
        terms = CostTerms(settings["capital_cost_apr_bps"], int(settings["input_window_epochs"]))
        return period_costs(holdings, produced, used, terms, last=Epoch(period["last_epoch"]))
