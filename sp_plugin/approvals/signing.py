"""Making an approver's signature: with a key in a file, or by asking a wallet endpoint (`WalletSign`)."""

from __future__ import annotations

import base64
from pathlib import Path

from lotus_client.address import Address
from lotus_client.api_info import ApiInfo, ApiInfoError
from lotus_client.crypto import (
    Secp256k1Key,
    Signature,
    SignatureError,
    SignatureType,
    envelope,
    verify_signature,
)
from lotus_client.transport import NodeTransport
from sp_plugin.config.fields import SecretFile
from sp_plugin.errors import BadInput

__all__ = ["key_in", "sign_with_wallet"]


def key_in(path: Path) -> Secp256k1Key:
    """The secp256k1 key in a file of 64 hexadecimal digits that only its owner can read.

    Raises:
        BadInput: the file or its content will not do.
    """
    try:
        return Secp256k1Key(bytes.fromhex(SecretFile(path).read().reveal()))
    except ValueError as error:
        raise BadInput(f"{path} holds no key of 64 hex digits, or: {error}") from None


async def sign_with_wallet(info_file: Path, signer: Address, payload: bytes) -> Signature:
    """The signature of `signer`'s key in a node's or lotus-wallet's keystore over the enveloped payload, checked.

    `WalletSign` signs the bytes as they are, so the FRC-0102 envelope is put round here. Permission needed: `sign`.

    Raises:
        BadInput: the file names no endpoint, or the wallet answers something that is not that signature.
    """
    try:
        info = ApiInfo.parse(SecretFile(info_file).read().reveal())
    except (ApiInfoError, ValueError) as error:
        raise BadInput(f"{info_file}: {error}") from error
    signed_bytes = envelope(payload)
    transport = NodeTransport(info, timeout_seconds=60.0)
    try:
        answer = await transport.call(
            "Filecoin.WalletSign", [str(signer), base64.b64encode(signed_bytes).decode()]
        )
    finally:
        await transport.close()
    try:
        signature = Signature(SignatureType(answer["Type"]), base64.b64decode(answer["Data"]))
        verify_signature(signature, signer, signed_bytes)
    except (SignatureError, KeyError, TypeError, ValueError) as error:
        raise BadInput(f"the wallet's answer is not a signature of {signer}: {error}") from error
    return signature
