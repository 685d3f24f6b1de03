"""What the provider earned and whose it is, as the service and its API ask for it: opened once the chain was followed."""

from __future__ import annotations

from typing import Any

from lotus_client.address import Address
from lotus_client.client import LotusClient
from lotus_client.node import NodeCapabilities
from lotus_client.types import ActorId, Epoch
from sp_plugin.config import EarningsConfig
from sp_plugin.earnings.ingest import Earnings, EarningsStep
from sp_plugin.earnings.split_inputs import EarningsSettings
from sp_plugin.errors import Conflict
from sp_plugin.lineage import Lineage
from sp_plugin.node import solstice_epoch
from sp_plugin.statements import Statements
from sp_plugin.store.chain import ChainRepository
from sp_plugin.store.earnings import EarningsRepository
from sp_plugin.treasury import Treasury

__all__ = ["Earning"]


class Earning:
    """Earnings of one provider under the terms of the configuration."""

    def __init__(
        self,
        terms: EarningsConfig,
        node: LotusClient,
        *,
        chain: ChainRepository,
        lineage: Lineage,
        store: EarningsRepository,
        treasury: Treasury,
        found: NodeCapabilities,
        provider: ActorId,
        sector_size: int,
    ) -> None:
        self._terms = terms
        self._node = node
        self._chain = chain
        self._lineage = lineage
        self._store = store
        self._treasury = treasury
        self._found = found
        self._provider = provider
        self._sector_size = sector_size
        self._earnings: Earnings | None = None
        self._settings: EarningsSettings | None = None

    async def step(self) -> EarningsStep | None:
        """Record wins that became final, close periods, release what vested; None before the chain was followed.

        Raises:
            LotusWrongNetwork: the node serves another chain by now.
        """
        earnings = await self._opened()
        if earnings is None:
            return None
        await self._treasury.same_chain.check()
        await self._lineage.step()  # a period must not close before the outputs in it are known
        return await earnings.step()

    async def backfill(self, first: Epoch, last: Epoch) -> int:
        """Read the wins of past epochs again; how many were read.

        Raises:
            Conflict: the chain was not followed yet.
        """
        earnings = await self._opened()
        if earnings is None:
            raise _not_followed()
        await self._treasury.same_chain.check()
        return await earnings.backfill(first, last)

    async def statement(self, payee: Address) -> dict[str, Any]:
        """The statement of a payee at the newest final tipset.

        Raises:
            Conflict: the chain was not followed yet.
        """
        settings = await self._opened_settings()
        if settings is None:
            raise _not_followed()
        statements = Statements(
            self._store, self._treasury.ledger, self._chain, settings, self._found.network_name
        )
        return await statements.statement(payee, await self._node.finalized_tipset())

    async def _opened(self) -> Earnings | None:
        settings = await self._opened_settings()
        if self._earnings is None and settings is not None:
            self._earnings = Earnings(
                self._node,
                self._chain,
                self._lineage,
                earnings=self._store,
                ledger=self._treasury.ledger,
                settings=settings,
            )
        return self._earnings

    async def _opened_settings(self) -> EarningsSettings | None:
        """How earnings are split, from the first epoch this sidecar followed on; None before it has followed any.

        Where they begin is kept at the first step, so that later only the kept one counts.
        """
        if self._settings is None and (processed := await self._chain.processed(self._provider)):
            self._settings = EarningsSettings(
                provider=self._provider,
                sector_size=self._sector_size,
                start=processed[0].height,
                capital_cost_apr_bps=self._terms.capital_cost_apr_bps,
                include_tips=self._terms.include_tips,
                solstice_epoch=solstice_epoch(
                    self._found.network_version, await self._node.network_params()
                ),
                input_window_epochs=self._terms.input_window_epochs,
            )
        return self._settings


def _not_followed() -> Conflict:
    return Conflict("the chain has not been followed yet; try again in a minute")
