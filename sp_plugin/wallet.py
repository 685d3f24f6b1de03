"""A wallet endpoint: a full node's keystore, or a `lotus-wallet` that holds only the payout key.

A node has `WalletSignMessage(address, message)` and `WalletSign(address, bytes)`; lotus-wallet has only
`WalletSign(address, bytes, meta)`. Sources: Lotus `api/api_full.go`, `api/api_wallet.go`.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, Final

from lotus_client import codec
from lotus_client.address import Address, AddressError
from lotus_client.api_info import ApiInfo, ApiInfoError
from lotus_client.codec import At
from lotus_client.crypto import Signature, SignatureError, envelope, verify_signature
from lotus_client.errors import LotusNotSupported, LotusRpcError
from lotus_client.messages import Message, SignedMessage
from lotus_client.transport import NodeTransport, RpcTransport
from sp_plugin.config.fields import SecretFile
from sp_plugin.errors import BadInput

__all__ = ["WalletEndpoint", "connect_wallet"]

_TIMEOUT_SECONDS: Final = 60.0


def connect_wallet(info_file: SecretFile) -> WalletEndpoint:
    """The endpoint whose API info is in the file.

    Raises:
        BadInput: the file cannot be used.
    """
    try:
        info = ApiInfo.parse(info_file.read().reveal())
    except (ApiInfoError, ValueError) as error:
        raise BadInput(f"{info_file}: {error}") from error
    return WalletEndpoint(NodeTransport(info, timeout_seconds=_TIMEOUT_SECONDS))


class WalletEndpoint:
    """Signs with keys that this process never sees. Permissions: `write` to list keys, `sign` to sign."""

    def __init__(self, transport: RpcTransport) -> None:
        self._transport = transport

    async def close(self) -> None:
        """Release the sockets."""
        await self._transport.close()

    async def keys(self) -> tuple[Address, ...]:
        """The addresses whose keys it holds."""
        here = At(await self._call("WalletList", []), "WalletList")
        try:
            return tuple(Address.parse(item.text()) for item in here.items())
        except AddressError as error:
            raise BadInput(f"WalletList answers no addresses: {error}") from error

    async def wallet_sign_message(self, address: Address, message: Message) -> SignedMessage:
        """The message signed by the key of `address`."""
        try:
            answer = await self._call(
                "WalletSignMessage", [str(address), codec.message_to_json(message, "t")]
            )
        except LotusNotSupported:
            meta = {"Type": "message", "Extra": base64.b64encode(message.to_cbor()).decode()}
            return SignedMessage(message, await self._sign(address, message.cid.raw, meta))
        return codec.signed_message_from_json(answer, "WalletSignMessage")

    async def sign_text(self, address: Address, payload: bytes) -> Signature:
        """The signature over `payload` in the FRC-0102 envelope, checked. The wallet signs bytes as they are.

        Raises:
            BadInput: the answer is not that signature.
        """
        signed_bytes = envelope(payload)
        signature = await self._sign(address, signed_bytes, {"Type": "unknown", "Extra": None})
        try:
            verify_signature(signature, address, signed_bytes)
        except SignatureError as error:
            raise BadInput(
                f"the wallet's answer is not a signature of {address}: {error}"
            ) from error
        return signature

    async def _sign(self, address: Address, data: bytes, meta: dict[str, Any]) -> Signature:
        params = [str(address), base64.b64encode(data).decode()]
        try:
            answer = await self._call("WalletSign", params)
        except LotusNotSupported:
            raise
        except LotusRpcError as error:
            if "param count" not in error.message:
                raise
            answer = await self._call("WalletSign", [*params, meta])  # a lotus-wallet
        return codec.signature_from_json(answer, "WalletSign")

    async def _call(self, method: str, params: Sequence[Any]) -> Any:
        return await self._transport.call(f"Filecoin.{method}", params)
