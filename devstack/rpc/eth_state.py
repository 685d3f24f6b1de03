"""Reads of accounts and contracts, calls and estimates. Source: Lotus `node/impl/eth/{lookup,gas,filecoin,basic}.go`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from devstack.auth import Permission
from devstack.chain import StateView
from devstack.chain.evm_state import EvmState
from devstack.chain.gas import BLOCK_GAS_LIMIT, with_margin
from devstack.node import FullNode
from devstack.rpc.encode import address_json
from devstack.rpc.errors import RpcError
from devstack.rpc.eth_forms import (
    BLOCK,
    ETH_ADDRESS,
    ETH_BYTES,
    ETH_CALL,
    BlockParam,
    EthCall,
    decode_block,
    decode_call,
    hex_bytes,
    masked,
)
from devstack.rpc.eth_reverts import revert_error
from devstack.rpc.eth_tipsets import resolve, resolve_number
from devstack.rpc.methods import Method, RawParams
from devstack.rpc.misc import version_json
from devstack.rpc.params import decode_address as decode_filecoin_address
from lotus_client.actors.evm import EAM, optional_bytes
from lotus_client.address import Address
from lotus_client.chain import TipSet

__all__ = ["METHODS"]

_WORD: Final = 32
_OUT_OF_GAS: Final = 7


def _state_after(node: FullNode, param: BlockParam) -> StateView:
    """The state after the block's own messages."""
    return node.network.pending_state(resolve(node, param).key)


def _contract(state: StateView, address: bytes) -> EvmState | None:
    target = Address.of_eth(address)
    if state.actor_id(target) is None or state.code_name(target) != "evm":
        return None
    contract: EvmState = state.actor_state(target)
    return None if contract.tombstone is not None else contract


def _balance(node: FullNode, address: bytes, param: BlockParam) -> str:
    return hex(_state_after(node, param).balance(Address.of_eth(address)).value)


def _count(node: FullNode, address: bytes, param: BlockParam) -> str:
    """The nonce: `pending` counts the mempool's messages; else it is that after the block."""
    target = Address.of_eth(address)
    if param.tag == "pending":
        return hex(node.network.mpool.next_nonce(target))
    state = _state_after(node, param)
    if state.actor_id(target) is None:
        return "0x0"
    if state.code_name(target) != "evm":
        return hex(state.actor(target).nonce)
    contract = _contract(state, address)
    return hex(0 if contract is None else contract.nonce)


def _code(node: FullNode, address: bytes, param: BlockParam) -> str:
    tipset = resolve(node, param)
    if tipset.height == 0:
        raise RpcError(1, "block param must not specify genesis block")
    contract = _contract(node.network.pending_state(tipset.key), address)
    return hex_bytes(b"" if contract is None else contract.bytecode)


def _storage(node: FullNode, address: bytes, position: bytes, param: BlockParam) -> str:
    state = _state_after(node, param)
    if len(position) > _WORD:
        raise RpcError(1, "supplied storage key is too long")
    contract = _contract(state, address)
    slot = position.rjust(_WORD, b"\0")
    return hex_bytes(bytes(_WORD) if contract is None else contract.storage.get(slot, bytes(_WORD)))


def _call(node: FullNode, call: EthCall, param: BlockParam) -> str:
    run = node.network.call(call.to_message(), resolve(node, param).key, any_sender=True)
    if run.receipt.exit_code:
        raise revert_error(run)
    return hex_bytes(b"" if run.message.to == EAM else optional_bytes(run.receipt.return_))


def _decode_estimate(params: list[Any]) -> tuple[EthCall, BlockParam | None]:
    if len(params) not in (1, 2):
        raise ValueError(f"expected 1 or 2 params, got {len(params)}")
    given = params[1] if len(params) == 2 else None
    return decode_call(params[0]), None if given is None else decode_block(given)


def _estimate(node: FullNode, call: EthCall, param: BlockParam | None) -> str:
    """Gas with Lotus' margin of a quarter, and more where nested calls need it; a given limit bounds it, and must do."""
    tipset = node.network.head if param is None else resolve(node, param)
    most = call.gas or BLOCK_GAS_LIMIT
    run = node.network.call(call.to_message(), tipset.key, any_sender=True)
    if call.gas and run.receipt.exit_code == _OUT_OF_GAS:
        raise RpcError(2, f"gas required exceeds allowance ({call.gas}): call ran out of gas")
    if run.receipt.exit_code:
        raise revert_error(run)
    limit = min(with_margin(run.receipt.gas_used), most)
    while limit < most and not _succeeds(node, replace(call, gas=limit), tipset):
        limit = min(with_margin(limit), most)
    return hex(limit)


def _succeeds(node: FullNode, call: EthCall, tipset: TipSet) -> bool:
    """Whether a call's gas is enough: a contract gives those it calls only 63 of 64 parts of what is left."""
    run = node.network.call(call.to_message(), tipset.key, any_sender=True)
    return run.receipt.exit_code == 0


def _to_filecoin(_node: FullNode, address: bytes) -> str:
    return address_json(Address.of_eth(address))


def _decode_from_filecoin(params: list[Any]) -> tuple[Address, BlockParam]:
    if len(params) not in (1, 2):
        raise ValueError(f"expected 1 or 2 params, got {len(params)}")
    address = decode_filecoin_address(params[0])
    if address is None:
        raise ValueError("invalid filecoin address protocol: <empty>")
    given = params[1] if len(params) == 2 else None
    return address, BlockParam(tag="finalized") if given is None else decode_block(given)


def _from_filecoin(node: FullNode, address: Address, param: BlockParam) -> str:
    direct = address.eth_address
    if direct is not None:
        return hex_bytes(direct)
    if address.protocol == 4:
        raise RpcError(1, f"invalid filecoin address protocol: {address_json(address)}")
    tipset = resolve_number(node, param, strict=False)
    actor_id = node.network.state(tipset.key).actor_id(address)
    if actor_id is None:
        raise RpcError(
            1,
            f"failed to lookup ID address for given Filecoin address {address_json(address)} "
            "(ensure that the address has been instantiated on-chain and sufficient epochs have "
            f"passed since instantiation to confirm to the given 'blkParam': \"{param.tag}\"): "
            "actor not found",
        )
    return hex_bytes(masked(actor_id))


def _accounts(_node: FullNode) -> list[str]:
    return []  # the node signs no Ethereum transactions


def _chain_id(node: FullNode) -> str:
    return hex(node.network.config.eip155_chain_id)


def _net_version(node: FullNode) -> str:
    return str(node.network.config.eip155_chain_id)


def _protocol_version(node: FullNode) -> str:
    return hex(node.network.network_version(node.network.head.height))


def _never(_node: FullNode) -> bool:
    return False


def _always(_node: FullNode) -> bool:
    return True


def _client_version(_node: FullNode) -> str:
    return str(version_json(0, 0)["Version"])


_READ = Permission.READ


def _row(
    name: str, params: tuple[Any, ...] | RawParams, handler: Any, alias: str | None = None
) -> Method[FullNode]:
    return Method(name, _READ, params, handler, aliases=() if alias is None else (alias,))


METHODS: tuple[Method[FullNode], ...] = (
    _row("EthAccounts", (), _accounts, "eth_accounts"),
    _row("EthChainId", (), _chain_id, "eth_chainId"),
    _row("EthProtocolVersion", (), _protocol_version, "eth_protocolVersion"),
    _row("EthSyncing", (), _never, "eth_syncing"),
    _row("NetVersion", (), _net_version, "net_version"),
    _row("NetListening", (), _always, "net_listening"),
    _row("Web3ClientVersion", (), _client_version, "web3_clientVersion"),
    _row("EthGetBalance", (ETH_ADDRESS, BLOCK), _balance, "eth_getBalance"),
    _row("EthGetTransactionCount", (ETH_ADDRESS, BLOCK), _count, "eth_getTransactionCount"),
    _row("EthGetCode", (ETH_ADDRESS, BLOCK), _code, "eth_getCode"),
    _row("EthGetStorageAt", (ETH_ADDRESS, ETH_BYTES, BLOCK), _storage, "eth_getStorageAt"),
    _row("EthCall", (ETH_CALL, BLOCK), _call, "eth_call"),
    _row("EthEstimateGas", RawParams(_decode_estimate), _estimate, "eth_estimateGas"),
    _row("EthAddressToFilecoinAddress", (ETH_ADDRESS,), _to_filecoin),
    _row("FilecoinAddressToEthAddress", RawParams(_decode_from_filecoin), _from_filecoin),
)
