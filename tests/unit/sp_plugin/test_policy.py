"""Policy: default deny, consent, limits; and it explains itself rule by rule."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fil_plus.bundle import (
    Bundle,
    BundleInput,
    BundleOutput,
    Engine,
    ImageKind,
    ResourceLimits,
)
from fil_plus.pieces import HeldPiece, Provenance, ProvenanceKind
from fil_plus.terms import Basis, ShareTerms
from lotus_client.address import Address
from lotus_client.cid import Cid
from lotus_client.types import ActorId, Epoch, PaddedPieceSize, SectorNumber
from sp_plugin.config import DatasetConfig, EarningsConfig, JobsConfig, PolicyConfig
from sp_plugin.policy import InputFacts, PolicyDecision, PolicyRules, datasets_of, decide_policy

PIECE_CID = Cid.parse("baga6ea4seaqn7qshakzo57ovwdhgwh3z5tsv6nayudeyhkcjfwifez747zeumpy")
PAYEE = Address(1, bytes(20))
PIECE = HeldPiece(
    provider=ActorId(1000),
    piece_cid=PIECE_CID,
    padded_size=PaddedPieceSize(1 << 20),
    payload_size=None,
    sector=SectorNumber(7),
    offset=0,
    provenance=Provenance(ProvenanceKind.CLAIM, 12),
    client=ActorId(55),
    from_epoch=Epoch(0),
    to_epoch=Epoch(1000),
)
BUNDLE = Bundle(
    network_name="mainnet",
    provider=ActorId(1000),
    engine=Engine.WASM,
    module_sha256="ab" * 32,
    image=None,
    image_kind=None,
    entry_point=("_start",),
    arguments=(),
    env=(),
    inputs=(BundleInput("filecoin", PIECE_CID, "/inputs"),),
    outputs=(BundleOutput("out", "/out", "local"),),
    limits=ResourceLimits(500, 1 << 20, 1 << 20, 60),
    network_access="none",
    payee=PAYEE,
    terms=ShareTerms(Basis.VERIFIED_EXTRA),
    max_output_bytes=1 << 20,
    valid_from=Epoch(0),
    valid_until=Epoch(100),
    nonce="j-1",
)
RULES = PolicyRules(PolicyConfig(), JobsConfig(), EarningsConfig(capital_cost_apr_bps=0))


def dataset(name: str = "quakes", consent: str = "public", **selector: object) -> DatasetConfig:
    return DatasetConfig.model_validate(
        {
            "name": name,
            "licence": "CC0-1.0",
            "steward": "S",
            "consent": consent,
            "selector": selector or {"clients": ["f055"]},
        }
    )


def decide(
    *datasets: DatasetConfig,
    bundle: Bundle = BUNDLE,
    rules: PolicyRules = RULES,
    wanted: str | None = None,
) -> PolicyDecision:
    facts = [InputFacts("filecoin", PIECE_CID, PIECE, datasets_of(PIECE, datasets))]
    return decide_policy(bundle, facts, rules, wanted)


def refused_rules(decision: PolicyDecision) -> list[str]:
    assert decision.allowed is not bool(decision.refusals)
    return [finding.rule for finding in decision.refusals]


def test_a_piece_in_a_public_dataset_may_be_computed_over():
    assert refused_rules(decide(dataset())) == []


def test_a_piece_in_no_dataset_is_refused():
    assert refused_rules(decide(dataset(clients=["f056"]))) == ["dataset"]


def test_a_piece_in_another_dataset_than_the_job_names_is_refused():
    assert refused_rules(decide(dataset(), wanted="rain")) == ["dataset"]


def test_a_dataset_without_consent_refuses_even_if_another_allows():
    both = (dataset(), dataset("closed", "none"))
    assert refused_rules(decide(*both)) == ["consent"]
    assert refused_rules(decide(*both, wanted="quakes")) == []


def test_data_that_needs_its_owners_signature_is_refused_and_never_taken_for_public():
    decision = decide(dataset("mine", "owner-signed"))
    assert refused_rules(decision) == ["consent"]
    assert "mine needs its owner's signature, which cannot be checked yet" in (
        decision.refusals[0].detail
    )
    assert refused_rules(decide(dataset(), dataset("mine", "owner-signed"))) == ["consent"]


@pytest.mark.parametrize(
    "selector", [{"claims": [12]}, {"pieces": [str(PIECE_CID)]}, {"clients": ["f055"]}]
)
def test_a_dataset_selects_by_claim_piece_or_client(selector: dict[str, object]):
    assert len(datasets_of(PIECE, [dataset(**selector)])) == 1


def test_a_dataset_selects_by_a_root_inside_the_piece():
    root = Cid.parse("bafybeidafks7shgjvjtnd5cp4ol6h6nt3gqu2cgqgrj7bqptif76dklza4")
    rooted = dataset(roots=[str(root)])
    assert datasets_of(PIECE, [rooted]) == ()
    assert datasets_of(PIECE, [rooted], [root]) == (rooted,)


def test_an_input_that_is_not_held_is_refused():
    decision = decide_policy(BUNDLE, [InputFacts("ipfs", PIECE_CID, None, ())], RULES)
    assert refused_rules(decision) == ["held"]


def test_a_source_runs_only_if_it_is_listed_and_needs_no_piece_then():
    local = InputFacts("localdirectory", PIECE_CID, None, ())
    assert refused_rules(decide_policy(BUNDLE, [local], RULES)) == []
    mirror = InputFacts("mirror", PIECE_CID, None, ())
    assert refused_rules(decide_policy(BUNDLE, [mirror], RULES)) == ["source"]
    policy = PolicyConfig.model_validate({"allowed_sources": ["Mirror"]})
    rules = replace(RULES, policy=policy)
    assert refused_rules(decide_policy(BUNDLE, [mirror], rules)) == []
    assert refused_rules(decide_policy(BUNDLE, [local], rules)) == ["source"]


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"network_access": "http:example.org"}, "network"),
        ({"limits": replace(BUNDLE.limits, memory_bytes=1 << 40)}, "memory"),
        ({"limits": replace(BUNDLE.limits, timeout_seconds=10**6)}, "time"),
        ({"limits": replace(BUNDLE.limits, disk_bytes=1 << 50)}, "disk"),
        ({"outputs": (BundleOutput("out", "/out", "ipfs"),)}, "publisher"),
        ({"terms": ShareTerms(Basis.QAP_SHARE)}, "basis"),
        ({"terms": ShareTerms(Basis.VERIFIED_EXTRA, output_bps=1001)}, "output_bps"),
        ({"terms": ShareTerms(Basis.VERIFIED_EXTRA, input_bps=1)}, "input_bps"),
        ({"terms": ShareTerms(Basis.VERIFIED_EXTRA, max_share_bps=9999)}, "max_share_bps"),
    ],
)
def test_what_a_job_asks_for_beyond_the_rules_is_refused_by_name(changes, rule: str):
    assert refused_rules(decide(dataset(), bundle=replace(BUNDLE, **changes))) == [rule]


def test_docker_is_refused_until_it_is_switched_on():
    docker = replace(
        BUNDLE,
        engine=Engine.DOCKER,
        module_sha256=None,
        image="sha256:" + "0" * 64,
        image_kind=ImageKind.LOCAL,
    )
    assert refused_rules(decide(dataset(), bundle=docker)) == ["engine"]
    jobs = JobsConfig.model_validate({"docker": {"enabled": True}})
    assert refused_rules(decide(dataset(), bundle=docker, rules=replace(RULES, jobs=jobs))) == []


def test_denied_payees_and_programs_never_run():
    policy = PolicyConfig.model_validate({"deny_payees": [str(PAYEE)], "deny_modules": ["ab" * 32]})
    assert refused_rules(decide(dataset(), rules=replace(RULES, policy=policy))) == [
        "program",
        "payee",
    ]


def test_a_dataset_can_give_less_than_the_provider():
    low = DatasetConfig.model_validate(
        {**dataset().model_dump(exclude={"selector"}), "selector": {"clients": ["f055"]},
         "share_terms": {"output_bps": 500}}
    )  # fmt: skip
    assert refused_rules(decide(low)) == ["output_bps"]


def test_a_root_that_is_not_held_may_come_from_a_gateway_only_where_one_is_named():
    root = Cid.parse("bafybeidafks7shgjvjtnd5cp4ol6h6nt3gqu2cgqgrj7bqptif76dklza4")
    facts = [InputFacts("ipfs", root, None, ())]
    assert refused_rules(decide_policy(BUNDLE, facts, RULES)) == ["held"]
    jobs = JobsConfig.model_validate({"fetch": {"gateways": ["https://gateway.example"]}})
    decision = decide_policy(BUNDLE, facts, replace(RULES, jobs=jobs))
    assert refused_rules(decision) == []
    assert any("from a gateway" in finding.detail for finding in decision.findings)


def test_a_held_root_needs_its_dataset_whatever_gateways_there_are():
    root = Cid.parse("bafybeidafks7shgjvjtnd5cp4ol6h6nt3gqu2cgqgrj7bqptif76dklza4")
    jobs = JobsConfig.model_validate({"fetch": {"gateways": ["https://gateway.example"]}})
    facts = [InputFacts("ipfs", root, PIECE, ())]
    assert refused_rules(decide_policy(BUNDLE, facts, replace(RULES, jobs=jobs))) == ["dataset"]


def test_downloads_are_refused_until_the_operator_names_the_source():
    cid = Cid.parse("bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy")
    facts = [InputFacts("urldownload", cid, None, ())]
    assert refused_rules(decide_policy(BUNDLE, facts, RULES)) == ["source"]
    policy = PolicyConfig(allowed_sources=("filecoin", "urlDownload"))
    assert refused_rules(decide_policy(BUNDLE, facts, replace(RULES, policy=policy))) == []


def test_gpus_are_given_as_far_as_the_operator_says():
    docker = {"engine": Engine.DOCKER, "module_sha256": None, "image_kind": ImageKind.LOCAL}
    bundle = replace(
        BUNDLE, **docker, image="sha256:" + "ab" * 32, limits=replace(BUNDLE.limits, gpus=1)
    )
    for gpus, refused in ((0, ["gpus"]), (1, []), (2, [])):
        jobs = JobsConfig.model_validate({"docker": {"enabled": True, "gpus": gpus}})
        rules = replace(RULES, jobs=jobs)
        assert refused_rules(decide(dataset(), bundle=bundle, rules=rules)) == refused
