"""The only place of this package that touches the network: JSON-RPC to a Lotus node.

Design notes
------------
* `RpcTransport` is the whole seam: one call, one subscription, one close. A fake of ten lines can stand in for a node.
  Batches and answers in parts are abilities a transport may have (`call_many`, `stream_items` use them where they are).
* `HttpTransport` posts; `WsTransport` speaks go-jsonrpc's channel frames; `NodeTransport` uses the first for calls and
  opens the second on the first subscription, which is what a client of a real node wants. `FailoverTransport` stands
  before several of those.
* A stream has no resume. When the connection drops, or nothing was heard for too long, every subscription ends with
  `LotusConnectError`; the caller subscribes again and reconciles by keys. `lotus_client.heads` does that for heads.
* Every call has a deadline, by its class (`deadlines`). Retries are in `retry` and nowhere else, and only for the reads in
  `safe_reads`: a push must never be repeated blindly, nor given to a second node.
* Method names are those of the wire (`Filecoin.ChainHead`); `params` are positional and their number is exact.
* The token travels in the `Authorization` header only, and no error text carries it.
"""

from __future__ import annotations

from lotus_client.transport.base import (
    BatchingTransport,
    Call,
    Outcome,
    RpcTransport,
    Shape,
    StreamingTransport,
    StreamOf,
    call_many,
    stream_items,
)
from lotus_client.transport.deadlines import HEAVY_READS, Deadlines
from lotus_client.transport.failover import Endpoint, FailoverTransport
from lotus_client.transport.http import HttpTransport
from lotus_client.transport.node import NodeTransport
from lotus_client.transport.retry import RetryingTransport, RetryPolicy
from lotus_client.transport.safe_reads import SAFE_READS
from lotus_client.transport.ws import WsTransport

__all__ = [
    "HEAVY_READS",
    "SAFE_READS",
    "BatchingTransport",
    "Call",
    "Deadlines",
    "Endpoint",
    "FailoverTransport",
    "HttpTransport",
    "NodeTransport",
    "Outcome",
    "RetryPolicy",
    "RetryingTransport",
    "RpcTransport",
    "Shape",
    "StreamOf",
    "StreamingTransport",
    "WsTransport",
    "call_many",
    "stream_items",
]
