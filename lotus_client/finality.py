"""Which tipset is final, by the best source that the node serves.

`/rpc/v2` answers with the newest of F3 and the EC calculator (FRC-0089, about 30 epochs); v1's method knows only F3, or 900
epochs; an older node or Forest may have neither, and then 900 epochs below the head are final by the protocol's own rule.
Sources: Lotus `documentation/en/finality.md`, `node/impl/full/chain_v2.go`, `build/buildconstants` (Finality).
"""

from __future__ import annotations

from typing import Final

from lotus_client import codec
from lotus_client.chain import TipSet
from lotus_client.errors import LotusBadParams, LotusNotSupported
from lotus_client.node import FinalitySource
from lotus_client.transport.base import RpcTransport
from lotus_client.types import Epoch

__all__ = ["EC_FINALITY", "FinalityReader"]

EC_FINALITY: Final = 900  # epochs
_ORDER: Final = tuple(FinalitySource)


class FinalityReader:
    """Reads the final tipset of one node. `source` is what answered last; None before the first answer."""

    def __init__(self, transport: RpcTransport, *, has_v2: bool) -> None:
        self.source: FinalitySource | None = None
        self._transport = transport
        self._first = 0 if has_v2 else 1

    async def tipset(self) -> TipSet:
        """The newest final tipset. A source that the node does not have is not asked again.

        Raises:
            LotusError: the node did not answer; an older source is no substitute for that.
        """
        for place in range(self._first, len(_ORDER)):
            try:
                tipset = await self._ask(_ORDER[place])
            except (LotusNotSupported, LotusBadParams):
                if place + 1 == len(_ORDER):
                    raise
                continue
            self._first, self.source = place, _ORDER[place]
            return tipset
        raise AssertionError("the last source raises or answers")

    async def _ask(self, source: FinalitySource) -> TipSet:
        if source is FinalitySource.RPC_V2:
            method = "v2/Filecoin.ChainGetTipSet"
            answer = await self._transport.call(method, [{"tag": "finalized"}])
            return codec.tipset_from_json(answer, "ChainGetTipSet")
        if source is FinalitySource.RPC_V1:
            answer = await self._transport.call("Filecoin.ChainGetFinalizedTipSet", [])
            return codec.tipset_from_json(answer, "ChainGetFinalizedTipSet")
        answer = await self._transport.call("Filecoin.ChainHead", [])
        head = codec.tipset_from_json(answer, "ChainHead")
        height = Epoch(max(0, head.height - EC_FINALITY))
        answer = await self._transport.call(
            "Filecoin.ChainGetTipSetByHeight", [height, codec.tipset_key_to_json(head.key)]
        )
        return codec.tipset_from_json(answer, "ChainGetTipSetByHeight")
