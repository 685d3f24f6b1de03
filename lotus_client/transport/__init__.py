"""The only place of this package that touches the network: JSON-RPC to a Lotus node.

Design notes
------------
* `RpcTransport` is the whole seam: one call, one subscription, one close. A fake of ten lines can stand in for a node.
* `HttpTransport` posts one request per call; `WsTransport` speaks go-jsonrpc's channel frames; `NodeTransport` uses the
  first for calls and opens the second on the first subscription, which is what a client of a real node wants.
* A stream has no resume. When the connection drops, every subscription ends with `LotusConnectError`; the caller
  subscribes again and reconciles by keys (`ChainGetPath`).
* Retries are in `retry` and nowhere else, and only for the reads listed there: a push must never be repeated blindly.
* Method names are those of the wire (`Filecoin.ChainHead`); `params` are positional and their number is exact.
* The token travels in the `Authorization` header only, and no error text carries it.
"""

from __future__ import annotations

from lotus_client.transport.base import RpcTransport, StreamOf
from lotus_client.transport.http import HttpTransport
from lotus_client.transport.node import NodeTransport
from lotus_client.transport.retry import SAFE_READS, RetryingTransport, RetryPolicy
from lotus_client.transport.ws import WsTransport

__all__ = [
    "SAFE_READS",
    "HttpTransport",
    "NodeTransport",
    "RetryPolicy",
    "RetryingTransport",
    "RpcTransport",
    "StreamOf",
    "WsTransport",
]
