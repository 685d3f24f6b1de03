"""The wins of a statement's periods, divided once more by the terms that were kept with each period."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from deals.held import claimed_piece
from deals.sectors import lookback_height
from fil_plus.attribution import split_win
from fil_plus.pieces import HeldPiece, Provenance, ProvenanceKind
from fil_plus.terms import Basis
from fil_plus.win_values import PartSource, ProducedPiece, WinInputs, WinSplit, WinUnknown
from lotus_client.cid import Cid
from lotus_client.types import ActorId, AttoFil, Epoch, PaddedPieceSize, SectorNumber
from sp_plugin.audit.wins import ChainWins
from sp_plugin.earnings.registry_json import shares_from_json, sub_piece_from_json
from sp_plugin.statement_checks import WrongStatement, same

__all__ = ["SharesAudit"]


class SharesAudit:
    """Divides the wins of one statement again, period by period in its order: budgets go on from one to the next."""

    def __init__(self, provider: ActorId, wins: ChainWins) -> None:
        self._provider = provider
        self._wins = wins
        self._budgets: defaultdict[str, int] = defaultdict(int)  # paid so far, by job

    def split_again(self, period: Mapping[str, Any]) -> str:
        """Every win divided anew by the kept terms: output shares to the attoFIL, budgets by what is due and unpaid.

        Raises:
            WrongStatement: a win gives another amount.
        """
        produced, _ = shares_from_json(period["shares"])
        for item in produced:
            same(f"budget_paid of {item.job}", item.budget_paid.value, self._budgets[item.job])
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
        result = split_win(self._inputs(lines, period, produced))
        if isinstance(result, WinUnknown):
            raise WrongStatement(f"win {result.win}: {result.detail}")
        self._compare(lines, result)

    def _inputs(
        self,
        lines: Sequence[Mapping[str, Any]],
        period: Mapping[str, Any],
        produced: Sequence[ProducedPiece],
    ) -> WinInputs:
        win, settings = self._wins.by_block[lines[0]["win"]], period["settings"]
        pieces = {piece.key: piece for piece in map(claimed_piece, win.claims.values())}
        for line in lines:
            pieces.setdefault(line["piece"], _piece_of_line(line, self._provider))
        return WinInputs(
            win=lines[0]["win"],
            epoch=Epoch(lines[0]["epoch"]),
            provider=self._provider,
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
                replace(item, budget_paid=AttoFil(self._budgets[item.job])) for item in produced
            ),
        )

    def _compare(self, lines: Sequence[Mapping[str, Any]], result: WinSplit) -> None:
        given = {(part.job, part.piece_key, part.sub_piece): part for part in result.parts}
        users = {line["job"] for line in lines if line["source"] == PartSource.USED.value}
        for line in lines:
            amount = int(line["amount"])
            if line["basis"] == Basis.FIXED_BUDGET.value:
                self._budgets[line["job"]] += amount
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
