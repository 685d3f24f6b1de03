"""web3.py on the same node with the same token, for contracts: Lotus serves `eth_*` on its ordinary path.

web3 is imported on first use: it takes a third of a second, and most of what runs here needs none of it. The node must have
its Ethereum API on (`[Fevm] EnableEthRPC`, `[ChainIndexer] EnableIndexer`). Keys stay here: a node has no `eth_sendTransaction`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lotus_client.api_info import ApiInfo
from lotus_client.transport.http import headers_for

if TYPE_CHECKING:
    from web3 import AsyncWeb3, Web3
    from web3.providers import AsyncHTTPProvider

__all__ = ["async_web3", "web3"]


def async_web3(api_info: ApiInfo, *, timeout_seconds: float = 60.0) -> AsyncWeb3[AsyncHTTPProvider]:
    """An AsyncWeb3 of the node; close it with `await it.provider.disconnect()`. Nothing is sent yet."""
    from aiohttp import ClientTimeout
    from web3 import AsyncHTTPProvider, AsyncWeb3

    provider = AsyncHTTPProvider(
        api_info.http_url("v1"),
        request_kwargs={
            "headers": headers_for(api_info.token),
            "timeout": ClientTimeout(total=timeout_seconds),
        },
    )
    return AsyncWeb3(provider)


def web3(api_info: ApiInfo, *, timeout_seconds: float = 60.0) -> Web3:
    """A blocking Web3 of the node, for scripts and threads. Nothing is sent yet."""
    from web3 import HTTPProvider, Web3

    provider = HTTPProvider(
        api_info.http_url("v1"),
        request_kwargs={"headers": headers_for(api_info.token), "timeout": timeout_seconds},
    )
    return Web3(provider)
