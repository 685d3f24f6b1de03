"""`POST /devstack/v1/…`: what a devnet can do that no real node can. Needs the full node's admin token.

| path | body | answer |
|---|---|---|
| `status` | | head, finality, network version, providers, ports |
| `advance` | `{"epochs": n, "until_win"?: miner, "skip"?: true, "null"?: true}` | the head |
| `reorg` | `{"depth": n, "null_rounds"?: n, "reinclude"?: true, "length"?: n}` | the changes of the head |
| `fork` | as `reorg` | the last tipset of a side chain; the head stays |
| `adopt` | `{"tipset": [cid], "grow"?: n}` | the changes of the head |
| `set-head` | `{"tipset": [cid]}` | the changes of the head |
| `partition` | `{"groups": [[node]], "shares"?: [n]}` | the groups |
| `heal` | | the nodes that refuse the heaviest chain, and the head |
| `fault-add` | `{"kind", "scope"?: {}, "params"?: {}}` | the fault with its id |
| `fault-list` | | faults with their counts |
| `fault-clear` | `{"id"?: n}` | how many ended |
| `sector-fault` | `{"sectors": [n], "miner"?: n}` | the executed message |
| `sector-recover` | `{"sectors": [n], "miner"?: n}` | the executed message |
| `sector-terminate` | `{"sectors": [n], "miner"?: n}` | the executed message |
| `skip-post` | `{"windows"?: n, "miner"?: n}` | |
| `save` | `{"path"}` | the file's size |
| `send` | `{"from": name, "to", "value"?, "method"?, "params"?: base64}` | message CID; signed by the account `name` |
| `key` | `{"name"}` | address of the account `name`; with `"secret": true` its key |
| `grant-datacap` | `{"client": address, "bytes": n}` | |
| `allocate` | `{"client": name, "piece_cid", "padded_size", "miner"?: n}` | allocation id |
| `publish-deal` | `{"client": name, "piece_cid", "padded_size", "verified"?: true, "price"?, "collateral"?}` | deal id |
| `add-piece` | the payload's bytes; `?allocation=ID` or `?deal=ID`, `&miner=n` | sector number, piece |

An error is `{"error": "…"}` with status 400 (bad request) or 409 (the chain refused it).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from devstack.control_body import (
    Action,
    address,
    authorize,
    changes_json,
    flag,
    head_json,
    integer,
    route,
    text,
)
from devstack.control_net import fork_shape
from devstack.datacap import allocate_piece, grant_datacap
from devstack.deals import DealTerms, publish_deal
from devstack.node import FullNode
from devstack.provider import PieceRejected, SealingProvider
from devstack.sectors import Sector
from lotus_client.chain import TipSet
from lotus_client.cid import Cid
from lotus_client.types import AllocationId, AttoFil, PaddedPieceSize

__all__ = ["add_control_routes"]

Json = dict[str, Any]

_MAX_EPOCHS = 1_000_000


def add_control_routes(
    app: web.Application,
    node: FullNode,
    provider: SealingProvider,
    others: Sequence[SealingProvider] = (),
) -> None:
    """Serve the control API of one devnet."""
    control = _Control(node, [provider, *others])
    actions: dict[str, Action] = {
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
        app.router.add_post(f"/devstack/v1/{name}", route(node, action))
    app.router.add_post("/devstack/v1/add-piece", control.add_piece)


class _Control:
    def __init__(self, node: FullNode, providers: Sequence[SealingProvider]) -> None:
        self._node = node
        self._provider = providers[0]
        self._providers = providers

    def _of_miner(self, index: int) -> SealingProvider:
        if 0 <= index < len(self._providers):
            return self._providers[index]
        raise ValueError(f"there is no miner {index}: {len(self._providers)} run here")

    async def status(self, body: Json) -> Json:
        network = self._node.chain
        state = network.state()
        return {
            **head_json(network.head),
            "network_name": network.config.name,
            "network_version": network.network_version(network.head.height),
            "finalized_height": network.finalized().height,
            "genesis": str(network.genesis.key.cids[0]),
            "pending_messages": len(network.mpool.pending()),
            "provider": str(self._provider.miner),
            "providers": [str(provider.miner) for provider in self._providers],
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
        epochs = integer(body, "epochs", 1, _MAX_EPOCHS)
        if body.get("null"):
            await self._node.advance_null(epochs)
            return head_json(self._node.chain.head)
        wanted = body.get("until_win")
        winner = None if wanted is None else self._provider.miner
        if isinstance(wanted, str):
            winner = address(body, "until_win")

        def won(tipset: TipSet) -> bool:
            return any(block.miner == winner for block in tipset.blocks)

        skip_for = winner if flag(body, "skip") else None
        until = None if winner is None else won
        return head_json(await self._node.advance(epochs, until, skip_for=skip_for))

    async def reorg(self, body: Json) -> Json:
        depth, shape = integer(body, "depth", 1, _MAX_EPOCHS), fork_shape(body)
        changes = await self._node.reorg(depth, shape)
        return changes_json(changes, self._node.chain.head)

    async def send(self, body: Json) -> Json:
        try:
            params = base64.b64decode(text(body, "params", ""), validate=True)
        except binascii.Error as error:
            raise ValueError("params is not base64") from error
        cid = self._node.chain.send(
            text(body, "from"),
            address(body, "to"),
            integer(body, "method", 0, (1 << 64) - 1, 0),
            params,
            AttoFil.parse(text(body, "value", "0")),
        )
        return {"cid": str(cid)}

    async def key(self, body: Json) -> Json:
        key = self._node.chain.key(text(body, "name"))
        answer = {"address": str(key.address)}
        if body.get("secret") is True:
            answer["secret"] = key.secret.hex()
        return answer

    async def grant_datacap(self, body: Json) -> Json:
        await grant_datacap(self._node, address(body, "client"), integer(body, "bytes", 1, 1 << 63))
        return head_json(self._node.chain.head)

    async def allocate(self, body: Json) -> Json:
        number = await allocate_piece(
            self._node,
            self._node.chain.key(text(body, "client")),
            self._of_miner(integer(body, "miner", 0, 99, 0)).miner,
            Cid.parse(text(body, "piece_cid")),
            PaddedPieceSize(integer(body, "padded_size", 128, 1 << 36)),
        )
        return {"allocation": number}

    async def publish_deal(self, body: Json) -> Json:
        terms = DealTerms(
            verified=body.get("verified") is True,
            price_per_epoch=AttoFil.parse(text(body, "price", "0")),
            provider_collateral=AttoFil.parse(text(body, "collateral", "0")),
        )
        number = await publish_deal(
            self._node,
            self._node.chain.key(text(body, "client")),
            self._provider,
            Cid.parse(text(body, "piece_cid")),
            PaddedPieceSize(integer(body, "padded_size", 128, 1 << 36)),
            terms=terms,
        )
        return {"deal": number}

    async def add_piece(self, request: web.Request) -> web.Response:
        authorize(request, self._node)
        try:
            number, deal = request.query.get("allocation"), request.query.get("deal")
            provider = self._of_miner(int(request.query.get("miner", "0")))
            sector = await provider.add_piece(
                await request.read(),
                None if number is None else AllocationId(int(number)),
                deal=None if deal is None else int(deal),
            )
        except PieceRejected as error:
            return web.json_response({"error": str(error)}, status=409)
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response(_sector_json(sector))


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
