"""Three schemas of one bundle: the second only where a job asks to be counted or run again, the third where it has GPUs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fil_plus.bundle import MAX_FUEL, BundleError, Engine, ImageKind
from sp_plugin.approvals.recorded import bundle_from_json
from sp_plugin.errors import BadInput
from tests.unit.fil_plus.test_approvals import make_bundle


def test_a_bundle_that_asks_for_neither_is_of_the_first_schema_and_keeps_its_digest():
    bundle = make_bundle()
    assert bundle.to_json()["schema"] == "sp-plugin/bundle/1"
    assert not {"verify", "fuel"} & bundle.to_json().keys()
    assert (
        bundle.digest().hex() == "dafbed96809f66ad3867e4b59ca145dbb9c0d52f597d2ef6e974d271fe613d8a"
    )


@pytest.mark.parametrize(
    "changes", [{"verify": 2}, {"fuel": 1000}, {"verify": 1, "fuel": MAX_FUEL}]
)
def test_what_is_asked_for_is_approved_and_read_back(changes):
    bundle = make_bundle(**changes)
    recorded = bundle.to_json()
    assert recorded["schema"] == "sp-plugin/bundle/2"
    assert bundle_from_json(recorded, bundle.digest()) == bundle
    assert bundle.digest() != make_bundle().digest()


def test_the_second_schema_with_nothing_asked_for_is_no_bundle():
    recorded = make_bundle().to_json() | {"schema": "sp-plugin/bundle/2", "verify": 0, "fuel": None}
    with pytest.raises(BadInput):
        bundle_from_json(recorded)


@pytest.mark.parametrize(
    "changes", [{"verify": -1}, {"verify": 11}, {"fuel": 0}, {"fuel": MAX_FUEL + 1}]
)
def test_numbers_out_of_range_are_refused(changes):
    with pytest.raises(BundleError):
        make_bundle(**changes)


DOCKER = {
    "engine": Engine.DOCKER,
    "module_sha256": None,
    "image": "sha256:" + "ab" * 32,
    "image_kind": ImageKind.LOCAL,
}


def test_gpus_are_approved_and_read_back():
    limits = make_bundle().limits
    plain = make_bundle(**DOCKER)
    bundle = make_bundle(**DOCKER, limits=replace(limits, gpus=2))
    recorded = bundle.to_json()
    assert (recorded["schema"], recorded["limits"]["gpus"]) == ("sp-plugin/bundle/3", 2)
    assert bundle_from_json(recorded, bundle.digest()) == bundle
    assert plain.to_json()["schema"] == "sp-plugin/bundle/1"
    assert "gpus" not in plain.to_json()["limits"]
    with pytest.raises(BadInput):
        bundle_from_json(recorded | {"limits": recorded["limits"] | {"gpus": 0}})


@pytest.mark.parametrize("changes", [{}, DOCKER | {"gpus": -1}])
def test_gpus_of_a_wasm_job_or_fewer_than_none_are_refused(changes):
    changes = dict(changes)
    gpus = changes.pop("gpus", 1)
    with pytest.raises(BundleError, match="gpus"):
        make_bundle(**changes, limits=replace(make_bundle().limits, gpus=gpus))
