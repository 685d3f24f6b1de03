"""One sidecar per database."""

from __future__ import annotations

from pathlib import Path

import pytest

from sp_plugin.errors import Conflict
from sp_plugin.store.base import Store
from sp_plugin.store.exclusive import held_alone


async def test_two_sidecars_never_share_a_database_either(tmp_path: Path) -> None:
    first, second = (Store(f"sqlite+aiosqlite:///{tmp_path / 'state.db'}") for _ in range(2))
    try:
        async with held_alone(first):
            with pytest.raises(Conflict, match="another sidecar"):
                async with held_alone(second):
                    pass
        async with held_alone(second):
            pass
    finally:
        await first.close()
        await second.close()
