"""The keys about the miner's own API and about unsealing."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from sp_plugin.config.fields import Count, Flag, PositiveCount, SecretFileField, Section

__all__ = ["MinerConfig", "UnsealConfig", "why_not_source"]

_GIB = 1 << 30


class MinerConfig(Section):
    """The lotus-miner's API, if there is one: it tells the order of a sector's pieces, and can unseal."""

    api_info_file: SecretFileField | None = Field(
        default=None,
        description="file with a MINER_API_INFO string, TOKEN:ADDRESS; `read` is enough to locate pieces; null for Curio",
    )
    allow_admin_token: Flag = Field(
        default=False,
        description="admit a token with admin, which unsealing needs and which could also delete sectors",
    )


class UnsealConfig(Section):
    """Unsealing when somebody asks for it; never by itself."""

    enabled: Flag = Field(
        default=False,
        description="let `pieces unseal` ask the miner; a sector of 32 GiB takes hours of its processors and 32 GiB of its disk",
    )
    most_at_once: PositiveCount = Field(
        default=1, description="how many sectors may be under way; it gets in the way of sealing"
    )
    most_bytes_a_day: PositiveCount = Field(
        default=256 * _GIB, description="bytes of sectors asked for in 24 hours"
    )
    keep_free_bytes: Count = Field(
        default=64 * _GIB,
        description="what the miner's storage must have free beyond the unsealed sector",
    )
    timeout_seconds: PositiveCount = Field(
        default=86400, description="how long the copy is waited for; the miner is not stopped then"
    )


def why_not_source(kind: str, options: dict[str, Any]) -> str | None:
    """Why a source that the config names cannot be used, where that can be told without trying; None if it can."""
    if kind == "miner" and options.get("allow_admin_token") is not True:
        return (
            "kind miner reads with the miner's admin token, which could also delete sectors: mount the storage paths "
            "read-only instead (storage_paths), or add allow_admin_token: true here"
        )
    return None
