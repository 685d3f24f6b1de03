"""The slow step that tries to read what is unknown: at the node in use, then at each further node of the configuration."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from deals.gaps import Gap, GapKind
from deals.refill import GapFiller, RefillReport, RefillStore
from lotus_client.client import LotusClient
from lotus_client.errors import LotusUnavailable
from lotus_client.types import ActorId
from sp_plugin.config import NodeConfig
from sp_plugin.node import api_infos_of, connect_each

__all__ = ["Refill", "refill_note"]

log = structlog.get_logger()


def _tell_nobody(_text: str, _filled: bool) -> None:
    return


class Refill:
    """Tries the gaps of one provider again.

    `tell` is called after every round: with what is still unknown ("" if nothing is), and whether something was filled.
    """

    def __init__(
        self, config: NodeConfig, node: LotusClient, store: RefillStore, provider: ActorId
    ) -> None:
        self.tell: Callable[[str, bool], None] = _tell_nobody
        self._config = config
        self._node = node
        self._store = store
        self._provider = provider
        self._said = ""

    async def step(self) -> bool:
        """One round over all gaps; never has more to do at once."""
        report = await self._at(self._node)
        filled = bool(report.filled)
        if report.refused and len(api_infos_of(self._config)) > 1:
            for name, node in connect_each(self._config).items():
                async with node:
                    try:
                        report = await self._at(node)
                    except LotusUnavailable as error:
                        log.info("gaps_not_asked", node=name, error=str(error))
                        continue
                filled = filled or bool(report.filled)
                if not report.refused:
                    break
        self._say(refill_note(report), filled=filled)
        return False

    async def _at(self, node: LotusClient) -> RefillReport:
        async with node.pinned():
            return await GapFiller(node, self._store, self._provider).fill()

    def _say(self, text: str, *, filled: bool) -> None:
        if text and text != self._said:
            log.warning("gaps_remain", text=text)
        self._said = text
        self.tell(text, filled)


def refill_note(report: RefillReport) -> str:
    """Which epochs are still unknown, why, and what an operator can do; empty if there are none."""
    parts = []
    if report.refused:
        parts.append(
            f"no node named here has {_listed(report.refused)}; it is tried again every ten minutes: name a node that kept "
            "this part of the chain in node.endpoints"
        )
    if report.waiting:
        parts.append(f"{_listed(report.waiting)} will be tried once that is final")
    return "; ".join(parts)


def _listed(gaps: tuple[Gap, ...]) -> str:
    return ", ".join(
        f"{'blocks won and events' if gap.kind is GapKind.CHAIN else 'events'} of epochs "
        f"{gap.from_epoch} to {gap.to_epoch - 1} ({gap.reason})"
        for gap in gaps
    )
