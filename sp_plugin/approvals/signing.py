"""Making an approver's signature: with a key in a file, or by asking a wallet endpoint (`WalletSign`)."""

from __future__ import annotations

from pathlib import Path

from lotus_client.address import Address
from lotus_client.crypto import Secp256k1Key, Signature
from sp_plugin.config.fields import SecretFile
from sp_plugin.errors import BadInput

__all__ = ["key_in", "sign_with_wallet"]


def key_in(path: Path) -> Secp256k1Key:
    """The secp256k1 key in a file of 64 hexadecimal digits that only its owner can read.

    Raises:
        BadInput: the file or its content will not do.
    """
    try:
        text = SecretFile(path).read().reveal()
    except ValueError as error:
        raise BadInput(str(error)) from error
    try:
        return Secp256k1Key(bytes.fromhex(text))
    except ValueError:  # its text could quote the key
        raise BadInput(f"{path} holds no secp256k1 key of 64 hex digits") from None


async def sign_with_wallet(info_file: Path, signer: Address, payload: bytes) -> Signature:
    """The signature of `signer`'s key in the wallet whose API info is in `info_file`, over the enveloped payload."""
    from sp_plugin.wallet import connect_wallet  # slow: it brings an HTTP client

    wallet = connect_wallet(SecretFile(info_file))
    try:
        return await wallet.sign_text(signer, payload)
    finally:
        await wallet.close()
