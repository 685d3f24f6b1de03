"""The demo itself, as `make demo` plays it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import play_demo

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

KEYS = {
    "accrued_attofil", "accrued_by_source", "approvals", "audit_ok", "bundle_digest", "claim_id",
    "credited_attofil", "exit_code", "job_id", "ledger_ok", "mainnet_equivalent_attofil_per_year",
    "output_cid", "output_claim_id", "paid_attofil", "payee_balance_attofil", "payout_message_cid",
    "piece_cid", "seconds",
}  # fmt: skip
