"""For `doctor`: do the servers answer that jobs' inputs are fetched from and results are sent to?"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sp_plugin.config import Config
from sp_plugin.fetching.client import Fetcher, FetchFailed, FetchRefused
from sp_plugin.fetching.places import PrivatePlace
from sp_plugin.fetching.wiring import fetch_rules
from sp_plugin.publishers.kubo_api import KuboError
from sp_plugin.publishers.wiring import buckets_of, kubo_of

__all__ = ["examine_transfers"]

# The probe of trustless gateways: an empty block inside its own CID, which each of them can give.
# Source: https://specs.ipfs.tech/http-gateways/trustless-gateway/#dedicated-probe-paths
_PROBE = "bafkqaaa"


async def examine_transfers(config: Config) -> Sequence[tuple[str, bool, str]]:
    """(name, is well, what was found) for each gateway, IPFS node and bucket that the configuration names."""
    found = []
    for url in config.jobs.fetch.gateways:
        why = await _gateway(config, url)
        found.append((f"gateway {url}", not why, why or "answers with verifiable blocks"))
    found += await _kubo(config)
    for name, bucket in buckets_of(config.jobs.publish).items():
        problem = await asyncio.to_thread(bucket.why_not)
        found.append((f"bucket {name}", problem is None, problem or "answers"))
    unused = {"s3": config.jobs.publish.s3, "ipfs": config.jobs.publish.kubo.api}
    found += [
        (f"publisher {name}", True, f"is configured, but jobs.allowed_publishers has no {name}")
        for name, value in unused.items()
        if value and name not in config.jobs.allowed_publishers
    ]
    return found


async def _gateway(config: Config, url: str) -> str:
    fetcher = Fetcher(fetch_rules(config.jobs.fetch))
    try:
        async with (
            fetcher.session(PrivatePlace.of_url(url)) as session,
            session.get(
                f"{url}/ipfs/{_PROBE}?format=raw", accept="application/vnd.ipld.raw", max_bytes=1024
            ) as answer,
        ):
            data = b"".join([chunk async for chunk in answer.chunks()])
    except (FetchRefused, FetchFailed) as error:
        return str(error)
    if data:
        return (
            "is no trustless gateway: it answers something else than the block that was asked for"
        )
    return ""


async def _kubo(config: Config) -> list[tuple[str, bool, str]]:
    try:
        kubo = kubo_of(config.jobs.publish.kubo)
        if kubo is None:
            return []
        return [("IPFS node", True, f"Kubo {await kubo.version()} answers at {kubo.url}")]
    except (KuboError, ValueError) as error:
        return [("IPFS node", False, str(error))]
