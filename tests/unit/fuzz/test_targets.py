"""Every parser of strangers' bytes meets some: random ones, and valid ones with a few bytes changed, cut or repeated."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import SEEDS, TARGETS
from tests.fuzz.worst import CASES


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=600))
def test_random_bytes_end_in_a_documented_error_or_none(name: str, data: bytes) -> None:
    TARGETS[name](data)


@pytest.mark.parametrize("name", SEEDS)
@settings(max_examples=150, deadline=None)
@given(
    pick=st.integers(0, 9),
    at=st.integers(0, 1 << 12),
    junk=st.binary(max_size=12),
    keep=st.booleans(),
    cut=st.integers(0, 1 << 12),
)
def test_damaged_samples_end_in_a_documented_error_or_none(
    name: str, pick: int, at: int, junk: bytes, keep: bool, cut: int
) -> None:
    sample = SEEDS[name][pick % len(SEEDS[name])]
    at %= len(sample) + 1
    data = sample[:at] + junk + sample[at if keep else at + len(junk) :]
    TARGETS[name](data[: len(data) - cut % 5])


@pytest.mark.parametrize("name", SEEDS)
def test_the_samples_themselves_pass(name: str) -> None:
    for sample in SEEDS[name]:
        TARGETS[name](sample)


def test_the_command_lists_its_targets_and_says_what_it_needs() -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--list"], capture_output=True, text=True, check=True
    )
    assert listed.stdout.split() == sorted(TARGETS)


@pytest.mark.parametrize("name", CASES)
def test_the_worst_inputs_end_soon_within_a_gigabyte_of_address_space(name: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.worst", name],
        capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert ended.stdout == "ok\n", ended.stderr[-2000:]
