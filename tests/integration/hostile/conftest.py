from __future__ import annotations

from tests.integration.executors.conftest import executor

__all__ = ["executor"]
