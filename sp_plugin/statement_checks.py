"""What of a statement can be checked from the statement and a few facts alone: every line once, all sums, the schedule. Pure.

Each function returns what it compared, or raises `WrongStatement`. The chain's side is in `sp_plugin.audit`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from fil_plus.periods import PERIOD_EPOCHS
from fil_plus.power import EXTRA_MULTIPLIER
from fil_plus.terms import WHOLE_BPS, Basis
from fil_plus.vesting import locked_part, released, vesting_entries
from fil_plus.win_values import PartSource
from lotus_client.types import EPOCHS_PER_DAY, AttoFil, Epoch
from sp_plugin.earnings.registry_json import sub_piece_from_json

__all__ = [
    "WrongStatement",
    "check_lines",
    "check_schedule",
    "check_sums",
    "check_totals",
    "check_used",
    "same",
]

Line = Mapping[str, Any]


class WrongStatement(Exception):
    """A check that does not hold; the text says what does not fit."""


def same(name: str, said: object, found: object) -> None:
    """Return if both are equal.

    Raises:
        WrongStatement: they are not.
    """
    if said != found:
        raise WrongStatement(f"{name}: the statement says {said}, the chain gives {found}")


def check_lines(periods: Sequence[Line]) -> str:
    """Every line is in its period, counts once in the whole statement, and has the terms kept with its period."""
    seen: set[tuple[object, ...]] = set()
    win_of: dict[str, tuple[int, int]] = {}
    for period in periods:
        first = int(period["period"]) * PERIOD_EPOCHS
        last = first + PERIOD_EPOCHS - 1
        same("first and last epoch", (period["first_epoch"], period["last_epoch"]), (first, last))
        terms = _terms_of(period)
        place, indexes = (period["period"], period["revision"]), set()
        if place in seen:
            raise WrongStatement(f"period {place} is there twice")
        seen.add(place)
        for line in period["lines"]:
            name = (line["win"], line["job"], line["piece"], line["source"], _sub(line))
            if not first <= line["epoch"] <= last:
                raise WrongStatement(f"win {line['win']} is not of period {period['period']}")
            if name in seen or line["index"] in indexes:
                raise WrongStatement(f"a line of win {line['win']} is there twice")
            if win_of.setdefault(line["win"], place) != place:
                raise WrongStatement(f"win {line['win']} is divided twice")
            seen.add(name)
            indexes.add(line["index"])
            same("sector_size", line["sector_size"], period["settings"]["sector_size"])
            same(f"terms of {name}", line["terms"], terms.get(name[1:]))
            _check_place(line)
            same(f"basis of {name}", line["basis"], line["terms"]["basis"])
    return "every line is of its period, counts once and has its period's terms"


def _sub(content: Line) -> str:
    """Which piece inside the held one is meant; empty for the whole."""
    found = sub_piece_from_json(content)
    return "" if found is None else found.label


def _check_place(line: Line) -> None:
    """A sub-piece lies in its piece, and no more counts than it has room for."""
    found = sub_piece_from_json(line)
    if found is None:
        return
    if found.offset + found.padded_size > int(line["padded_size"]):
        raise WrongStatement(f"{found.label} does not lie in {line['piece']}")
    if int(line["terms"]["counted_bytes"]) > found.unpadded_size:
        raise WrongStatement(f"{found.label} has no room for the bytes that are counted")


def _terms_of(period: Line) -> dict[tuple[str, str, str, str], dict[str, Any]]:
    shares = period["shares"]
    return {
        (item["job"], item["piece"], source.value, _sub(item)): item["terms"]
        | {"counted_bytes": item.get("counted_bytes")}
        for source, kind in ((PartSource.PRODUCED, "produced"), (PartSource.USED, "used"))
        for item in shares[kind]
    }


def check_used(period: Line) -> str:
    """No bonus for use above what its terms give in its window; the users who share it are not in this statement."""
    window = int(period["settings"]["input_window_epochs"])
    at = {
        (item["job"], item["piece"], _sub(item)): item["used_at"]
        for item in period["shares"]["used"]
    }
    groups: defaultdict[tuple[str, str], list[Line]] = defaultdict(list)
    for line in period["lines"]:
        groups[line["win"], line["job"]].append(line)
        if line["source"] == PartSource.USED.value:
            used_at = at[line["job"], line["piece"], _sub(line)]
            if not used_at <= line["epoch"] < used_at + window:
                raise WrongStatement(f"win {line['win']}: the use by {line['job']} does not count")
    for (win, job), lines in groups.items():
        shared = [line for line in lines if line["basis"] != Basis.FIXED_BUDGET.value]
        most = sum((_fraction(line) for line in shared), Fraction(0))
        amount = sum(int(line["amount"]) for line in shared)
        if shared and amount > most.numerator * int(shared[0]["shareable"]) // most.denominator:
            raise WrongStatement(f"win {win}: job {job} got {amount} attoFIL, more than its terms")
    return f"{len(groups)} shares are within their terms"


def _fraction(line: Line) -> Fraction:
    terms, size = line["terms"], int(line["padded_size"])
    produced = line["source"] == PartSource.PRODUCED.value
    counted = size if terms["counted_bytes"] is None else min(int(terms["counted_bytes"]), size)
    bps = int(terms["output_bps"]) if produced else int(terms["input_bps"])
    bps = min(bps, int(terms["max_share_bps"]))
    if line["basis"] == Basis.VERIFIED_EXTRA.value:
        power = Fraction(EXTRA_MULTIPLIER * int(line["verified"]) * counted, size)
    else:
        power = Fraction(int(line["sector_qap"]) * counted, int(line["sector_size"]))
    return power * bps / (WHOLE_BPS * int(line["miner_qap"]))


def check_sums(period: Line) -> str:
    """Lines add up to the jobs' sums, the pieces' gross and, less costs and deficits, to the net."""
    by_job: defaultdict[tuple[str, str], int] = defaultdict(int)
    by_piece: defaultdict[str, int] = defaultdict(int)
    for line in period["lines"]:
        by_job[line["job"], line["source"]] += int(line["amount"])
        by_piece[line["piece"]] += int(line["amount"])
    for job in period["jobs"]:
        for source in PartSource:
            name = f"{source} of job {job['job']}"
            same(name, int(job[source]), by_job.pop((job["job"], source.value), 0))
    if any(by_job.values()):
        raise WrongStatement("there are lines of a job without a sum")
    for net in period["nets"]:
        same(f"gross of {net['piece']}", int(net["gross"]), by_piece.pop(net["piece"], 0))
        balance = int(net["gross"]) + int(net["carried"])
        balance -= int(net["fee_cost"]) + int(net["capital_cost"])
        same(f"net of {net['piece']}", int(net["net"]), max(balance, 0))
        same(f"deficit of {net['piece']}", int(net["deficit"]), min(balance, 0))
    if any(by_piece.values()):
        raise WrongStatement("there are lines of a piece without a net amount")
    return "lines, jobs and pieces add up"


def check_schedule(statement: Line, proving_period_start: Epoch) -> str:
    """What is released, vesting and still to come is what the miner's own schedule makes of the nets."""
    now = Epoch(statement["as_of"]["epoch"])
    done = 0
    coming: defaultdict[int, int] = defaultdict(int)
    for period in statement["periods"]:
        net = sum(int(line["net"]) for line in period["nets"])
        if not net:
            continue
        start, upto = period["vesting_start"], period["released_to"]
        same("vesting_start", start, proving_period_start % EPOCHS_PER_DAY)
        last = Epoch(period["last_epoch"])
        for epoch, part in vesting_entries(locked_part(AttoFil(net)), last, start):
            if epoch >= now:
                coming[epoch] += part.value
        if upto is None:
            continue
        if not last <= upto <= now:
            raise WrongStatement(f"period {period['period']}: released at {upto}, as of {now}")
        done += released(AttoFil(net), last, upto, start).value
    same("released", int(statement["totals"]["released"]), done)
    said = [[epoch, int(amount)] for epoch, amount in statement["unvested"]]
    same("unvested", said, [[epoch, amount] for epoch, amount in sorted(coming.items())])
    return f"released and {len(said)} steps to come computed again by the vesting schedule"


def check_totals(statement: Line) -> str:
    """The totals are the sums of the lines, nets and payments, and no message pays twice."""
    totals, periods = statement["totals"], statement["periods"]
    nets = [net for period in periods for net in period["nets"]]
    lines = [line for period in periods for line in period["lines"]]
    net = sum(int(item["net"]) for item in nets)
    same("net_accrued", int(totals["net_accrued"]), net)
    for said, name in (("daily_fee", "fee_cost"), ("capital", "capital_cost")):
        same(said, int(totals["costs"][said]), sum(int(item[name]) for item in nets))
    for source in PartSource:
        amount = sum(int(line["amount"]) for line in lines if line["source"] == source)
        same(source, int(totals["accrued_by_source"][source]), amount)
    messages = [payment["message"] for payment in statement["payments"]]
    if len(set(messages)) != len(messages):
        raise WrongStatement("a message stands for two payments")
    paid = sum(int(payment["amount"]) for payment in statement["payments"])
    same("paid", int(totals["paid"]), paid)
    same("due", int(totals["due"]), int(totals["released"]) - paid)
    same("vesting", int(totals["vesting"]), net - int(totals["released"]))
    return "lines, nets, costs, releases and payments add up"
