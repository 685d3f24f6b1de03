"""The full node: a chain, a wallet, tokens, and the clock that mines. No sockets."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Final

from devstack.auth import TokenIssuer
from devstack.chain import ForkShape, Network, PushRefused
from devstack.eth_feed import EthFeed
from devstack.heads import HeadFeed
from devstack.mpool_config import MpoolConfig
from devstack.peer_id import fresh_peer_id
from devstack.rpc.subscription import Subscription
from devstack.wallet import Wallet
from lotus_client.address import Address
from lotus_client.chain import HeadChange, TipSet, TipSetKey
from lotus_client.messages import SignedMessage

__all__ = ["EpochsNotReached", "FullNode"]

# How long mining may hold the event loop before other work gets its turn.
_TURN_SECONDS: Final = 0.015


class EpochsNotReached(RuntimeError):
    """What was waited for did not happen within the allowed epochs."""


class FullNode:
    """One network with what a Lotus daemon has around it. All of it lives on one event loop."""

    def __init__(
        self, network: Network, wallet: Wallet | None = None, tokens: TokenIssuer | None = None
    ) -> None:
        self.chain = network  # what the node follows
        self.network = network  # what it shows: the same, unless it has stopped following
        self.wallet = wallet if wallet is not None else Wallet((), network.config.eip155_chain_id)
        self.tokens = tokens if tokens is not None else TokenIssuer()
        self.heads = HeadFeed(network)
        self.eth = EthFeed(network, self.heads)
        self.started_at = time.time()
        self.sent_by_uuid: dict[str, SignedMessage] = {}  # MessageSendSpec.MsgUuid is idempotent
        self.mine_epoch: Callable[..., TipSet | None] = network.mine_epoch
        self.skip_epoch: Callable[[Address], TipSet | None] = network.skip_epoch
        self.mpool_config = MpoolConfig()
        self.shutdown_asked = (
            asyncio.Event()
        )  # by the API's Shutdown; whoever started the node acts on it
        self.peer_id = fresh_peer_id()
        self.protected_peers: set[str] = set()
        self._closing: list[Subscription] = []
        self._mining = asyncio.Lock()

    async def advance(
        self,
        epochs: int,
        until: Callable[[TipSet], bool] | None = None,
        *,
        skip_for: Address | None = None,
    ) -> TipSet:
        """Mine `epochs` epochs, or fewer when `until` holds for a new head; the head then.

        With `skip_for`, epochs in which nothing happens to anybody and that miner does not win are null rounds, which
        is several times faster.

        The event loop gets its turn every few milliseconds. One advance or reorg runs at a time.

        Raises:
            ValueError: a negative number.
            EpochsNotReached: `until` never held.
        """
        if epochs < 0:
            raise ValueError("cannot advance by a negative number of epochs")
        async with self._mining:
            turn_ends = time.monotonic() + _TURN_SECONDS
            for _ in range(epochs):
                mined = self.mine_epoch() if skip_for is None else self.skip_epoch(skip_for)
                if until is not None and mined is not None and until(mined):
                    break
                if time.monotonic() >= turn_ends:
                    await asyncio.sleep(0)
                    turn_ends = time.monotonic() + _TURN_SECONDS
            else:
                if until is not None:
                    raise EpochsNotReached(f"did not happen within {epochs} epochs")
            self.heads.flush()
            return self.chain.head

    async def advance_null(self, rounds: int) -> None:
        """Let `rounds` epochs pass without a tipset."""
        async with self._mining:
            for _ in range(rounds):
                self.mine_epoch(null=True)

    async def reorg(self, depth: int, shape: ForkShape | None = None) -> list[HeadChange]:
        """Replace the newest `depth` tipsets by a heavier fork; the changes of the head.

        Raises:
            ValueError: the chain is not that long.
            ForkRefused: the fork would begin below what is final.
        """
        async with self._mining:
            self.heads.flush()
            changes = self.chain.reorg(depth, shape)
            self.heads.flush()
            return changes

    async def set_head(self, key: TipSetKey) -> list[HeadChange]:
        """Make a known tipset the head; the changes.

        Raises:
            ChainLookupError: no such tipset.
        """
        async with self._mining:
            self.heads.flush()
            changes = self.chain.set_head(key)
            self.heads.flush()
            return changes

    async def mine_on_clock(self, block_seconds: float) -> None:
        """Mine an epoch every `block_seconds` until cancelled."""
        while True:
            await asyncio.sleep(block_seconds)
            await self.advance(1)

    def freeze(self) -> None:
        """Show the chain as it is now until `thaw`, whatever happens to it.

        Raises:
            ValueError: it is frozen already.
        """
        if self.network is not self.chain:
            raise ValueError("the node has stopped following already")
        self.heads.flush()
        self.network = self.chain.replica()
        self.heads.show(self.network)

    def thaw(self) -> None:
        """Follow again: subscribers get one batch from what they saw to the head now. What was pushed meanwhile goes out."""
        frozen, self.network = self.network, self.chain
        for signed in frozen.mpool.pending():
            with contextlib.suppress(
                PushRefused
            ):  # it waits there already, or its nonce has passed
                self.chain.mpool.push(signed)
        self.heads.show(self.chain)

    def key_address(self, address: Address) -> Address:
        """The key (f1, f3) or f410 behind an account address, from the state after the head."""
        if address.protocol in (1, 3, 4):
            return address
        return self.network.pending_state().account_key(address)

    def closing(self) -> Subscription:
        """A stream without values that ends when the node does."""
        stream = Subscription(1, self._closing.remove)
        self._closing.append(stream)
        return stream

    def close(self) -> None:
        """End all streams."""
        self.eth.close()
        for stream in list(self._closing):
            stream.close()
        self.heads.close()
