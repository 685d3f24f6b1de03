"""Fixtures of the tests of earnings."""

from __future__ import annotations

from tests.unit.earnings.world import world

__all__ = ["world"]
