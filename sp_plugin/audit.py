"""Checking a statement against a node, without the sidecar's store: any node of the network that still has the state.

Nothing in the statement is believed: headers, award traces, power, sectors, claims, messages, receipts and balances are
read again, and every line is computed anew by its own formula. What a node cannot answer (pruned state) is a failed
check that says so, never a pass.

Information only, believed and not checked: the terms themselves (they stand in the job's approved bundle, which the payee
has), `solstice_epoch` and `capital_cost_apr_bps` of the settings as the operator's, a period's `unknown_wins`, the lists
`unknown_wins` and `open_period` (what is not divided yet), a period's `released_to` beyond the step it is in, `leaves` and
`sector_size` of a period without lines, the counted bytes of a budget (only that there are some), that a sub-piece lies in its
piece (only that it has room there; `sp_plugin.statement_proofs` checks the proofs), and `ledger` (an anchor to compare with a later `ledger show`).
Of a bonus for use, and of a budget that shares a win with others', the audit knows an upper bound only, for the other
payees are not in the statement. Wins that a statement leaves out are not looked for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from deals.sectors import lookback_height
from fil_plus.attribution import (
    Part,
    PartSource,
    ProducedPiece,
    WinInputs,
    WinUnknown,
    split_win,
)
from fil_plus.awards import AwardError, parse_awards
from fil_plus.periods import part_leaf, verify_inclusion
from fil_plus.pieces import HeldPiece, Provenance, ProvenanceKind
from fil_plus.power import divide_verified_space, sector_qap
from fil_plus.regimes import FULL_QA_POWER_FLAG
from fil_plus.terms import Basis
from lotus_client.address import Address
from lotus_client.chain import TipSet, TipSetKey
from lotus_client.cid import Cid
from lotus_client.errors import LotusError
from lotus_client.state import (
    ActorState,
    ChainMessage,
    Claim,
    MessageLookup,
    MinerFunds,
    MinerPower,
    SectorOnChainInfo,
)
from lotus_client.types import (
    ActorId,
    AttoFil,
    ClaimId,
    Epoch,
    NetworkVersion,
    PaddedPieceSize,
    SectorNumber,
)
from sp_plugin.earnings.closing import CostTerms, HoldingsAt, bears_costs, period_costs
from sp_plugin.earnings.registry_json import shares_from_json, sub_piece_from_json
from sp_plugin.payouts.ports import find_actor
from sp_plugin.statement_checks import (
    WrongStatement,
    check_lines,
    check_schedule,
    check_sums,
    check_totals,
    check_used,
    same,
)

__all__ = ["AuditChain", "AuditReport", "Finding", "audit_statement"]


class AuditChain(Protocol):
    """The reads of a node; `LotusClient` has them."""

    async def head(self) -> TipSet: ...
    async def tipset(self, key: TipSetKey, /) -> TipSet: ...
    async def tipset_by_height(self, height: Epoch, tsk: TipSetKey, /) -> TipSet: ...
    async def tipset_after_height(self, height: Epoch, tsk: TipSetKey, /) -> TipSet: ...
    async def network_name(self) -> str: ...
    async def network_version(self, tsk: TipSetKey, /) -> NetworkVersion: ...
    async def funds(self, provider: ActorId, tsk: TipSetKey, /) -> MinerFunds: ...
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

    tipset: TipSet
    lookback: TipSet
    win_count: int
    credited: int
    tips: int
    miner_qap: int
    network_version: NetworkVersion
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
        self.budgets: defaultdict[str, int] = defaultdict(int)  # paid so far, by job
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
            await self._check(f"{name} shares", self._split_again(period))
            await self._check(f"{name} uses", _plain(check_used, period))
            await self._check(f"{name} costs", self._costs(period))
        for payment in statement["payments"]:
            await self._check(f"payment {payment['message']}", self._payment(payment))
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

    # -- one line of a win ----------------------------------------------------------------------------------------

    async def _line(self, period: Mapping[str, Any], line: Mapping[str, Any]) -> str:
        win = await self._win(line)
        same("epoch", line["epoch"], win.tipset.height)
        same("tipset", line["tipset"], [str(cid) for cid in win.tipset.key])
        same("lookback", line["lookback"], [str(cid) for cid in win.lookback.key])
        same("win_count", line["win_count"], win.win_count)
        same("credited", int(line["credited"]), win.credited)
        same("tips", int(line["tips"]), win.tips)
        same("miner_qap", int(line["miner_qap"]), win.miner_qap)
        include_tips = bool(period["settings"]["include_tips"])
        shareable = win.credited if include_tips else max(0, win.credited - win.tips)
        same("shareable", int(line["shareable"]), shareable)
        sector = win.sectors.get(SectorNumber(line["sector"]))
        if sector is None:
            raise WrongStatement(f"sector {line['sector']} was not active at the look-back tipset")
        sector_size = int(line["sector_size"])
        same("sector_qap", int(line["sector_qap"]), sector_qap(sector, sector_size))
        solstice = period["settings"]["solstice_epoch"]
        same("verified", int(line["verified"]), self._verified(line, win, sector, solstice))
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
            raise WrongStatement(f"block {line['win']} is not in the chain at epoch {epoch}")
        if blocks[0].miner != Address.of_id(self.provider):
            raise WrongStatement(f"block {line['win']} was won by {blocks[0].miner}")
        awards = parse_awards(await self.chain.compute_state(epoch, tipset.key), self.provider)
        if len(awards) != 1:
            raise WrongStatement(
                f"the trace of epoch {epoch} shows {len(awards)} awards of this provider"
            )
        award = awards[0]
        lookback = await self.chain.tipset_after_height(lookback_height(epoch), tipset.key)
        power = await self.chain.miner_power(self.provider, lookback.key)
        sectors = await self.chain.active_sectors(self.provider, lookback.key)
        total = sum(sector_qap(sector, int(line["sector_size"])) for sector in sectors)
        same("sum of the sectors' power", total, power.miner.qap)
        return _Win(
            tipset=tipset,
            lookback=lookback,
            win_count=blocks[0].win_count,
            credited=award.credited.value,
            tips=award.gas_reward.value,
            network_version=await self.chain.network_version(tipset.key),
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
        if kind != ProvenanceKind.CLAIM.value:
            if (
                line["held_from"] < sector.activation
            ):  # an earlier start would make a budget come due earlier
                raise WrongStatement(f"{line['piece']} was held before its sector was activated")
            return 0
        claim = win.claims.get(ClaimId(int(name)))
        if claim is None or claim.sector != sector.number:
            raise WrongStatement(
                f"claim {name} was not in sector {sector.number} at the look-back tipset"
            )
        same("piece_cid", line["piece_cid"], str(claim.data))
        same("padded_size", line["padded_size"], claim.size)
        same("held", (line["held_from"], line["held_to"]), (claim.term_start, claim.end))
        if after_solstice or sector.flags & FULL_QA_POWER_FLAG:
            return 0
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
            sub_piece=sub_piece_from_json(line),
        )
        leaf = part_leaf(line["win"], Epoch(line["epoch"]), part)
        path = [bytes.fromhex(node) for node in line["proof"]]
        root = bytes.fromhex(period["root"])
        if not verify_inclusion(leaf, int(line["index"]), int(period["leaves"]), path, root):
            raise WrongStatement("the line is not under the period's Merkle root")

    # -- a period -------------------------------------------------------------------------------------------------

    async def _split_again(self, period: Mapping[str, Any]) -> str:
        """Every win divided anew by the kept terms: output shares to the attoFIL, budgets by what is due and unpaid."""
        produced, _ = shares_from_json(period["shares"])
        for item in produced:
            same(f"budget_paid of {item.job}", item.budget_paid.value, self.budgets[item.job])
        by_win: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for line in sorted(period["lines"], key=lambda line: (line["epoch"], line["win"])):
            by_win[line["win"]].append(line)
        for lines in by_win.values():
            self._split_win(lines, period, produced)
        return f"{len(by_win)} wins divided again"

    def _split_win(
        self,
        lines: Sequence[Mapping[str, Any]],
        period: Mapping[str, Any],
        produced: Sequence[ProducedPiece],
    ) -> None:
        win, settings = self.wins[lines[0]["win"]], period["settings"]
        pieces = {piece.key: piece for piece in map(_held, win.claims.values())}
        for line in lines:
            pieces.setdefault(line["piece"], _piece_of_line(line, self.provider))
        result = split_win(
            WinInputs(
                win=lines[0]["win"],
                epoch=Epoch(lines[0]["epoch"]),
                provider=self.provider,
                credited=AttoFil(win.credited),
                gas_reward=AttoFil(win.tips),
                include_tips=settings["include_tips"],
                network_version=win.network_version,
                solstice_epoch=settings["solstice_epoch"],
                lookback_epoch=Epoch(lookback_height(lines[0]["epoch"]) - 1),
                miner_qap=win.miner_qap,
                sector_size=settings["sector_size"],
                sectors=tuple(win.sectors.values()),
                pieces=tuple(pieces.values()),
                produced=tuple(
                    replace(item, budget_paid=AttoFil(self.budgets[item.job])) for item in produced
                ),
            )
        )
        if isinstance(result, WinUnknown):
            raise WrongStatement(f"win {result.win}: {result.detail}")
        given = {(part.job, part.piece_key, part.sub_piece): part for part in result.parts}
        users = {line["job"] for line in lines if line["source"] == PartSource.USED.value}
        for line in lines:
            amount = int(line["amount"])
            if line["basis"] == Basis.FIXED_BUDGET.value:
                self.budgets[line["job"]] += amount
            elif line["job"] in users:
                continue  # rounded together with a bonus whose other users are unknown here: `check_used`
            part = given.pop((line["job"], line["piece"], sub_piece_from_json(line)), None)
            most = 0 if part is None else part.amount.value
            # what other payees' budgets leave of a win is unknown here, so a budget has an upper bound only
            fits = amount <= most if line["basis"] == Basis.FIXED_BUDGET.value else amount == most
            if not fits:
                raise WrongStatement(
                    f"win {line['win']}: {line['job']} got {amount} attoFIL, its terms give {most}"
                )
        for part in given.values():
            if part.job not in users and part.basis is not Basis.FIXED_BUDGET:
                raise WrongStatement(f"win {result.win}: the share of {part.piece_key} is missing")

    # -- a period -------------------------------------------------------------------------------------------------

    async def _costs(self, period: Mapping[str, Any]) -> str:
        """Deficits continue the last period's, and costs are what pledge and daily fee on chain give."""
        for net in period["nets"]:
            same(f"carried of {net['piece']}", int(net["carried"]), self.deficits[net["piece"]])
            self.deficits[net["piece"]] = int(net["deficit"])
        stated = {
            net["piece"]: (int(net["fee_cost"]), int(net["capital_cost"])) for net in period["nets"]
        }
        shares = shares_from_json(period["shares"])
        if int(period["revision"]) or not bears_costs(*shares):
            if any(fee or capital for fee, capital in stated.values()):
                raise WrongStatement("a supplement and shares without costs have none taken off")
            return "no costs were taken off"
        computed = await self._computed_costs(period)
        for payee, piece in computed:
            if payee == self.payee:
                stated.setdefault(piece, (0, 0))
        used = {item.piece_key for item in shares[1]}
        for piece, (fee, capital) in stated.items():
            nothing = AttoFil(0)
            fee_now, capital_now = computed.get((self.payee, piece), (nothing, nothing))
            exact = (fee, capital) == (fee_now.value, capital_now.value)
            # a bonus for use bears its part of the cost only, divided by users that are not in this statement
            if not exact and (
                piece not in used or fee > fee_now.value or capital > capital_now.value
            ):
                raise WrongStatement(
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
            raise WrongStatement("the message is not on chain")
        same("executed_at", payment["executed_at"], lookup.height)
        if lookup.height > self.statement["as_of"]["epoch"]:
            raise WrongStatement("the message was executed after the statement's tipset")
        if lookup.receipt.exit_code != 0:
            raise WrongStatement(f"the message failed with exit code {lookup.receipt.exit_code}")
        execution = await self.chain.tipset(lookup.tipset)
        messages = await self.chain.messages_in_tipset(execution.parents)
        paid = [item.message for item in messages if item.cid == cid]
        if len(paid) != 1 or (paid[0].to, paid[0].value.value) != (self.payee, amount):
            raise WrongStatement("the message does not pay this amount to this payee")
        rose = await self._balance(execution.key) - await self._balance(execution.parents)
        if rose == amount:
            return f"{paid[0].from_} paid: exit code 0, the payee's balance rose by exactly {amount} attoFIL"
        others = [m for m in messages if self.payee in (m.message.to, m.message.from_)]
        if len(others) > 1:
            return f"{paid[0].from_} paid: exit code 0; other messages of the same tipset also moved the payee's balance ({rose})"
        raise WrongStatement(f"the payee's balance changed by {rose} attoFIL, not by {amount}")

    async def _balance(self, key: TipSetKey) -> int:
        actor = await find_actor(self.chain, self.payee, key)
        return 0 if actor is None else actor.balance.value

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


def _piece_of_line(line: Mapping[str, Any], provider: ActorId) -> HeldPiece:
    """The piece of a line that is no claim: what the statement says of it."""
    kind, _, name = str(line["piece"]).partition(":")
    piece = HeldPiece(
        provider=provider,
        piece_cid=Cid.parse(line["piece_cid"]),
        padded_size=PaddedPieceSize(int(line["padded_size"])),
        payload_size=None,
        sector=SectorNumber(line["sector"]),
        offset=None,
        provenance=Provenance(
            ProvenanceKind(kind), None if kind == ProvenanceKind.DDO.value else int(name)
        ),
        client=None,
        from_epoch=Epoch(line["held_from"]),
        to_epoch=Epoch(line["held_to"]),
    )
    same("piece", line["piece"], piece.key)
    return piece


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
