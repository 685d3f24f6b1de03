"""`Wallet*`: keys, balances and signatures."""

from __future__ import annotations

import base64
from typing import Any

from devstack.auth import Permission
from devstack.chain import ChainLookupError
from devstack.node import FullNode
from devstack.rpc.encode import (
    address_json,
    amount_json,
    list_json,
    signature_json,
    signed_message_json,
)
from devstack.rpc.errors import RpcError
from devstack.rpc.methods import Method, Param
from devstack.rpc.params import (
    ADDRESS,
    BYTES,
    MESSAGE,
    SIGNATURE,
    STRING,
    decode_bytes,
    decode_object,
)
from devstack.rpc.resolve import defined
from devstack.wallet import KeyType
from lotus_client.address import Address
from lotus_client.crypto import (
    Signature,
    SignatureError,
    SigningKey,
    verify_signature,
)
from lotus_client.eth import EthTransactionError
from lotus_client.messages import Message

__all__ = ["METHODS"]

MaybeAddress = Address | None


def _decode_key_info(value: Any) -> SigningKey:
    body = decode_object(value)
    kind = body.get("Type")
    if kind not in list(KeyType):
        raise ValueError(f"key type {kind!r} is not held by this wallet, only {', '.join(KeyType)}")
    return KeyType(kind).of_secret(decode_bytes(body.get("PrivateKey")))


def _new(node: FullNode, kind: str) -> str:
    if kind not in list(KeyType):
        raise RpcError(1, f"unsupported key type: {kind}")
    return address_json(node.wallet.new(KeyType(kind)))


def _has(node: FullNode, address: MaybeAddress) -> bool:
    try:
        return node.wallet.has(node.key_address(defined(address)))
    except ChainLookupError:
        return False


def _list(node: FullNode) -> list[str] | None:
    return list_json(sorted(node.wallet.addresses(), key=str), address_json)


def _balance(node: FullNode, address: MaybeAddress) -> str:
    # Lotus reads the heaviest tipset's parent state and takes an unknown address as an empty one.
    state = node.network.state()
    known = state.actor_id(defined(address)) is not None
    return amount_json(state.balance(defined(address))) if known else "0"


def _sign(node: FullNode, address: MaybeAddress, data: bytes) -> dict[str, Any]:
    return signature_json(node.wallet.sign(_signer(node, address), data))


def _sign_message(node: FullNode, address: MaybeAddress, message: Message) -> dict[str, Any]:
    try:
        signed = node.wallet.sign_message(_signer(node, address), message)
    except EthTransactionError as error:
        raise RpcError(1, str(error)) from error
    return signed_message_json(signed)


def _signer(node: FullNode, address: MaybeAddress) -> Address:
    try:
        return node.key_address(defined(address))
    except ChainLookupError as error:
        raise RpcError(1, f"failed to resolve ID address: {address_json(address)}") from error


def _verify(_node: FullNode, address: MaybeAddress, data: bytes, signature: Signature) -> bool:
    try:
        verify_signature(signature, defined(address), data)
    except SignatureError as error:
        raise RpcError(1, str(error)) from error
    return True


def _default(node: FullNode) -> str:
    return address_json(node.wallet.default)


def _set_default(node: FullNode, address: MaybeAddress) -> None:
    node.wallet.set_default(defined(address))


def _export(node: FullNode, address: MaybeAddress) -> dict[str, Any]:
    key = node.wallet.key(defined(address))
    return {
        "Type": KeyType.of_address(key.address).value,
        "PrivateKey": base64.b64encode(key.secret).decode(),
    }


def _import(node: FullNode, key: SigningKey) -> str:
    return address_json(node.wallet.add(key))


def _delete(node: FullNode, address: MaybeAddress) -> None:
    node.wallet.delete(defined(address))


def _validate(_node: FullNode, text: str) -> str:
    try:
        return address_json(Address.parse(text))
    except ValueError as error:
        raise RpcError(1, str(error)) from error


_KEY_INFO = Param("types.KeyInfo", _decode_key_info)
_KEY_TYPE = Param("types.KeyType", STRING.decode)
_READ, _WRITE, _SIGN, _ADMIN = (
    Permission.READ,
    Permission.WRITE,
    Permission.SIGN,
    Permission.ADMIN,
)

METHODS: tuple[Method[FullNode], ...] = (
    Method("WalletNew", _WRITE, (_KEY_TYPE,), _new),
    Method("WalletHas", _WRITE, (ADDRESS,), _has),
    Method("WalletList", _WRITE, (), _list),
    Method("WalletBalance", _READ, (ADDRESS,), _balance),
    Method("WalletSign", _SIGN, (ADDRESS, BYTES), _sign),
    Method("WalletSignMessage", _SIGN, (ADDRESS, MESSAGE), _sign_message),
    Method("WalletVerify", _READ, (ADDRESS, BYTES, SIGNATURE), _verify),
    Method("WalletDefaultAddress", _WRITE, (), _default),
    Method("WalletSetDefault", _WRITE, (ADDRESS,), _set_default),
    Method("WalletExport", _ADMIN, (ADDRESS,), _export),
    Method("WalletImport", _ADMIN, (_KEY_INFO,), _import),
    Method("WalletDelete", _ADMIN, (ADDRESS,), _delete),
    Method("WalletValidateAddress", _READ, (STRING,), _validate),
)
