"""The contracts of `contracts/` on a chain without a node: their code, and an Ethereum account that calls them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from eth_abi import decode, encode
from eth_utils import function_signature_to_4byte_selector

from devstack.chain import Network
from lotus_client.actors.evm import (
    EAM,
    CreateReturn,
    EamMethod,
    EvmMethod,
    RawBytes,
    cbor_bytes,
    optional_bytes,
)
from lotus_client.address import Address
from lotus_client.crypto import Secp256k1Key
from lotus_client.eth import sign_delegated
from lotus_client.messages import Message
from lotus_client.state import Receipt
from lotus_client.types import AttoFil

FOLDER = Path(__file__).parents[3] / "contracts"
FIL = 10**18
HEIR = Address.of_eth(b"\xcd" * 20)  # of what contracts leave


def artifact(name: str) -> dict[str, Any]:
    """What the compiler made of a contract."""
    body: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return body


def initcode(name: str, types: list[str] | None = None, values: list[Any] | None = None) -> bytes:
    """A contract's initcode with its constructor's arguments."""
    return bytes.fromhex(artifact(name)["bytecode"][2:]) + encode(types or [], values or [])


def calldata(signature: str, *values: Any) -> bytes:
    """A call of a function such as `add(uint256,string)`."""
    inner = signature[signature.index("(") + 1 : -1]
    types = inner.split(",") if inner else []
    return function_signature_to_4byte_selector(signature) + encode(types, values)


class Caller:
    """An Ethereum account on a network, with money."""

    def __init__(self, network: Network, secret: int = 7) -> None:
        self.network = network
        self.key = Secp256k1Key(bytes([secret]) * 32)
        self.address = self.key.delegated_address
        network.mine_until(network.send("alice", self.address, value=AttoFil(100 * FIL)))

    @property
    def eth(self) -> bytes:
        found = self.address.eth_address
        assert found is not None
        return found

    def message(self, to: Address, data: bytes, value: int = 0) -> Message:
        method = EamMethod.CREATE_EXTERNAL if to == EAM else EvmMethod.INVOKE_CONTRACT
        nonce = self.network.mpool.next_nonce(self.address)
        params = cbor_bytes(data) if data else b""
        return Message(to, self.address, nonce, AttoFil(value), method=int(method), params=params)

    def send(self, to: Address, data: bytes, value: int = 0, gas: int = 0) -> Receipt:
        """The receipt of a call that was signed, pushed and mined; with `gas` it may fail."""
        message = self.message(to, data, value)
        used = gas or self.network.call(message).receipt.gas_used * 5 // 4
        ready = Message(
            message.to, message.from_, message.nonce, message.value, used, AttoFil(101_100),
            AttoFil(100_000), message.method, message.params,
        )  # fmt: skip
        chain_id = self.network.config.eip155_chain_id
        cid = self.network.mpool.push(sign_delegated(ready, self.key, chain_id))
        return self.network.mine_until(cid).receipt

    def deploy(self, code: bytes, value: int = 0) -> Address:
        """A new contract's f410 address."""
        receipt = self.send(EAM, code, value)
        assert receipt.exit_code == 0, receipt
        return Address.of_eth(CreateReturn.from_cbor(receipt.return_).eth_address)

    def run(self, to: Address, data: bytes, value: int = 0) -> bytes:
        """What a mined call returned."""
        receipt = self.send(to, data, value)
        assert receipt.exit_code == 0, receipt
        return optional_bytes(receipt.return_)

    def look(self, to: Address, data: bytes, value: int = 0) -> Receipt:
        """The receipt of a call that is thrown away."""
        return self.network.call(self.message(to, data, value)).receipt

    def read(self, to: Address, data: bytes, types: list[str], value: int = 0) -> tuple[Any, ...]:
        """What such a call returns, decoded."""
        receipt = self.look(to, data, value)
        assert receipt.exit_code == 0, receipt
        return tuple(decode(types, RawBytes.from_cbor(receipt.return_).data))
