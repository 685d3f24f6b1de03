"""What was approved is what runs: the inputs and the program found now, compared with those of the bundle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sp_plugin.executors.base import ResolvedProgram
from sp_plugin.jobs.programs import program_identity
from sp_plugin.jobs.spec import JobSpec
from sp_plugin.store.jobs import Lease

__all__ = ["system_environment", "what_changed"]


def what_changed(
    found: list[tuple[str, str, str, str | None]],
    engine: str,
    program: ResolvedProgram,
    bundle: Mapping[str, Any],
) -> str | None:
    """What is not what the bundle names, for people; None if all is. `found` are inputs: source, CID, target, path."""
    approved = [
        (item["source"], item["cid"], item["target"], item["path"]) for item in bundle["inputs"]
    ]
    if found != approved:
        pairs = zip(found, approved, strict=False)
        changed = [want[2] for have, want in pairs if have != want]
        return f"inputs changed since the approval: {', '.join(changed) or 'their number'}"
    identity = program_identity(engine, program)
    entry_point = tuple(bundle["entry_point"])
    have = (identity.engine, identity.module_sha256, identity.image, identity.entry_point)
    if have != (bundle["engine"], bundle["module_sha256"], bundle["image"], entry_point):
        return "the module or image is not the approved one any more"
    return None


def system_environment(lease: Lease, spec: JobSpec) -> dict[str, str]:
    """What every Bacalhau job finds in its environment."""
    return {
        "BACALHAU_EXECUTION_ID": lease.execution_id,
        "BACALHAU_JOB_ID": lease.job.id,
        "BACALHAU_JOB_TYPE": spec.type,
        "BACALHAU_PARTITION_INDEX": "0",
        "BACALHAU_PARTITION_COUNT": "1",
    }
