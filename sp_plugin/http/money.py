"""Our own routes about money: ledger, plans and payouts. Amounts are decimal attoFIL strings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import structlog
from aiohttp import web

from lotus_client.address import Address, AddressError
from lotus_client.types import Epoch
from sp_plugin.config import Scope
from sp_plugin.earnings.gap_names import still_unknown
from sp_plugin.earnings.wins import WinRecord
from sp_plugin.errors import BadInput, Conflict
from sp_plugin.http.auth import CALLER, needs
from sp_plugin.http.gaps import gaps_json
from sp_plugin.http.parts import PARTS
from sp_plugin.http.requests import json_body, number
from sp_plugin.payouts.planning import PlannedBatch
from sp_plugin.payouts.reconcile import Reconciler, Reconciliation
from sp_plugin.payouts.states import Payout
from sp_plugin.statements import StatementError
from sp_plugin.store.payouts import StoredMessage

__all__ = ["routes"]

routes = web.RouteTableDef()

log = structlog.get_logger()


@routes.get("/api/v1/sp/ledger")
@needs(Scope.READ)
async def ledger(request: web.Request) -> web.Response:
    """Balances, and the newest entries (`limit`, default 100) with their hashes."""
    ledger = request.app[PARTS].treasury.ledger
    entries = (await ledger.entries())[-number(request, "limit", 100, 10_000) :]
    return web.json_response(
        {
            "balances": {
                str(account): str(amount) for account, amount in (await ledger.balances()).items()
            },
            "entries": [
                {
                    "sequence": entry.sequence,
                    "key": entry.draft.key,
                    "kind": str(entry.draft.kind),
                    "epoch": entry.draft.epoch,
                    "postings": [
                        {"account": str(posting.account), "amount": str(posting.amount)}
                        for posting in entry.draft.postings
                    ],
                    "hash": entry.hash.hex(),
                }
                for entry in reversed(entries)
            ],
        }
    )


@routes.get("/api/v1/sp/earnings")
@needs(Scope.READ)
async def earnings(request: web.Request) -> web.Response:
    """Blocks won with what was credited for them, and the closed periods. What is not known is null, never 0."""
    parts = request.app[PARTS]
    wins = await parts.earnings.wins(parts.provider, Epoch(0), Epoch(1 << 62))
    periods = await parts.earnings.periods(parts.provider)
    gaps = await parts.gaps()
    return web.json_response(
        {
            "gaps": gaps_json(gaps),
            "wins": [_win_json(stored.win) for stored in wins],
            "periods": [
                {
                    "period": stored.closed.period,
                    "last_epoch": stored.closed.last_epoch,
                    "unknown": still_unknown(stored.closed.unknown, gaps),
                    "owed": {
                        payee.to_text(parts.prefix): str(amount)
                        for payee, amount in stored.closed.owed().items()
                    },
                }
                for stored in periods
            ],
        }
    )


@routes.get("/api/v1/sp/statements/{payee}")
@needs(Scope.READ)
async def statement(request: web.Request) -> web.Response:
    """The statement of a payee at the newest final tipset, each line with how it can be checked."""
    try:
        payee = Address.parse(request.match_info["payee"])
    except AddressError as error:
        raise BadInput(str(error), field="payee") from error
    parts = request.app[PARTS]
    try:
        return web.json_response(await parts.statement(payee))
    except StatementError as error:
        raise Conflict(str(error)) from error


@routes.get("/api/v1/sp/payouts")
@needs(Scope.READ)
async def payouts(request: web.Request) -> web.Response:
    """Every payout, newest state, and the wallet's switches."""
    treasury = request.app[PARTS].treasury
    items = [
        _payout_json(request, item, await treasury.payouts.messages(item.id))
        for item in await treasury.payouts.payouts()
    ]
    return web.json_response({"items": items, "wallet": await _wallet_json(request)})


@routes.post("/api/v1/sp/payouts/plan")
@needs(Scope.OPERATE)
async def plan(request: web.Request) -> web.Response:
    """Make a plan: whom to pay, who is held and why, what the wallet lacks and how to fund it. Sends nothing."""
    planned = await request.app[PARTS].treasury.plan()
    return web.json_response(_plan_json(request, planned))


@routes.post("/api/v1/sp/payouts/approve")
@needs(Scope.OPERATE)
async def approve(request: web.Request) -> web.Response:
    """Approve a planned batch by its digest, so that it may be signed and sent."""
    digest = (await json_body(request)).get("digest")
    if not isinstance(digest, str) or not digest:
        raise BadInput("must be the digest of a plan", field="digest")
    parts = request.app[PARTS]
    batch = await parts.treasury.approve(digest, request[CALLER], await parts.head())
    parts.wake("send")
    return web.json_response(
        {"digest": digest, "payouts": len(batch.items), "total": str(batch.total)}
    )


@routes.post("/api/v1/sp/payouts/send")
@needs(Scope.OPERATE)
async def send(request: web.Request) -> web.Response:
    """One pass of the sender now: follow what is under way, sign and push what is approved."""
    report = await request.app[PARTS].treasury.send()
    return web.json_response(
        {
            "signed": report.signed,
            "pushed": report.pushed,
            "replaced": report.replaced,
            "included": report.included,
            "reverted": report.reverted,
            "settled": report.settled,
            "would_send": report.would_send,
            "stopped": report.stopped,
        }
    )


@routes.post("/api/v1/sp/payouts/pause")
@needs(Scope.OPERATE)
async def pause(request: web.Request) -> web.Response:
    """Stop all sending at once, or let it go on (`paused: false`)."""
    paused = (await json_body(request)).get("paused", True)
    if not isinstance(paused, bool):
        raise BadInput("must be true or false", field="paused")
    treasury = request.app[PARTS].treasury
    if treasury.config.wallet is None:
        raise Conflict("payouts.wallet names no address")
    await treasury.payouts.set_paused(treasury.config.wallet, paused=paused)
    return web.json_response({"wallet": await _wallet_json(request)})


@routes.get("/api/v1/sp/payouts/reconcile")
@needs(Scope.READ)
async def compare(request: web.Request) -> web.Response:
    """The wallet's nonces on chain beside ours. Changes nothing."""
    return web.json_response(_reconciliation_json(request, await _reconciler(request).compare()))


@routes.post("/api/v1/sp/payouts/reconcile")
@needs(Scope.OPERATE)
async def accept(request: web.Request) -> web.Response:
    """Accept what others did with the wallet, up to `accept_nonce`, and let sending go on."""
    nonce = (await json_body(request)).get("accept_nonce")
    if not isinstance(nonce, int) or isinstance(nonce, bool) or nonce < 0:
        raise BadInput("must be the next nonce that the comparison showed", field="accept_nonce")
    found = await request.app[PARTS].treasury.accept(nonce)
    log.warning("payout_nonce_accepted", nonce=nonce, by=request[CALLER])
    return web.json_response(_reconciliation_json(request, found))


@routes.post("/api/v1/sp/earnings/backfill")
@needs(Scope.OPERATE)
async def backfill(request: web.Request) -> web.Response:
    """Read the blocks won between two epochs again, as far as the node still knows them; complete ones stay."""
    body = await json_body(request)
    first, last = (_epoch(body, name) for name in ("from", "to"))
    if last < first:
        raise BadInput("is before `from`", field="to")
    parts = request.app[PARTS]
    count = await parts.backfill(first, last)
    parts.wake("earn")
    return web.json_response({"from": first, "to": last, "read": count})


def _epoch(body: dict[str, Any], name: str) -> Epoch:
    value = body.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 62:
        raise BadInput("must be an epoch", field=name)
    return Epoch(value)


def _reconciler(request: web.Request) -> Reconciler:
    reconciler = request.app[PARTS].treasury.reconciler
    if reconciler is None:
        raise Conflict("payouts.wallet names no address")
    return reconciler


def _reconciliation_json(request: web.Request, found: Reconciliation) -> dict[str, Any]:
    return {
        "wallet": found.wallet.to_text(request.app[PARTS].prefix),
        "fits": found.fits,
        "chain_nonce": found.chain_nonce,
        "next_nonce": found.pool_nonce,
        "our_highest_nonce": found.our_highest,
        "expected_nonce": found.expected,
        "displaced": list(found.displaced),
        "halted": found.halted,
    }


def _win_json(win: WinRecord) -> dict[str, Any]:
    award = win.award()
    return {
        "epoch": win.epoch,
        "block": str(win.block),
        "win_count": win.win_count,
        "credited": None if award is None else str(award.credited),
        "gas_reward": None if award is None else str(award.gas_reward),
        "penalty": None if award is None else str(award.penalty),
        "complete": win.is_complete,
    }


async def _wallet_json(request: web.Request) -> dict[str, Any] | None:
    parts = request.app[PARTS]
    config = parts.treasury.config
    if config.wallet is None:
        return None
    state = await parts.treasury.payouts.wallet(config.wallet)
    return {
        "address": config.wallet.to_text(parts.prefix),
        "enabled": config.enabled,
        "dry_run": config.dry_run,
        "paused": bool(state and state.paused),
        "halted": state.halted if state else "",
    }


def _payout_json(
    request: web.Request, payout: Payout, signed: Sequence[StoredMessage]
) -> dict[str, Any]:
    """`message` is the executed one, before that the newest signed one; `messages` are all that were ever signed."""
    message = payout.message or (signed[-1].cid if signed else None)
    return {
        "id": payout.id,
        "payee": payout.payee.to_text(request.app[PARTS].prefix),
        "amount": str(payout.amount),
        "state": str(payout.state),
        "reason": payout.reason,
        "batch": payout.batch,
        "nonce": payout.nonce,
        "message": None if message is None else str(message),
        "messages": [{"cid": str(item.cid), "pushed": item.pushed} for item in signed],
        "height": payout.height,
        "exit_code": payout.exit_code,
        "gas_cost": None if payout.gas_cost is None else str(payout.gas_cost),
    }


def _plan_json(request: web.Request, planned: PlannedBatch) -> dict[str, Any]:
    prefix = request.app[PARTS].prefix
    return {
        "digest": planned.digest if planned.batch.items else None,
        "total": str(planned.plan.total),
        "lacking": str(planned.plan.lacking),
        "float": str(planned.float_),
        "withdrawable": str(planned.withdrawable),
        "decisions": [
            {
                "payee": decision.payee.to_text(prefix),
                "amount": str(decision.amount),
                "held": decision.held,
            }
            for decision in planned.plan.decisions
        ],
        "commands": list(planned.commands),
    }
