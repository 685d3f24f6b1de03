"""`EthTrace*`: what a block's transactions did, call by call. Source: Lotus `node/impl/eth/trace.go`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from devstack.auth import Permission
from devstack.node import FullNode
from devstack.rpc.errors import RpcError
from devstack.rpc.eth_forms import (
    BLOCK_NUMBER,
    ETH_HASH,
    BlockParam,
    decode_address,
    decode_quantity,
    eth_address_of,
    hex_bytes,
)
from devstack.rpc.eth_tipsets import resolve_number
from devstack.rpc.eth_trace_build import traces_of
from devstack.rpc.eth_transactions import find_transaction
from devstack.rpc.methods import Method, Param
from devstack.rpc.params import STRINGS, decode_list, decode_object
from lotus_client.chain import TipSet
from lotus_client.eth import message_hash
from lotus_client.types import Epoch

__all__ = ["METHODS"]

Json = dict[str, Any]

_MAX_RESULTS: Final = 500  # Lotus `[Fevm]` EthTraceFilterMaxResults


@dataclass(frozen=True, slots=True)
class TraceFilter:
    """Which traces are wanted: of blocks, from and to addresses (none is any), skipping `after`, at most `count`."""

    first: BlockParam
    last: BlockParam
    senders: frozenset[str]
    targets: frozenset[str]
    after: int
    count: int | None


def _decode_filter(value: Any) -> TraceFilter:
    body = decode_object(value)

    def addresses(name: str) -> frozenset[str]:
        return frozenset(hex_bytes(one) for one in decode_list(body.get(name), decode_address))

    def block(name: str) -> BlockParam:
        given = body.get(name)
        param: BlockParam = BLOCK_NUMBER.decode("latest" if given is None else given)
        return param

    count = body.get("count")
    return TraceFilter(
        first=block("fromBlock"),
        last=block("toBlock"),
        senders=addresses("fromAddress"),
        targets=addresses("toAddress"),
        after=decode_quantity(body.get("after")),
        count=None if count is None else decode_quantity(count),
    )


def _transactions(node: FullNode, tipset: TipSet) -> Iterator[tuple[str, list[Json]]]:
    """The hash and the traces of each of the tipset's messages."""
    network = node.network
    execution = network.execution(tipset.key)
    state = network.pending_state(tipset.key)
    explicit = [run for run in execution.invocations if not run.implicit]
    for run, signed in zip(explicit, execution.messages, strict=True):
        sender = eth_address_of(run.message.from_, state)
        digest = message_hash(signed, network.config.eip155_chain_id)
        yield hex_bytes(digest), traces_of(run.trace, sender or bytes(20))


def _block_traces(node: FullNode, tipset: TipSet) -> list[Json]:
    block = hex_bytes(tipset.key.cid.digest)
    found: list[Json] = []
    for position, (digest, traces) in enumerate(_transactions(node, tipset), 1):  # as Lotus counts
        place = {
            "blockHash": block,
            "blockNumber": tipset.height,
            "transactionHash": digest,
            "transactionPosition": position,
        }
        found += [{**trace, **place} for trace in traces]
    return found


def _trace_block(node: FullNode, param: BlockParam) -> list[Json]:
    return _block_traces(node, resolve_number(node, param, strict=True))


def _replay(node: FullNode, param: BlockParam, kinds: list[str]) -> list[Json]:
    if kinds != ["trace"]:
        raise RpcError(1, "only 'trace' is supported")
    tipset = resolve_number(node, param, strict=True)
    return [
        {
            "output": _output(traces),
            "stateDiff": None,
            "trace": traces,
            "transactionHash": digest,
            "vmTrace": None,
        }
        for digest, traces in _transactions(node, tipset)
    ]


def _output(traces: list[Json]) -> str:
    if not traces:
        return "0x"
    result = traces[0]["result"]
    output: str = result["output"] if traces[0]["type"] == "call" else result["code"]
    return output


def _trace_transaction(node: FullNode, digest: bytes) -> list[Json]:
    included = find_transaction(node, digest)
    if included is None:
        if node.eth.cid_of(digest) in node.network.mpool:
            raise RpcError(1, "no trace for pending transactions")
        raise RpcError(1, "transaction not found")
    wanted = hex_bytes(digest)
    return [one for one in _block_traces(node, included) if one["transactionHash"] == wanted]


def _filter(node: FullNode, wanted: TraceFilter) -> list[Json]:
    if wanted.count == 0:
        return []
    if wanted.count is not None and wanted.count > _MAX_RESULTS:
        raise RpcError(
            1,
            f"invalid response count, requested {wanted.count}, "
            f"maximum supported is {_MAX_RESULTS}",
        )
    found: list[Json] = []
    skipped = 0
    for trace in _matching(node, wanted):
        skipped += 1
        if skipped <= wanted.after:
            continue
        found.append(trace)
        if len(found) == wanted.count:
            break
        if len(found) > _MAX_RESULTS:
            raise RpcError(
                1,
                f"too many results, maximum supported is {_MAX_RESULTS}, "
                "try paginating requests with After and Count",
            )
    return found


def _matching(node: FullNode, wanted: TraceFilter) -> Iterator[Json]:
    first = resolve_number(node, wanted.first, strict=False).height
    last = resolve_number(node, wanted.last, strict=False).height
    at = wanted.first.number if wanted.first.number is not None else first
    while at <= last:
        tipset = node.network.tipset_after_height(Epoch(at))
        if tipset.height > last:
            return
        for trace in _block_traces(node, tipset):
            if _matches(trace, wanted):
                yield trace
        at = tipset.height + 1


def _matches(trace: Json, wanted: TraceFilter) -> bool:
    target = trace["action"].get("to") or trace["result"].get("address")
    if wanted.targets and target not in wanted.targets:
        return False
    return not wanted.senders or trace["action"]["from"] in wanted.senders


_READ = Permission.READ
_CRITERIA = Param("ethtypes.EthTraceFilterCriteria", _decode_filter)

METHODS: tuple[Method[FullNode], ...] = (
    Method("EthTraceBlock", _READ, (BLOCK_NUMBER,), _trace_block, aliases=("trace_block",)),
    Method(
        "EthTraceTransaction",
        _READ,
        (ETH_HASH,),
        _trace_transaction,
        aliases=("trace_transaction",),
    ),
    Method(
        "EthTraceReplayBlockTransactions",
        _READ,
        (BLOCK_NUMBER, STRINGS),
        _replay,
        aliases=("trace_replayBlockTransactions",),
    ),
    Method("EthTraceFilter", _READ, (_CRITERIA,), _filter, aliases=("trace_filter",)),
)
