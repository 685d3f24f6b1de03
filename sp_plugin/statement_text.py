"""A statement for people, made from its JSON."""

from __future__ import annotations

from typing import Any

from lotus_client.types import AttoFil

__all__ = ["statement_text"]


def statement_text(statement: dict[str, Any]) -> str:
    """The statement for people: amounts in FIL, one line per period and payment."""
    totals = statement["totals"]
    by_source = totals["accrued_by_source"]
    aprs = {period["settings"]["capital_cost_apr_bps"] for period in statement["periods"]}
    apr = ", ".join("not set" if bps is None else _percent(bps) for bps in sorted(aprs, key=str))
    lines = [
        f"Statement of {statement['payee']}",
        f"Provider {statement['provider']} on {statement['network']}, as of epoch {statement['as_of']['epoch']}",
        "",
        f"Accrued from pieces you produced   {_fil(by_source['produced'])}",
        f"Accrued from pieces you used       {_fil(by_source['used'])}   (a voluntary bonus)",
        f"Your part of the daily fee         {_fil(totals['costs']['daily_fee'])}",
        f"Your part of the cost of capital   {_fil(totals['costs']['capital'])}   (yearly rate: {apr or 'none'})",
        f"Net                                {_fil(totals['net_accrued'])}",
        f"Released so far                    {_fil(totals['released'])}",
        f"Still vesting                      {_fil(totals['vesting'])}",
        f"Paid                               {_fil(totals['paid'])}",
        f"Due now                            {_fil(totals['due'])}",
        "",
    ]
    for period in statement["periods"]:
        net = sum(int(item["net"]) for item in period["nets"])
        name = f"{period['period']}" + (f".{period['revision']}" if period["revision"] else "")
        lines.append(
            f"period {name} (epochs {period['first_epoch']} to {period['last_epoch']}): "
            f"{len(period['lines'])} lines, net {_fil(net)}, root {period['root']}"
        )
        lines += _inside_lines(period)
        lines += [f"  unknown at the close: {win}" for win in period["unknown_wins"]]
    lines += [f"still unknown, not counted: {win}" for win in statement["unknown_wins"]]
    for payment in statement["payments"]:
        lines.append(
            f"paid {_fil(payment['amount'])} by message {payment['message']} at epoch {payment['executed_at']}"
        )
    if statement["unvested"]:
        first, last = statement["unvested"][0], statement["unvested"][-1]
        lines.append(
            f"unvested: {len(statement['unvested'])} steps from epoch {first[0]} to {last[0]}, "
            f"{_fil(sum(int(amount) for _, amount in statement['unvested']))} in all"
        )
    return "\n".join([*lines, "", statement["notice"], ""])


def _inside_lines(period: dict[str, Any]) -> list[str]:
    """One line for each piece inside a held one that the period's lines are of."""
    named = {
        f"  of piece {line['sub_piece']['piece_cid']}, which lies in {line['piece']} ({line['piece_cid']}): "
        "`sp-plugin pieces proof verify` checks the proof that it does": None
        for line in period["lines"]
        if "sub_piece" in line
    }
    return list(named)


def _percent(bps: int) -> str:
    whole, hundredths = divmod(bps, 100)
    return f"{whole}.{hundredths:02}".rstrip("0").rstrip(".") + " %"


def _fil(atto: object) -> str:
    return f"{AttoFil(int(str(atto))).to_fil()} FIL"
