"""Fixtures of the payout tests."""

from __future__ import annotations

from tests.money_fixtures import money

__all__ = ["money"]
