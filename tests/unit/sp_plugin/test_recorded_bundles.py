"""A job's bundle that is read again and again: one object as long as it is the same, and never one of other values."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sp_plugin.approvals.recorded import _KNOWN, _MOST_KNOWN, recorded_bundle
from sp_plugin.errors import BadInput
from tests.unit.sp_plugin.test_policy import BUNDLE


def test_the_same_record_is_the_same_bundle():
    first = recorded_bundle(BUNDLE.to_json(), BUNDLE.digest())
    assert first == BUNDLE
    assert recorded_bundle(BUNDLE.to_json(), BUNDLE.digest()) is first


def test_a_record_that_was_changed_under_its_digest_is_refused_also_when_the_digest_is_known():
    recorded_bundle(BUNDLE.to_json(), BUNDLE.digest())
    changed = BUNDLE.to_json() | {"arguments": ["another"]}
    with pytest.raises(BadInput, match="digest"):
        recorded_bundle(changed, BUNDLE.digest())
    assert recorded_bundle(BUNDLE.to_json(), BUNDLE.digest()) == BUNDLE


def test_a_bundle_with_another_field_has_another_digest():
    digest = BUNDLE.digest()
    assert replace(BUNDLE, nonce="another").digest() != digest
    assert replace(BUNDLE).digest() == digest


def test_only_so_many_are_kept():
    for number in range(_MOST_KNOWN + 5):
        bundle = replace(BUNDLE, nonce=f"n{number}")
        recorded_bundle(bundle.to_json(), bundle.digest())
    assert len(_KNOWN) == _MOST_KNOWN
