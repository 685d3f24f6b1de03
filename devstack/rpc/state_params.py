"""`StateDecodeParams` and `StateEncodeParams`. Source: Lotus `node/impl/full/state.go`, `chain/stmgr/utils.go`."""

from __future__ import annotations

from typing import Any

from devstack.auth import Permission
from devstack.chain.states import CODE_CIDS
from devstack.node import FullNode
from devstack.rpc.encode import bytes_json
from devstack.rpc.errors import RpcError
from devstack.rpc.go_types import EMPTY, GoType
from devstack.rpc.method_types import method_types
from devstack.rpc.methods import Method
from devstack.rpc.params import ADDRESS, ANY, BYTES, CID, TIPSET_KEY, UINT64
from devstack.rpc.resolve import existing_id, state_at
from lotus_client import cbor
from lotus_client.address import Address
from lotus_client.chain import TipSetKey
from lotus_client.cid import Cid

__all__ = ["METHODS", "decode_value", "return_json"]

_NAMES = {code: name for name, code in CODE_CIDS.items()}


def decode_value(kind: GoType, raw: bytes) -> Any:
    """The JSON of a value's CBOR.

    Raises:
        ValueError: not of that type.
    """
    if kind is EMPTY:
        return {}
    return kind.to_json(cbor.decode(raw))


def return_json(code: str, method: int, raw: bytes) -> Any:
    """A return as `StateWaitMsg` decodes it: base64 of its bytes when the method's types are not known.

    Raises:
        ValueError: not of the method's type.
    """
    known = method_types(code, method)
    return bytes_json(raw) if known is None else decode_value(known[1], raw)


def _params_type(code: Cid, method: int) -> GoType:
    known = method_types(_NAMES.get(code, ""), method)
    if known is None:
        raise RpcError(
            1,
            f"getting params type: unknown method {method} for actor {code}: actor metadata not found",
        )
    return known[0]


def _decode(
    node: FullNode, address: Address | None, method: int, params: bytes, key: TipSetKey
) -> Any:
    state = state_at(node, key)
    kind = _params_type(state.actor(existing_id(state, address)).code, method)
    try:
        return decode_value(kind, params)
    except ValueError as error:
        raise RpcError(1, str(error)) from error


def _encode(_node: FullNode, code: Cid, method: int, params: Any) -> str | None:
    kind = _params_type(code, method)
    try:
        value = kind.to_cbor(params)
    except ValueError as error:
        raise RpcError(1, f"json unmarshal: {error}") from error
    return bytes_json(None if kind is EMPTY else cbor.encode(value))


_READ = Permission.READ

METHODS: tuple[Method[FullNode], ...] = (
    Method("StateDecodeParams", _READ, (ADDRESS, UINT64, BYTES, TIPSET_KEY), _decode),
    Method("StateEncodeParams", _READ, (CID, UINT64, ANY), _encode),
)
