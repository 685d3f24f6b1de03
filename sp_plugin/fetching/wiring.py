"""What a configuration lets jobs have fetched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deals.denylist import Denylist
from deals.volumes import VolumeLimits
from sp_plugin.config import Config
from sp_plugin.config.transfers import FetchConfig
from sp_plugin.executors.pause import Pause
from sp_plugin.fetching.client import Fetcher, FetchRules
from sp_plugin.fetching.downloads import Downloads
from sp_plugin.fetching.gateways import Gateways

__all__ = ["Fetching", "fetch_rules", "open_fetching"]


@dataclass(frozen=True, slots=True)
class Fetching:
    """None where the operator did not allow it."""

    downloads: Downloads | None
    gateways: Gateways | None


def fetch_rules(config: FetchConfig) -> FetchRules:
    """The rules that the section says."""
    return FetchRules(
        hosts=config.allowed_hosts,
        private=config.allowed_private,
        max_bytes=config.max_bytes,
        timeout_seconds=float(config.timeout_seconds),
    )


def open_fetching(
    config: Config,
    cache_dir: Path,
    *,
    make_room: Callable[[], VolumeLimits],
    denylist: Callable[[], Denylist],
    pause: Pause,
) -> Fetching:
    """Downloads if `urlDownload` is an allowed source, gateways if there are any; both stand still while `pause` is on."""
    fetch = config.jobs.fetch
    fetcher = Fetcher(fetch_rules(fetch), pause=pause)
    allowed = {source.casefold() for source in config.policy.allowed_sources}
    downloads = gateways = None
    if "urldownload" in allowed:
        downloads = Downloads(fetcher, cache_dir, make_room=make_room, denylist=denylist)
    if fetch.gateways and "ipfs" in allowed:
        gateways = Gateways(
            fetch.gateways, fetcher, cache_dir, make_room=make_room, denylist=denylist
        )
    return Fetching(downloads, gateways)
