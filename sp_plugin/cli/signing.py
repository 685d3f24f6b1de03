"""Options of commands that sign with a Filecoin key, and the signing: a key in a file, or a wallet that is asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lotus_client.address import Address
    from lotus_client.crypto import Signature

__all__ = ["KeyFile", "KeyPlace", "WalletInfo", "address_in"]

KeyFile = Annotated[
    Path | None, typer.Option(help="A secp256k1 key as 64 hex digits, mode 600 (tests, demo).")
]
WalletInfo = Annotated[
    Path | None,
    typer.Option(
        help="File with the API info of a node or lotus-wallet that holds the key, mode 600."
    ),
]


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """Where a key is, as the options say: exactly one of both, and with a wallet whose key. `option` is named in errors."""

    key_file: Path | None
    wallet_info_file: Path | None
    address: str | None
    option: str

    def signer(self) -> Address:
        """The key's address.

        Raises:
            BadInput: the options contradict each other, or cannot be read.
        """
        from sp_plugin.approvals.signing import key_in
        from sp_plugin.errors import BadInput

        if (self.key_file is None) == (self.wallet_info_file is None):
            raise BadInput("name one of --key-file and --wallet-info-file")
        if self.key_file is not None:
            return key_in(self.key_file).address
        if self.address is None:
            raise BadInput(f"say {self.option}: whose key in that wallet")
        return address_in(self.address, self.option)

    def sign(self, payload: bytes) -> Signature:
        """The key's FRC-0102 signature over `payload`."""
        from lotus_client.signed_text import sign_text
        from sp_plugin.approvals.signing import key_in, sign_with_wallet
        from sp_plugin.cli.options import run_async

        signer = self.signer()
        if self.key_file is not None:
            return sign_text(key_in(self.key_file), payload)
        assert self.wallet_info_file is not None
        return run_async(sign_with_wallet(self.wallet_info_file, signer, payload))


def address_in(text: str, option: str) -> Address:
    """The address in an option; BadInput if it is none."""
    from lotus_client.address import Address, AddressError
    from sp_plugin.errors import BadInput

    try:
        return Address.parse(text)
    except AddressError as error:
        raise BadInput(str(error), field=option) from error
