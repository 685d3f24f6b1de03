"""Tipsets as Ethereum's blocks. Source: Lotus `node/impl/eth/{tipsetresolver,utils,transaction}.go`."""

from __future__ import annotations

from typing import Any, Final

from devstack.auth import Permission
from devstack.chain import ChainLookupError
from devstack.chain.gas import BLOCK_GAS_LIMIT
from devstack.node import FullNode
from devstack.rpc.errors import RpcError
from devstack.rpc.eth_forms import BLOCK_NUMBER, ETH_HASH, BlockParam, hex_bytes
from devstack.rpc.eth_tipsets import resolve_number
from devstack.rpc.eth_transactions import transaction_json
from devstack.rpc.methods import Method
from devstack.rpc.params import BOOL
from lotus_client.chain import TipSet
from lotus_client.eth import message_hash

__all__ = ["METHODS", "block_json"]

Json = dict[str, Any]

_NO_UNCLES: Final = "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347"
_NO_TRANSACTIONS: Final = "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421"
_NO_HASH: Final = hex_bytes(bytes(32))
_FULL_BLOOM: Final = "0x" + "ff" * 256


def block_json(node: FullNode, tipset: TipSet, *, full: bool) -> Json:
    """A tipset as a block, with its transactions or their hashes; the tipset is executed for it."""
    network = node.network
    runs = network.invocations(tipset.key)
    messages = network.messages_in_tipset(tipset.key)
    state = network.pending_state(tipset.key)
    chain_id = network.config.eip155_chain_id
    transactions: list[Any] = [
        transaction_json(signed, state, chain_id, tipset, index)
        if full
        else hex_bytes(message_hash(signed, chain_id))
        for index, signed in enumerate(messages)
    ]
    first = tipset.blocks[0]
    return {
        "hash": hex_bytes(tipset.key.cid.digest),
        "parentHash": hex_bytes(tipset.parents.cid.digest),
        "sha3Uncles": _NO_UNCLES,
        "miner": hex_bytes(bytes(20)),
        "stateRoot": _NO_HASH,
        "transactionsRoot": _NO_HASH if messages else _NO_TRANSACTIONS,
        "receiptsRoot": _NO_HASH,
        "logsBloom": _FULL_BLOOM,
        "difficulty": "0x0",
        "totalDifficulty": "0x0",
        "number": hex(tipset.height),
        "gasLimit": hex(BLOCK_GAS_LIMIT * len(tipset.blocks)),
        "gasUsed": hex(sum(run.receipt.gas_used for run in runs)),
        "timestamp": hex(first.timestamp),
        "extraData": "0x",
        "mixHash": _NO_HASH,
        "nonce": "0x0000000000000000",
        "baseFeePerGas": hex(first.parent_base_fee.value),
        "size": "0x0",
        "transactions": transactions,
        "uncles": [],
    }


def _number(node: FullNode) -> str:
    head = node.network.head
    return hex(head.height and node.network.tipset(head.parents).height)


def _numbered(node: FullNode, param: BlockParam) -> TipSet | None:
    """The tipset of exactly that height; None for a null round."""
    try:
        return resolve_number(node, param, strict=True)
    except RpcError as error:
        if error.code == RpcError.null_round(0).code:
            return None
        raise


def _hashed(node: FullNode, digest: bytes) -> TipSet | None:
    try:
        return node.network.tipset_by_hash(digest)
    except ChainLookupError:
        return None


def _by_number(node: FullNode, param: BlockParam, full: bool) -> Json | None:
    tipset = _numbered(node, param)
    return None if tipset is None else block_json(node, tipset, full=full)


def _by_hash(node: FullNode, digest: bytes, full: bool) -> Json | None:
    tipset = _hashed(node, digest)
    return None if tipset is None else block_json(node, tipset, full=full)


def _count(node: FullNode, tipset: TipSet | None) -> str | None:
    return None if tipset is None else hex(len(node.network.messages_in_tipset(tipset.key)))


def _count_by_number(node: FullNode, param: BlockParam) -> str | None:
    return _count(node, _numbered(node, param))


def _count_by_hash(node: FullNode, digest: bytes) -> str | None:
    return _count(node, _hashed(node, digest))


_READ = Permission.READ

METHODS: tuple[Method[FullNode], ...] = (
    Method("EthBlockNumber", _READ, (), _number, aliases=("eth_blockNumber",)),
    Method(
        "EthGetBlockByNumber",
        _READ,
        (BLOCK_NUMBER, BOOL),
        _by_number,
        aliases=("eth_getBlockByNumber",),
    ),
    Method("EthGetBlockByHash", _READ, (ETH_HASH, BOOL), _by_hash, aliases=("eth_getBlockByHash",)),
    Method(
        "EthGetBlockTransactionCountByNumber",
        _READ,
        (BLOCK_NUMBER,),
        _count_by_number,
        aliases=("eth_getBlockTransactionCountByNumber",),
    ),
    Method(
        "EthGetBlockTransactionCountByHash",
        _READ,
        (ETH_HASH,),
        _count_by_hash,
        aliases=("eth_getBlockTransactionCountByHash",),
    ),
)
