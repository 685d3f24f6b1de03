"""All checks of one statement, each a finding: what was compared, what does not fit, or what the node cannot answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fil_plus.awards import AwardError
from lotus_client.address import Address
from lotus_client.chain import TipSet
from lotus_client.errors import LotusError
from lotus_client.types import Epoch
from sp_plugin.audit.chain import AuditChain
from sp_plugin.audit.costs import CostsAudit
from sp_plugin.audit.lines import check_line
from sp_plugin.audit.payments import check_payment
from sp_plugin.audit.shares import SharesAudit
from sp_plugin.audit.wins import ChainWins
from sp_plugin.statement_checks import (
    WrongStatement,
    check_lines,
    check_schedule,
    check_sums,
    check_totals,
    check_used,
    same,
)

__all__ = ["AuditReport", "Finding", "audit_statement"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One check of one line. `reason` says what was compared, or what does not fit."""

    where: str
    ok: bool
    reason: str


@dataclass(frozen=True, slots=True)
class AuditReport:
    """All checks of a statement."""

    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether there were checks and all of them hold."""
        return bool(self.findings) and all(finding.ok for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "ok": self.ok,
            "findings": [{"where": f.where, "ok": f.ok, "reason": f.reason} for f in self.findings],
        }


async def audit_statement(statement: Mapping[str, Any], chain: AuditChain) -> AuditReport:
    """Check every line of `statement` (as parsed JSON) against `chain`.

    Bad statements give failed findings, not exceptions; a node that cannot be reached raises `LotusUnavailable`
    only through the findings' reasons.
    """
    try:
        auditor = _Auditor(statement, chain, await chain.head())
    except (KeyError, TypeError, ValueError) as error:
        return AuditReport((Finding("statement", ok=False, reason=f"not a statement: {error!r}"),))
    await auditor.run()
    return AuditReport(tuple(auditor.findings))


class _Auditor:
    def __init__(self, statement: Mapping[str, Any], chain: AuditChain, head: TipSet) -> None:
        self.statement = statement
        self.chain = chain
        self.head = head
        self.provider = Address.parse(statement["provider"]).actor_id
        self.payee = Address.parse(statement["payee"])
        self.findings: list[Finding] = []
        self.wins = ChainWins(chain, self.provider, head)
        self.shares = SharesAudit(self.provider, self.wins)
        self.costs = CostsAudit(chain, self.provider, self.payee, head)
        self.as_of = head

    async def run(self) -> None:
        statement = self.statement
        await self._check("statement", self._place())
        await self._check("lines", _plain(check_lines, statement["periods"]))
        for period in statement["periods"]:
            name = f"period {period['period']}.{period['revision']}"
            for position, line in enumerate(period["lines"]):
                where = f"{name} line {position + 1}"
                await self._check(where, self._line(period, line))
            await self._check(f"{name} sums", _plain(check_sums, period))
            await self._check(f"{name} shares", _plain(self.shares.split_again, period))
            await self._check(f"{name} uses", _plain(check_used, period))
            await self._check(f"{name} costs", self.costs.check(period))
        for payment in statement["payments"]:
            await self._check(
                f"payment {payment['message']}",
                check_payment(self.chain, statement, payment, self.payee),
            )
        await self._check("totals", _plain(check_totals, statement))
        await self._check("vesting", self._schedule())

    async def _check(self, where: str, work: Awaitable[str]) -> None:
        try:
            self.findings.append(Finding(where, ok=True, reason=await work))
        except WrongStatement as wrong:
            self.findings.append(Finding(where, ok=False, reason=str(wrong)))
        except LotusError as error:
            reason = f"the node cannot answer: {error}"
            self.findings.append(Finding(where, ok=False, reason=reason))
        except (KeyError, TypeError, ValueError, IndexError, AwardError) as error:
            reason = f"a field is missing or malformed: {error!r}"
            self.findings.append(Finding(where, ok=False, reason=reason))

    async def _line(self, period: Mapping[str, Any], line: Mapping[str, Any]) -> str:
        return check_line(await self.wins.of(line), period, line, self.payee)

    async def _place(self) -> str:
        """The statement is of this network and names a tipset of its chain."""
        same("network", self.statement["network"], await self.chain.network_name())
        epoch = Epoch(self.statement["as_of"]["epoch"])
        there = await self.chain.tipset_by_height(epoch, self.head.key)
        same("as_of", self.statement["as_of"]["tipset"], [str(cid) for cid in there.key])
        self.as_of = there
        return f"network and tipset at epoch {epoch} are as on chain"

    async def _schedule(self) -> str:
        funds = await self.chain.funds(self.provider, self.as_of.key)
        return check_schedule(self.statement, funds.proving_period_start)


async def _plain(check: Callable[..., str], *parts: Any) -> str:
    return check(*parts)
