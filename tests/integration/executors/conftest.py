from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sp_plugin.executors.base import ExecutorSettings
from sp_plugin.executors.wasm import WasmExecutor


@pytest.fixture
async def executor(tmp_path: Path) -> AsyncIterator[WasmExecutor]:
    made = WasmExecutor(ExecutorSettings(cache_dir=tmp_path / "cache"))
    yield made
    await made.close()
