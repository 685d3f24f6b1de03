"""Messages as Ethereum's transactions and receipts. Source: Lotus `node/impl/eth/{transaction,utils}.go`."""

from __future__ import annotations

from typing import Any, Final

from devstack.auth import Permission
from devstack.chain import ChainLookupError, Invocation, PushRefused, StateView
from devstack.chain.gas import gas_outputs
from devstack.node import FullNode
from devstack.rpc.encode import cid_json
from devstack.rpc.errors import RpcError
from devstack.rpc.eth_forms import (
    BLOCK,
    BLOCK_NUMBER,
    ETH_BYTES,
    ETH_HASH,
    ETH_UINT,
    OPTIONAL_HASH,
    BlockParam,
    eth_address_of,
    hex_bytes,
    recipient_of,
)
from devstack.rpc.eth_logs_json import bloom_of, tipset_logs
from devstack.rpc.eth_tipsets import resolve, resolve_number
from devstack.rpc.methods import Method
from devstack.rpc.params import CID, EPOCH
from lotus_client.actors.evm import EAM, CreateReturn, EamMethod, EvmMethod, optional_bytes
from lotus_client.actors.wire import ParamsError
from lotus_client.chain import TipSet
from lotus_client.cid import Cid
from lotus_client.crypto import SignatureType
from lotus_client.eth import (
    EthTransaction,
    EthTransactionError,
    TransactionKind,
    hash_cid,
    message_hash,
)
from lotus_client.messages import Message, SignedMessage
from lotus_client.state import MessageLookup
from lotus_client.types import Epoch

__all__ = ["METHODS", "abi_words", "find_transaction", "native_input", "transaction_json"]

Json = dict[str, Any]

_NATIVE_SELECTOR: Final = bytes.fromhex("868e10c4")  # handle_filecoin_method(uint64,uint64,bytes)
_CBOR: Final = 0x51
_WORD: Final = 32


def native_input(method: int, codec: int, params: bytes) -> bytes:
    """A native message's call as if it were Solidity's `handle_filecoin_method`."""
    return _NATIVE_SELECTOR + abi_words(method, codec, params)


def abi_words(first: int, second: int, data: bytes) -> bytes:
    """Two numbers and bytes in Solidity's ABI."""
    head = (first, second, 3 * _WORD, len(data))
    padded = data.ljust(-(-len(data) // _WORD) * _WORD, b"\0")
    return b"".join(word.to_bytes(_WORD, "big") for word in head) + padded


def transaction_json(
    signed: SignedMessage,
    state: StateView | None,
    chain_id: int,
    tipset: TipSet | None = None,
    index: int = 0,
) -> Json:
    """A message as a transaction; `state` is that after it ran, None for a pending transaction of an Ethereum account."""
    if signed.signature.type is SignatureType.DELEGATED:
        body = _eth_json(signed, chain_id)
    else:
        assert state is not None
        body = _native_json(signed.message, state, chain_id)
    body["hash"] = hex_bytes(message_hash(signed, chain_id))
    body["blockHash"] = None if tipset is None else hex_bytes(tipset.key.cid.digest)
    body["blockNumber"] = None if tipset is None else hex(tipset.height)
    body["transactionIndex"] = None if tipset is None else hex(index)
    return body


def _eth_json(signed: SignedMessage, chain_id: int) -> Json:
    transaction = EthTransaction.of_message(signed, chain_id)
    sender = signed.message.from_.eth_address
    assert sender is not None
    body: Json = {
        "chainId": hex(transaction.chain_id),
        "nonce": hex(transaction.nonce),
        "from": hex_bytes(sender),
        "to": None if transaction.to is None else hex_bytes(transaction.to),
        "value": hex(transaction.value),
        "type": hex(transaction.kind.type_byte),
        "input": hex_bytes(transaction.data),
        "gas": hex(transaction.gas_limit),
        "accessList": None,
        "v": hex(transaction.v),
        "r": hex(transaction.r),
        "s": hex(transaction.s),
    }
    if transaction.kind is TransactionKind.EIP1559:
        fees = {
            "maxFeePerGas": hex(transaction.fee_cap),
            "maxPriorityFeePerGas": hex(transaction.premium),
            "accessList": [],
        }
    else:
        fees = {"gasPrice": hex(transaction.fee_cap)}
    return {**body, **fees}


def _native_json(message: Message, state: StateView, chain_id: int) -> Json:
    sender = eth_address_of(message.from_, state)
    if sender is None:
        raise RpcError(1, f"failed to lookup sender address {message.from_}")
    to: bytes | None = recipient_of(message.to, state)
    data = native_input(message.method, _CBOR if message.params else 0, message.params)
    creates = message.to == EAM and message.method == EamMethod.CREATE_EXTERNAL
    if creates or message.method == EvmMethod.INVOKE_CONTRACT:
        try:
            data = optional_bytes(message.params)
            to = None if creates else to
        except ParamsError:
            pass  # anyone may send garbage; it stays a native call
    return {
        "chainId": hex(chain_id),
        "nonce": hex(message.nonce),
        "from": hex_bytes(sender),
        "to": None if to is None else hex_bytes(to),
        "value": hex(message.value.value),
        "type": "0x2",
        "input": hex_bytes(data),
        "gas": hex(message.gas_limit),
        "maxFeePerGas": hex(message.gas_fee_cap.value),
        "maxPriorityFeePerGas": hex(message.gas_premium.value),
        "accessList": [],
        "v": "0x0",
        "r": "0x0",
        "s": "0x0",
    }


def _receipt_json(
    node: FullNode, tipset: TipSet, index: int, run: Invocation, all_logs: list[Json]
) -> Json:
    """The receipt of a tipset's message; `all_logs` are the tipset's."""
    network = node.network
    signed = network.messages_in_tipset(tipset.key)[index]
    state = network.pending_state(tipset.key)
    transaction = transaction_json(signed, state, network.config.eip155_chain_id, tipset, index)
    receipt = run.receipt
    logs = [log for log in all_logs if log["transactionIndex"] == hex(index)]
    spent = gas_outputs(run.message, receipt.gas_used).total_cost.value
    created = transaction["to"] is None and receipt.exit_code == 0
    return {
        "transactionHash": transaction["hash"],
        "transactionIndex": transaction["transactionIndex"],
        "blockHash": transaction["blockHash"],
        "blockNumber": transaction["blockNumber"],
        "from": transaction["from"],
        "to": transaction["to"],
        "root": hex_bytes(bytes(_WORD)),
        "status": hex(receipt.exit_code == 0),
        "contractAddress": (
            hex_bytes(CreateReturn.from_cbor(receipt.return_).eth_address) if created else None
        ),
        "cumulativeGasUsed": "0x0",
        "gasUsed": hex(receipt.gas_used),
        "effectiveGasPrice": hex(spent // receipt.gas_used if receipt.gas_used else 0),
        "logsBloom": bloom_of(logs),
        "logs": logs,
        "type": transaction["type"],
    }


def _cid_of(node: FullNode, digest: bytes) -> Cid:
    """The message of a transaction hash: a known transaction's, else the CID with that digest."""
    return node.eth.cid_of(digest) or hash_cid(digest)


def _find(node: FullNode, digest: bytes, limit: int) -> tuple[TipSet, int, Invocation] | None:
    """The tipset that includes a transaction, its index there and its run; None while it is not executed."""
    cid = _cid_of(node, digest)
    found: MessageLookup | None = node.network.search_message(cid, None, limit)
    if found is None:
        return None
    executed = node.network.tipset(found.tipset)
    included = node.network.tipset(executed.parents)
    for index, run in enumerate(node.network.invocations(included.key)):
        if run.cid == found.message:
            return included, index, run
    return None


def find_transaction(node: FullNode, digest: bytes) -> TipSet | None:
    """The tipset that includes an executed transaction."""
    found = _find(node, digest, -1)
    return None if found is None else found[0]


def _transaction_limited(node: FullNode, digest: bytes | None, limit: Epoch) -> Json | None:
    if digest is None:
        return None
    chain_id = node.network.config.eip155_chain_id
    found = _find(node, digest, limit)
    if found is not None:
        tipset, index, _ = found
        signed = node.network.messages_in_tipset(tipset.key)[index]
        state = node.network.pending_state(tipset.key)
        return transaction_json(signed, state, chain_id, tipset, index)
    cid = _cid_of(node, digest)
    pending = next((one for one in node.network.mpool.pending() if one.cid == cid), None)
    if pending is None:
        return None
    if pending.signature.type is not SignatureType.DELEGATED:
        raise RpcError(
            1, "could not convert Filecoin message into tx: signature is not delegated type"
        )
    return transaction_json(pending, None, chain_id)


def _transaction(node: FullNode, digest: bytes | None) -> Json | None:
    return _transaction_limited(node, digest, Epoch(-1))


def _receipt_limited(node: FullNode, digest: bytes, limit: Epoch) -> Json | None:
    found = _find(node, digest, limit)
    return None if found is None else _receipt_json(node, *found, tipset_logs(node, found[0]))


def _receipt(node: FullNode, digest: bytes) -> Json | None:
    return _receipt_limited(node, digest, Epoch(-1))


def _block_receipts_limited(node: FullNode, param: BlockParam, limit: Epoch) -> list[Json]:
    tipset = resolve(node, param)
    if limit > -1 and tipset.height < node.network.head.height - limit:
        raise RpcError(1, f"tipset {tipset.key} is older than the allowed lookback limit")
    runs = node.network.invocations(tipset.key)
    logs = tipset_logs(node, tipset)
    return [_receipt_json(node, tipset, index, run, logs) for index, run in enumerate(runs)]


def _block_receipts(node: FullNode, param: BlockParam) -> list[Json]:
    return _block_receipts_limited(node, param, Epoch(-1))


def _at_index(node: FullNode, tipset: TipSet, index: int) -> Json:
    messages = node.network.messages_in_tipset(tipset.key)
    if index >= len(messages):
        raise RpcError(1, f"index {index} out of range: tipset contains {len(messages)} messages")
    state = node.network.pending_state(tipset.key)
    chain_id = node.network.config.eip155_chain_id
    return transaction_json(messages[index], state, chain_id, tipset, index)


def _by_block_number(node: FullNode, param: BlockParam, index: int) -> Json:
    return _at_index(node, resolve_number(node, param, strict=True), index)


def _by_block_hash(node: FullNode, digest: bytes, index: int) -> Json:
    return _at_index(node, resolve(node, BlockParam(hash=digest)), index)


def _send(node: FullNode, raw: bytes) -> str:
    """The transaction's hash, once its message is in the mempool."""
    chain_id = node.network.config.eip155_chain_id
    try:
        transaction = EthTransaction.parse(raw)
        signed = transaction.to_signed_message(chain_id)
    except EthTransactionError as error:
        raise RpcError(1, str(error)) from error
    try:
        node.network.mpool.push(signed)
    except PushRefused as error:
        raise RpcError(1, f"mpool push: {error}") from error
    return hex_bytes(transaction.hash)


def _message_cid(node: FullNode, digest: bytes | None) -> Json | None:
    if digest is None:
        return None
    try:
        return cid_json(node.network.message(_cid_of(node, digest)).cid)
    except ChainLookupError:
        return None


def _hash_by_cid(node: FullNode, cid: Cid) -> str | None:
    try:
        signed = node.network.message(cid)
    except ChainLookupError:
        return None
    return hex_bytes(message_hash(signed, node.network.config.eip155_chain_id))


_READ = Permission.READ


def _row(
    name: str, params: tuple[Any, ...], handler: Any, alias: str | None = None
) -> Method[FullNode]:
    return Method(name, _READ, params, handler, aliases=() if alias is None else (alias,))


METHODS: tuple[Method[FullNode], ...] = (
    _row("EthGetTransactionByHash", (OPTIONAL_HASH,), _transaction, "eth_getTransactionByHash"),
    _row("EthGetTransactionByHashLimited", (OPTIONAL_HASH, EPOCH), _transaction_limited),
    _row("EthGetTransactionReceipt", (ETH_HASH,), _receipt, "eth_getTransactionReceipt"),
    _row("EthGetTransactionReceiptLimited", (ETH_HASH, EPOCH), _receipt_limited),
    _row("EthGetBlockReceipts", (BLOCK,), _block_receipts, "eth_getBlockReceipts"),
    _row("EthGetBlockReceiptsLimited", (BLOCK, EPOCH), _block_receipts_limited),
    _row(
        "EthGetTransactionByBlockNumberAndIndex",
        (BLOCK_NUMBER, ETH_UINT),
        _by_block_number,
        "eth_getTransactionByBlockNumberAndIndex",
    ),
    _row(
        "EthGetTransactionByBlockHashAndIndex",
        (ETH_HASH, ETH_UINT),
        _by_block_hash,
        "eth_getTransactionByBlockHashAndIndex",
    ),
    _row("EthSendRawTransaction", (ETH_BYTES,), _send, "eth_sendRawTransaction"),
    _row("EthGetMessageCidByTransactionHash", (OPTIONAL_HASH,), _message_cid),
    _row("EthGetTransactionHashByCid", (CID,), _hash_by_cid),
)
