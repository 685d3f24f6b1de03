"""What `doctor` says of the guard: the role, and whether what its decisions rest on can be seen."""

from __future__ import annotations

import asyncio

from lotus_client.client import LotusClient
from lotus_client.errors import LotusError
from lotus_client.miner_client import MinerClient
from sp_plugin.config import Config
from sp_plugin.config.guard import HostRole
from sp_plugin.guard.chain_eye import ChainEye
from sp_plugin.guard.sights import HostSight
from sp_plugin.guard.wiring import host_eye

__all__ = ["check_guard"]

_BETWEEN_LOOKS = 1.1  # seconds; whether a process works shows only at the second


async def check_guard(
    config: Config, node: LotusClient, block_delay_seconds: int, miner: MinerClient | None
) -> tuple[bool, str]:
    """Whether jobs can run beside what this host does, and what was found."""
    if not config.jobs.enabled:
        return True, "not needed: jobs.enabled is false"
    role = config.guard.role
    place = config.data_dir if config.data_dir.exists() else config.data_dir.parent
    eye = host_eye(config.guard, place, miner)
    await eye.look()
    await asyncio.sleep(_BETWEEN_LOOKS)
    host = await eye.look()
    eye.close()
    if role is not HostRole.PROVER:
        return True, f"role {role}: jobs wait only for load, disks and memory. {_of_host(host)}"
    lead = config.guard.lead_epochs
    chain_eye = ChainEye(node, config.provider.actor, block_delay_seconds, lead)
    try:
        sight = await chain_eye.look()
    except LotusError as error:
        return False, (
            f"role prover: the proving deadlines cannot be read ({error}), so jobs stand still all the time. "
            "Name a full node, or set guard.host_role if WindowPoSts are computed elsewhere"
        )
    due = ", ".join(str(deadline.index) for deadline in sight.deadlines) or "none"
    return True, (
        f"role prover: deadlines with proofs, open or near: {due}. {_of_host(host)}"
        + ("" if host.proving else ". So jobs stand still until each proof is on chain")
    )


def _of_host(host: HostSight) -> str:
    seen = "; ".join(host.seen)
    unseen = "; ".join(host.unseen)
    return " ".join(
        part for part in (seen and f"Seen: {seen}.", unseen and f"Not seen: {unseen}") if part
    )
