"""Checking a statement against a node, without the sidecar's store: any node of the network that still has the state.

Nothing in the statement is believed: headers, award traces, power, sectors, claims, messages, receipts and balances are
read again, and every line is computed anew by its own formula. What a node cannot answer (pruned state) is a failed
check that says so, never a pass.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

from deals.sectors import lookback_height
from fil_plus.attribution import Part, PartSource
from fil_plus.awards import AwardError, parse_awards
from fil_plus.periods import part_leaf, verify_inclusion
from fil_plus.pieces import HeldPiece, Provenance, ProvenanceKind
from fil_plus.power import EXTRA_MULTIPLIER, divide_verified_space, sector_qap
from fil_plus.terms import WHOLE_BPS, Basis
from lotus_client.address import Address
from lotus_client.chain import TipSet, TipSetKey
from lotus_client.cid import Cid
from lotus_client.errors import LotusError
from lotus_client.state import (
    ActorState,
    ChainMessage,
    Claim,
    MessageLookup,
    MinerPower,
    SectorOnChainInfo,
)
from lotus_client.types import ActorId, AttoFil, ClaimId, Epoch, SectorNumber
from sp_plugin.earnings.closing import CostTerms, HoldingsAt, period_costs
from sp_plugin.earnings.registry_json import shares_from_json
from sp_plugin.payouts.ports import find_actor

__all__ = ["AuditChain", "AuditReport", "Finding", "audit_statement"]


class AuditChain(Protocol):
    """The reads of a node; `LotusClient` has them."""

    async def head(self) -> TipSet: ...
    async def tipset(self, key: TipSetKey, /) -> TipSet: ...
    async def tipset_by_height(self, height: Epoch, tsk: TipSetKey, /) -> TipSet: ...
    async def tipset_after_height(self, height: Epoch, tsk: TipSetKey, /) -> TipSet: ...
    async def compute_state(self, height: Epoch, tsk: TipSetKey, /) -> Mapping[str, Any]: ...
    async def miner_power(self, provider: ActorId, tsk: TipSetKey, /) -> MinerPower: ...
    async def active_sectors(
        self, provider: ActorId, tsk: TipSetKey, /
    ) -> Sequence[SectorOnChainInfo]: ...
    async def claims(self, provider: ActorId, tsk: TipSetKey, /) -> Mapping[ClaimId, Claim]: ...
    async def actor(self, address: Address, tsk: TipSetKey, /) -> ActorState: ...
    async def messages_in_tipset(self, tsk: TipSetKey, /) -> Sequence[ChainMessage]: ...
    async def search_msg(
        self, cid: Cid, /, *, limit: int = -1, allow_replaced: bool = False
    ) -> MessageLookup | None: ...


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


class _Wrong(Exception):
    """A check that does not hold; the text is the finding's reason."""


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


@dataclass(frozen=True, slots=True)
class _Win:
    """What the chain says of one win."""

    credited: int
    shareable: int
    miner_qap: int
    sectors: Mapping[SectorNumber, SectorOnChainInfo]
    claims: Mapping[ClaimId, Claim]


class _Auditor:
    def __init__(self, statement: Mapping[str, Any], chain: AuditChain, head: TipSet) -> None:
        self.statement = statement
        self.chain = chain
        self.head = head
        self.provider = Address.parse(statement["provider"]).actor_id
        self.payee = Address.parse(statement["payee"])
        self.findings: list[Finding] = []
        self.wins: dict[str, _Win] = {}
        self.deficits: defaultdict[str, int] = defaultdict(int)

    async def run(self) -> None:
        statement = self.statement
        for period in statement["periods"]:
            name = f"period {period['period']}.{period['revision']}"
            for position, line in enumerate(period["lines"]):
                where = f"{name} line {position + 1}"
                await self._check(where, self._line(period, line))
            await self._check(f"{name} sums", self._sums(period))
            await self._check(f"{name} shares", self._shares(period))
            await self._check(f"{name} costs", self._costs(period))
        for payment in statement["payments"]:
            await self._check(f"payment {payment['message']}", self._payment(payment))
        await self._check("totals", self._totals())

    async def _check(self, where: str, work: Awaitable[str]) -> None:
        try:
            self.findings.append(Finding(where, ok=True, reason=await work))
        except _Wrong as wrong:
            self.findings.append(Finding(where, ok=False, reason=str(wrong)))
        except LotusError as error:
            reason = f"the node cannot answer: {error}"
            self.findings.append(Finding(where, ok=False, reason=reason))
        except (KeyError, TypeError, ValueError, IndexError, AwardError) as error:
            reason = f"a field is missing or malformed: {error!r}"
            self.findings.append(Finding(where, ok=False, reason=reason))

    # -- one line of a win ----------------------------------------------------------------------------------------

    async def _line(self, period: Mapping[str, Any], line: Mapping[str, Any]) -> str:
        win = await self._win(line)
        _same("credited", int(line["credited"]), win.credited)
        _same("miner_qap", int(line["miner_qap"]), win.miner_qap)
        include_tips = bool(period["settings"]["include_tips"])
        shareable = win.credited if include_tips else win.shareable
        _same("shareable", int(line["shareable"]), shareable)
        sector = win.sectors.get(SectorNumber(line["sector"]))
        if sector is None:
            raise _Wrong(f"sector {line['sector']} was not active at the look-back tipset")
        sector_size = int(line["sector_size"])
        _same("sector_qap", int(line["sector_qap"]), sector_qap(sector, sector_size))
        solstice = period["settings"]["solstice_epoch"]
        _same("verified", int(line["verified"]), self._verified(line, win, sector, solstice))
        self._proof(period, line)
        return "block, award, power, sector, piece and proof are as on chain"

    async def _win(self, line: Mapping[str, Any]) -> _Win:
        if line["win"] not in self.wins:
            self.wins[line["win"]] = await self._read_win(line)
        return self.wins[line["win"]]

    async def _read_win(self, line: Mapping[str, Any]) -> _Win:
        epoch = Epoch(line["epoch"])
        tipset = await self.chain.tipset_by_height(epoch, self.head.key)
        blocks = [block for block in tipset.blocks if str(block.cid) == line["win"]]
        if tipset.height != epoch or not blocks:
            raise _Wrong(f"block {line['win']} is not in the chain at epoch {epoch}")
        if blocks[0].miner != Address.of_id(self.provider):
            raise _Wrong(f"block {line['win']} was won by {blocks[0].miner}")
        _same("win_count", line["win_count"], blocks[0].win_count)
        awards = parse_awards(await self.chain.compute_state(epoch, tipset.key), self.provider)
        if len(awards) != 1:
            raise _Wrong(f"the trace of epoch {epoch} shows {len(awards)} awards of this provider")
        award = awards[0]
        lookback = await self.chain.tipset_after_height(lookback_height(epoch), tipset.key)
        power = await self.chain.miner_power(self.provider, lookback.key)
        sectors = await self.chain.active_sectors(self.provider, lookback.key)
        total = sum(sector_qap(sector, int(line["sector_size"])) for sector in sectors)
        _same("sum of the sectors' power", total, power.miner.qap)
        return _Win(
            credited=award.credited.value,
            shareable=max(0, award.credited.value - award.gas_reward.value),
            miner_qap=power.miner.qap,
            sectors={sector.number: sector for sector in sectors},
            claims=await self.chain.claims(self.provider, lookback.key),
        )

    def _verified(
        self,
        line: Mapping[str, Any],
        win: _Win,
        sector: SectorOnChainInfo,
        solstice_epoch: int | None,
    ) -> int:
        kind, _, name = str(line["piece"]).partition(":")
        after_solstice = solstice_epoch is not None and sector.activation >= solstice_epoch
        if kind != ProvenanceKind.CLAIM.value or after_solstice or sector.flags & 0x2:
            return 0
        claim = win.claims.get(ClaimId(int(name)))
        if claim is None or claim.sector != sector.number:
            raise _Wrong(f"claim {name} was not in sector {sector.number} at the look-back tipset")
        _same("piece_cid", line["piece_cid"], str(claim.data))
        _same("padded_size", line["padded_size"], claim.size)
        beside = [_held(claim) for claim in win.claims.values() if claim.sector == sector.number]
        alive = [
            piece for piece in beside if piece.is_held_at(Epoch(lookback_height(line["epoch"]) - 1))
        ]
        return divide_verified_space(sector, alive).by_piece.get(line["piece"], 0)

    def _proof(self, period: Mapping[str, Any], line: Mapping[str, Any]) -> None:
        part = Part(
            payee=self.payee,
            job=line["job"],
            piece_key=line["piece"],
            source=PartSource(line["source"]),
            basis=Basis(line["basis"]),
            amount=AttoFil(int(line["amount"])),
        )
        leaf = part_leaf(line["win"], Epoch(line["epoch"]), part)
        path = [bytes.fromhex(node) for node in line["proof"]]
        root = bytes.fromhex(period["root"])
        if not verify_inclusion(leaf, int(line["index"]), int(period["leaves"]), path, root):
            raise _Wrong("the line is not under the period's Merkle root")

    # -- a period -------------------------------------------------------------------------------------------------

    async def _shares(self, period: Mapping[str, Any]) -> str:
        """Per (win, job) the lines add up to what the terms give, rounded down once."""
        groups: defaultdict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
        for line in period["lines"]:
            groups[line["win"], line["job"]].append(line)
        for (win, job), lines in groups.items():
            shared = [line for line in lines if line["basis"] != Basis.FIXED_BUDGET.value]
            if shared:
                _check_shares(win, job, shared)
            for line in lines:
                if line["basis"] == Basis.FIXED_BUDGET.value:
                    most = int(line["shareable"]) * int(line["terms"]["max_share_bps"]) // WHOLE_BPS
                    if int(line["amount"]) > most:
                        raise _Wrong(f"win {win}: the budget of job {job} got more than its part")
        return f"{len(groups)} shares computed again"

    async def _sums(self, period: Mapping[str, Any]) -> str:
        """Lines add up to the jobs' sums, the pieces' gross and, less costs and deficits, to the net."""
        by_job: defaultdict[tuple[str, str], int] = defaultdict(int)
        by_piece: defaultdict[str, int] = defaultdict(int)
        for line in period["lines"]:
            by_job[line["job"], line["source"]] += int(line["amount"])
            by_piece[line["piece"]] += int(line["amount"])
        for job in period["jobs"]:
            for source in PartSource:
                _same(
                    f"{source} of job {job['job']}",
                    int(job[source]),
                    by_job.pop((job["job"], source), 0),
                )
        if any(by_job.values()):
            raise _Wrong("there are lines of a job without a sum")
        for net in period["nets"]:
            _same(f"gross of {net['piece']}", int(net["gross"]), by_piece.pop(net["piece"], 0))
            balance = int(net["gross"]) + int(net["carried"])
            balance -= int(net["fee_cost"]) + int(net["capital_cost"])
            _same(f"net of {net['piece']}", int(net["net"]), max(balance, 0))
            _same(f"deficit of {net['piece']}", int(net["deficit"]), min(balance, 0))
        if any(by_piece.values()):
            raise _Wrong("there are lines of a piece without a net amount")
        return "lines, jobs and pieces add up"

    async def _costs(self, period: Mapping[str, Any]) -> str:
        """Deficits continue the last period's, and costs are what pledge and daily fee on chain give."""
        for net in period["nets"]:
            _same(f"carried of {net['piece']}", int(net["carried"]), self.deficits[net["piece"]])
            self.deficits[net["piece"]] = int(net["deficit"])
        stated = {
            net["piece"]: (int(net["fee_cost"]), int(net["capital_cost"])) for net in period["nets"]
        }
        if not any(fee or capital for fee, capital in stated.values()):
            return "no costs were taken off"
        computed = await self._computed_costs(period)
        used = bool(period["shares"]["used"])
        for piece, (fee, capital) in stated.items():
            nothing = AttoFil(0)
            fee_now, capital_now = computed.get((self.payee, piece), (nothing, nothing))
            exact = (fee, capital) == (fee_now.value, capital_now.value)
            # a bonus for use bears its part of the cost only, divided by users that are not in this statement
            if not exact and (not used or fee > fee_now.value or capital > capital_now.value):
                raise _Wrong(
                    f"{piece}: costs of {fee} + {capital} attoFIL, the chain gives {fee_now} + {capital_now}"
                )
        return "costs computed again from pledge, daily fee and verified space on chain"

    async def _computed_costs(
        self, period: Mapping[str, Any]
    ) -> dict[tuple[Address, str], tuple[AttoFil, AttoFil]]:
        height = lookback_height(Epoch(period["last_epoch"]))
        lookback = await self.chain.tipset_after_height(height, self.head.key)
        claims = await self.chain.claims(self.provider, lookback.key)
        settings = period["settings"]
        holdings = HoldingsAt(
            epoch=Epoch(height - 1),
            sectors=await self.chain.active_sectors(self.provider, lookback.key),
            sector_size=int(settings["sector_size"]),
            pieces=[_held(claim) for claim in claims.values()],
            solstice_epoch=settings["solstice_epoch"],
        )
        produced, used = shares_from_json(period["shares"])
        terms = CostTerms(settings["capital_cost_apr_bps"], int(settings["input_window_epochs"]))
        return period_costs(holdings, produced, used, terms, last=Epoch(period["last_epoch"]))

    # -- payments and totals --------------------------------------------------------------------------------------

    async def _payment(self, payment: Mapping[str, Any]) -> str:
        cid, amount = Cid.parse(payment["message"]), int(payment["amount"])
        lookup = await self.chain.search_msg(cid, allow_replaced=False)
        if lookup is None or lookup.message != cid:
            raise _Wrong("the message is not on chain")
        if lookup.receipt.exit_code != 0:
            raise _Wrong(f"the message failed with exit code {lookup.receipt.exit_code}")
        execution = await self.chain.tipset(lookup.tipset)
        messages = await self.chain.messages_in_tipset(execution.parents)
        paid = [item.message for item in messages if item.cid == cid]
        if len(paid) != 1 or (paid[0].to, paid[0].value.value) != (self.payee, amount):
            raise _Wrong("the message does not pay this amount to this payee")
        rose = await self._balance(execution.key) - await self._balance(execution.parents)
        if rose == amount:
            return f"exit code 0, and the payee's balance rose by exactly {amount} attoFIL"
        others = [m for m in messages if self.payee in (m.message.to, m.message.from_)]
        if len(others) > 1:
            return f"exit code 0; other messages of the same tipset also moved the payee's balance ({rose})"
        raise _Wrong(f"the payee's balance changed by {rose} attoFIL, not by {amount}")

    async def _balance(self, key: TipSetKey) -> int:
        actor = await find_actor(self.chain, self.payee, key)
        return 0 if actor is None else actor.balance.value

    async def _totals(self) -> str:
        statement, totals = self.statement, self.statement["totals"]
        net = sum(int(n["net"]) for period in statement["periods"] for n in period["nets"])
        _same("net_accrued", int(totals["net_accrued"]), net)
        for source in PartSource:
            lines = (line for period in statement["periods"] for line in period["lines"])
            amount = sum(int(line["amount"]) for line in lines if line["source"] == source)
            _same(source, int(totals["accrued_by_source"][source]), amount)
        messages = [payment["message"] for payment in statement["payments"]]
        if len(set(messages)) != len(messages):
            raise _Wrong("a message stands for two payments")
        paid = sum(int(payment["amount"]) for payment in statement["payments"])
        _same("paid", int(totals["paid"]), paid)
        _same("released", int(totals["released"]), paid + int(totals["due"]))
        _same("vesting and released", int(totals["vesting"]) + int(totals["released"]), net)
        return "lines, nets, releases and payments add up"


def _check_shares(win: str, job: str, lines: Sequence[Mapping[str, Any]]) -> None:
    """Output shares are exact; a bonus for use is divided among users unknown here, so it has an upper bound only."""
    exact = all(line["source"] == PartSource.PRODUCED.value for line in lines)
    total = sum((_fraction(line) for line in lines), Fraction(0))
    amount = sum(int(line["amount"]) for line in lines)
    most = total.numerator * int(lines[0]["shareable"]) // total.denominator
    if amount > most or (exact and amount != most):
        raise _Wrong(f"win {win}: job {job} got {amount} attoFIL, its terms give {most}")


def _fraction(line: Mapping[str, Any]) -> Fraction:
    terms, size = line["terms"], int(line["padded_size"])
    produced = line["source"] == PartSource.PRODUCED.value
    counted = min(int(terms["counted_bytes"]), size) if produced else size
    bps = int(terms["output_bps"]) if produced else int(terms["input_bps"])
    bps = min(bps, int(terms["max_share_bps"]))
    if line["basis"] == Basis.VERIFIED_EXTRA.value:
        power = Fraction(EXTRA_MULTIPLIER * int(line["verified"]) * counted, size)
    else:
        power = Fraction(int(line["sector_qap"]) * counted, int(line["sector_size"]))
    return power * bps / (WHOLE_BPS * int(line["miner_qap"]))


def _held(claim: Claim) -> HeldPiece:
    return HeldPiece(
        provider=claim.provider,
        piece_cid=claim.data,
        padded_size=claim.size,
        payload_size=None,
        sector=claim.sector,
        offset=None,
        provenance=Provenance(ProvenanceKind.CLAIM, claim.id),
        client=claim.client,
        from_epoch=claim.term_start,
        to_epoch=claim.end,
    )


def _same(name: str, said: object, found: object) -> None:
    if said != found:
        raise _Wrong(f"{name}: the statement says {said}, the chain gives {found}")
