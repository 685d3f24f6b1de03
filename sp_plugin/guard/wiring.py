"""The guard of a configuration."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from lotus_client.miner_client import MinerClient
from lotus_client.node import NodeCapabilities
from sp_plugin.config import Config
from sp_plugin.config.guard import GuardConfig, HostRole
from sp_plugin.config.jobs import JobsConfig
from sp_plugin.guard.chain_eye import ChainEye, ProvingChain
from sp_plugin.guard.host_eye import HostEye, Teller
from sp_plugin.guard.miner_eye import CurioEye, MinerEye
from sp_plugin.guard.sights import GuardRules
from sp_plugin.guard.watch import Guard
from sp_plugin.jobs.hold import Hold

__all__ = ["GUARD_SECONDS", "guard_rules", "host_eye", "open_guard"]

GUARD_SECONDS: Final = 5  # between two looks: a sixth of an epoch


def guard_rules(config: GuardConfig, jobs: JobsConfig) -> GuardRules:
    """The operator's rules."""
    return GuardRules(
        role=config.role,
        lead_epochs=config.lead_epochs,
        idle_epochs=config.idle_epochs,
        max_load_percent=config.max_load_percent,
        max_io_wait_percent=config.max_io_wait_percent,
        least_memory_bytes=config.least_memory_bytes,
        keep_free_bytes=jobs.keep_free_bytes,
    )


def host_eye(config: GuardConfig, place: Path, miner: MinerClient | None) -> HostEye:
    """What looks at the host. `place` is on the disk that jobs use."""
    tellers: list[Teller] = [] if miner is None else [MinerEye(miner)]
    if config.curio_metrics_url is not None:
        tellers.append(CurioEye(config.curio_metrics_url))
    return HostEye(place, tellers=tellers)


def open_guard(
    config: Config,
    hold: Hold,
    chain: ProvingChain,
    found: NodeCapabilities,
    place: Path,
    *,
    miner: MinerClient | None,
) -> Guard:
    """The guard that holds `hold`; `place` is on the disk that jobs use. Only a prover's looks at the chain."""
    rules = guard_rules(config.guard, config.jobs)
    eye = None
    if rules.role is HostRole.PROVER:
        delay = found.block_delay_seconds
        eye = ChainEye(chain, config.provider.actor, delay, rules.lead_epochs)
    return Guard(rules, hold, eye, host_eye(config.guard, place, miner), time.time)
