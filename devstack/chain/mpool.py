"""The mempool: what may wait, what replaces what, and what goes into the next blocks."""

from __future__ import annotations

from lotus_client.address import Address
from lotus_client.cid import Cid
from lotus_client.messages import SignedMessage

__all__ = ["MessagePool"]


class MessagePool:
    """Signed messages waiting for inclusion, by sender and nonce."""

    def push(self, signed: SignedMessage) -> Cid:
        """Take a message, or raise PushRefused. The CID is the message's name on chain."""
        raise NotImplementedError

    def pending(self) -> list[SignedMessage]:
        """All waiting messages, by sender and nonce."""
        raise NotImplementedError

    def next_nonce(self, sender: Address) -> int:
        """The nonce after the chain's and the waiting messages' of that sender."""
        raise NotImplementedError
