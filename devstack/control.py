"""`POST /devstack/v1/…`: what a devnet can do that no real node can. Needs the full node's admin token.

| path | body | answer |
|---|---|---|
| `status` | | head, finality, network version, providers, ports |
| `advance` | `{"epochs": n, "until_win"?: miner, "null"?: true}` | the head |
| `reorg` | `{"depth": n}` | the changes of the head |
| `send` | `{"from": name, "to", "value"?, "method"?, "params"?: base64}` | message CID; signed by the account `name` |
| `key` | `{"name"}` | address of the account `name`; with `"secret": true` its key |
| `grant-datacap` | `{"client": address, "bytes": n}` | |
| `allocate` | `{"client": name, "piece_cid", "padded_size"}` | allocation id |
| `publish-deal` | `{"client": name, "piece_cid", "padded_size", "verified"?: true, "price"?, "collateral"?}` | deal id |
| `add-piece` | the payload's bytes; `?allocation=ID` or `?deal=ID` | sector number, piece |

An error is `{"error": "…"}` with status 400 (bad request) or 409 (the chain refused it).
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from devstack.auth import Permission
from devstack.chain import ChainLookupError, MessageFailed, PushRefused
from devstack.datacap import DatacapEnded, allocate_piece, grant_datacap
from devstack.deals import DealTerms, publish_deal
from devstack.node import EpochsNotReached, FullNode
from devstack.provider import PieceRejected, SealingProvider
from devstack.rpc.server import authenticate
from devstack.sectors import Sector
from lotus_client.address import Address
from lotus_client.chain import TipSet
from lotus_client.cid import Cid
from lotus_client.json_text import read_json
from lotus_client.types import AllocationId, AttoFil, PaddedPieceSize

__all__ = ["add_control_routes"]

Json = dict[str, Any]

_MAX_EPOCHS = 1_000_000
_REFUSED = (
    ChainLookupError,
    DatacapEnded,
    EpochsNotReached,
    MessageFailed,
    PieceRejected,
    PushRefused,
)


def add_control_routes(app: web.Application, node: FullNode, provider: SealingProvider) -> None:
    """Serve the control API of one devnet."""
    control = _Control(node, provider)
    actions: dict[str, Callable[[Json], Awaitable[Json]]] = {
        "status": control.status,
        "advance": control.advance,
        "reorg": control.reorg,
        "send": control.send,
        "key": control.key,
        "grant-datacap": control.grant_datacap,
        "allocate": control.allocate,
        "publish-deal": control.publish_deal,
    }
    for name, action in actions.items():
        app.router.add_post(f"/devstack/v1/{name}", _route(node, action))
    app.router.add_post("/devstack/v1/add-piece", control.add_piece)


def _authorize(request: web.Request, node: FullNode) -> None:
    if not authenticate(request, node.tokens).may(Permission.ADMIN):
        raise web.HTTPForbidden(
            text=json.dumps({"error": "this needs the node's admin token"}),
            content_type="application/json",
        )


def _route(
    node: FullNode, action: Callable[[Json], Awaitable[Json]]
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        _authorize(request, node)
        try:
            return web.json_response(await action(_body(await request.read())))
        except _REFUSED as error:
            return web.json_response({"error": str(error)}, status=409)
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=400)

    return handle


def _body(raw: bytes) -> Json:
    body = read_json(raw or b"{}")
    if isinstance(body, dict):
        return body
    raise ValueError("the body is a JSON object")


class _Control:
    def __init__(self, node: FullNode, provider: SealingProvider) -> None:
        self._node = node
        self._provider = provider

    async def status(self, body: Json) -> Json:
        network = self._node.network
        state = network.state()
        return {
            **_head_json(network.head),
            "network_name": network.config.name,
            "network_version": network.network_version(network.head.height),
            "finalized_height": network.finalized().height,
            "genesis": str(network.genesis.key.cids[0]),
            "pending_messages": len(network.mpool.pending()),
            "provider": str(self._provider.miner),
            "power": {
                str(miner): {
                    "raw": str(state.miner_power(miner).miner.raw),
                    "qap": str(state.miner_power(miner).miner.qap),
                }
                for miner in state.miners()
            },
            "sectors": [
                _sector_json(sector) for _, sector in sorted(self._provider.sectors.items())
            ],
        }

    async def advance(self, body: Json) -> Json:
        epochs = _integer(body, "epochs", 1, _MAX_EPOCHS)
        if body.get("null"):
            await self._node.advance_null(epochs)
            return _head_json(self._node.network.head)
        winner = _address(body, "until_win") if body.get("until_win") is not None else None

        def won(tipset: TipSet) -> bool:
            return any(block.miner == winner for block in tipset.blocks)

        return _head_json(await self._node.advance(epochs, None if winner is None else won))

    async def reorg(self, body: Json) -> Json:
        changes = await self._node.reorg(_integer(body, "depth", 1, _MAX_EPOCHS))
        return {
            "reverted": sum(change.type == "revert" for change in changes),
            "applied": sum(change.type == "apply" for change in changes),
            **_head_json(self._node.network.head),
        }

    async def send(self, body: Json) -> Json:
        try:
            params = base64.b64decode(_text(body, "params", ""), validate=True)
        except binascii.Error as error:
            raise ValueError("params is not base64") from error
        cid = self._node.network.send(
            _text(body, "from"),
            _address(body, "to"),
            _integer(body, "method", 0, (1 << 64) - 1, 0),
            params,
            AttoFil.parse(_text(body, "value", "0")),
        )
        return {"cid": str(cid)}

    async def key(self, body: Json) -> Json:
        key = self._node.network.key(_text(body, "name"))
        answer = {"address": str(key.address)}
        if body.get("secret") is True:
            answer["secret"] = key.secret.hex()
        return answer

    async def grant_datacap(self, body: Json) -> Json:
        await grant_datacap(
            self._node, _address(body, "client"), _integer(body, "bytes", 1, 1 << 63)
        )
        return _head_json(self._node.network.head)

    async def allocate(self, body: Json) -> Json:
        number = await allocate_piece(
            self._node,
            self._node.network.key(_text(body, "client")),
            self._provider.miner,
            Cid.parse(_text(body, "piece_cid")),
            PaddedPieceSize(_integer(body, "padded_size", 128, 1 << 36)),
        )
        return {"allocation": number}

    async def publish_deal(self, body: Json) -> Json:
        terms = DealTerms(
            verified=body.get("verified") is True,
            price_per_epoch=AttoFil.parse(_text(body, "price", "0")),
            provider_collateral=AttoFil.parse(_text(body, "collateral", "0")),
        )
        number = await publish_deal(
            self._node,
            self._node.network.key(_text(body, "client")),
            self._provider,
            Cid.parse(_text(body, "piece_cid")),
            PaddedPieceSize(_integer(body, "padded_size", 128, 1 << 36)),
            terms=terms,
        )
        return {"deal": number}

    async def add_piece(self, request: web.Request) -> web.Response:
        _authorize(request, self._node)
        try:
            number, deal = request.query.get("allocation"), request.query.get("deal")
            sector = await self._provider.add_piece(
                await request.read(),
                None if number is None else AllocationId(int(number)),
                deal=None if deal is None else int(deal),
            )
        except PieceRejected as error:
            return web.json_response({"error": str(error)}, status=409)
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response(_sector_json(sector))


def _head_json(head: TipSet) -> Json:
    return {"height": head.height, "tipset": [str(cid) for cid in head.key]}


def _sector_json(sector: Sector) -> Json:
    return {
        "sector": sector.number,
        "state": str(sector.state),
        "error": sector.last_error or None,
        "messages": {kind: str(cid) for kind, cid in sector.messages.items()},
        "pieces": [
            {"piece_cid": str(piece.piece_cid), "padded_size": piece.size, "offset": piece.offset}
            for piece in sector.pieces
            if piece.staged is not None
        ],
    }


def _integer(body: Json, name: str, low: int, high: int, default: int | None = None) -> int:
    value = body.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{name} is a whole number from {low} to {high}, got {value!r}")
    return value


def _text(body: Json, name: str, default: str | None = None) -> str:
    value = body.get(name, default)
    if isinstance(value, str):
        return value
    raise ValueError(f"{name} is text, got {value!r}")


def _address(body: Json, name: str) -> Address:
    return Address.parse(_text(body, name))
