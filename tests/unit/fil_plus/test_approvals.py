import json
from dataclasses import replace

import pytest

from fil_plus.approvals import (
    Approval,
    ApprovalPolicy,
    ApprovalReason,
    Approver,
    Basis,
    Bundle,
    BundleError,
    BundleInput,
    BundleOutput,
    Conflicts,
    Engine,
    ImageKind,
    ResourceLimits,
    Revocation,
    RevocationReason,
    ShareTerms,
    approval_payload,
    approval_signing_bytes,
    decide_approval,
    revocation_payload,
    verify_approval,
)
from lotus_client.address import Address
from lotus_client.crypto import Secp256k1Key, SignatureError, envelope
from lotus_client.types import ActorId, AttoFil, Epoch
from tests.fakes_chain import piece_cid

KEYS = [Secp256k1Key(bytes([number]) * 32) for number in range(1, 6)]
PAYEE = KEYS[4].address


def make_bundle(**changes):
    bundle = Bundle(
        network_name="devstack",
        provider=ActorId(1001),
        engine=Engine.WASM,
        module_sha256="ab" * 32,
        image=None,
        image_kind=None,
        entry_point=("_start",),
        arguments=("--year", "2020"),
        env=(("LANG", "C"),),
        inputs=(BundleInput("filecoin", piece_cid(1), "/inputs/0", padded_size=1 << 20),),
        outputs=(BundleOutput("results", "/outputs", "filecoin"),),
        limits=ResourceLimits(1000, 64 << 20, 1 << 30, 60),
        network_access="none",
        payee=PAYEE,
        terms=ShareTerms(Basis.VERIFIED_EXTRA),
        max_output_bytes=1 << 20,
        valid_from=Epoch(10),
        valid_until=Epoch(20),
        nonce="1",
    )
    return replace(bundle, **changes)


POLICY = ApprovalPolicy(
    2,
    (
        Approver(KEYS[0].address, frozenset({"technical"})),
        Approver(KEYS[1].address, frozenset({"data", "technical"})),
        Approver(KEYS[2].address, frozenset({"data"})),
    ),
    {"data": 1},
)
NOBODY = Conflicts(frozenset({PAYEE}), frozenset({Address.of_id(100)}))


def approve(key, role, bundle=None):
    bundle = bundle or make_bundle()
    return Approval(bundle.digest(), key.address, key.sign(approval_signing_bytes(bundle)), role)


def decide(approvals, bundle=None, at=15, conflicts=NOBODY, revocations=()):
    return decide_approval(
        bundle or make_bundle(),
        approvals,
        POLICY,
        Epoch(at),
        conflicts,
        revocations=revocations,
    )


GOOD = [approve(KEYS[0], "technical"), approve(KEYS[1], "data")]


def reasons(findings):
    return [finding.reason for finding in findings]


def test_two_good_approvals_with_the_needed_role_suffice():
    decision = decide(GOOD)
    assert decision.approved
    assert decision.counted == tuple(GOOD)
    assert decision.ignored == ()


def test_the_payload_is_text_that_a_person_can_read():
    lines = approval_payload(make_bundle()).decode().split("\n")
    assert lines[0] == make_bundle().digest().hex()
    assert "t01001" in lines[1]
    assert str(PAYEE) in lines[1]
    assert len(lines) == 2


def test_the_canonical_form_does_not_change_between_versions():
    bundle = make_bundle()
    plain = json.dumps(bundle.to_json(), sort_keys=True, separators=(",", ":"))
    assert bundle.canonical_json() == plain.encode()
    assert bundle.digest().hex() == (
        "dafbed96809f66ad3867e4b59ca145dbb9c0d52f597d2ef6e974d271fe613d8a"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"network_name": "mainnet"},
        {"provider": ActorId(1002)},
        {"module_sha256": "ac" * 32},
        {"entry_point": ()},
        {"arguments": ("--year 2020",)},
        {"env": ()},
        {"inputs": ()},
        {"outputs": ()},
        {"limits": ResourceLimits(1000, 64 << 20, 1 << 30, 61)},
        {"network_access": "http:example.org"},
        {"payee": KEYS[3].address},
        {"terms": ShareTerms(Basis.VERIFIED_EXTRA, output_bps=1001)},
        {"terms": ShareTerms(Basis.FIXED_BUDGET, budget=AttoFil(1))},
        {"max_output_bytes": 1},
        {"valid_from": Epoch(11)},
        {"valid_until": Epoch(21)},
        {"nonce": "2"},
    ],
)
def test_any_change_voids_the_approvals(changes):
    decision = decide(GOOD, make_bundle(**changes))
    assert not decision.approved
    assert reasons(decision.ignored) == [ApprovalReason.OTHER_DIGEST] * 2


@pytest.mark.parametrize(
    ("approvals", "ignored"),
    [
        ([GOOD[0], GOOD[0]], ApprovalReason.SAME_APPROVER),
        ([GOOD[0], approve(KEYS[3], "data")], ApprovalReason.NOT_LISTED),
        ([GOOD[0], approve(KEYS[2], "technical")], ApprovalReason.ROLE_NOT_HELD),
        ([GOOD[0], replace(GOOD[1], signature=GOOD[0].signature)], ApprovalReason.BAD_SIGNATURE),
    ],
)
def test_an_approval_that_does_not_count_is_named(approvals, ignored):
    decision = decide(approvals)
    assert reasons(decision.ignored) == [ignored]
    assert reasons(decision.refusals) == [
        ApprovalReason.TOO_FEW_APPROVERS,
        ApprovalReason.ROLE_MISSING,
    ]


def test_a_signature_without_the_envelope_is_no_approval():
    bundle = make_bundle()
    bare = Approval(
        bundle.digest(), KEYS[0].address, KEYS[0].sign(approval_payload(bundle)), "technical"
    )
    with pytest.raises(SignatureError):
        verify_approval(bundle, bare)


def test_k_alone_is_not_enough_when_a_role_is_missing():
    decision = decide([GOOD[0], approve(KEYS[1], "technical")])
    assert reasons(decision.refusals) == [ApprovalReason.ROLE_MISSING]


@pytest.mark.parametrize(
    ("epoch", "reason"),
    [(9, ApprovalReason.NOT_YET_VALID), (21, ApprovalReason.EXPIRED), (10, None), (20, None)],
)
def test_the_run_must_start_inside_the_window(epoch, reason):
    assert reasons(decide(GOOD, at=epoch).refusals) == ([reason] if reason else [])


def test_an_approver_who_is_the_payee_under_another_address_does_not_count():
    shared = Address.of_id(500)
    conflicts = Conflicts(
        frozenset({PAYEE, shared}), NOBODY.provider, {KEYS[0].address: frozenset({shared})}
    )
    assert reasons(decide(GOOD, conflicts=conflicts).ignored) == [ApprovalReason.APPROVER_IS_PAYEE]


def test_an_approver_who_is_the_owner_does_not_count():
    conflicts = Conflicts(
        NOBODY.payee, NOBODY.provider, {KEYS[0].address: frozenset({Address.of_id(100)})}
    )
    assert reasons(decide(GOOD, conflicts=conflicts).ignored) == [
        ApprovalReason.APPROVER_IS_PROVIDER
    ]


def test_two_addresses_of_one_approver_count_once():
    same = frozenset({Address.of_id(7)})
    conflicts = Conflicts(
        NOBODY.payee, NOBODY.provider, {KEYS[0].address: same, KEYS[1].address: same}
    )
    assert reasons(decide(GOOD, conflicts=conflicts).ignored) == [ApprovalReason.SAME_APPROVER]


def test_a_payee_who_is_the_owner_is_refused():
    conflicts = Conflicts(frozenset({PAYEE, Address.of_id(100)}), NOBODY.provider)
    decision = decide(GOOD, conflicts=conflicts)
    assert ApprovalReason.PAYEE_IS_PROVIDER in reasons(decision.refusals)


def revoke(key, at, signer=None):
    digest = make_bundle().digest()
    payload = revocation_payload(digest, RevocationReason.QUALITY, Epoch(at), "devstack")
    signature = (signer or key).sign(envelope(payload))
    return Revocation(digest, key.address, signature, RevocationReason.QUALITY, Epoch(at))


@pytest.mark.parametrize(
    ("revocation", "stops"),
    [
        (revoke(KEYS[2], 12), True),
        (revoke(KEYS[2], 16), False),
        (revoke(KEYS[3], 12), False),
        (revoke(KEYS[2], 12, signer=KEYS[3]), False),
    ],
)
def test_only_a_signed_revocation_of_a_listed_approver_that_is_in_force_stops_a_run(
    revocation, stops
):
    decision = decide(GOOD, revocations=[revocation])
    assert decision.approved is not stops


def test_every_problem_of_a_bundle_is_named_at_once():
    with pytest.raises(BundleError) as caught:
        make_bundle(
            module_sha256="no",
            image="x",
            env=(("B", ""), ("A", "")),
            valid_until=Epoch(1),
            nonce="",
            payee=None,
            max_output_bytes=2**60,
        )
    assert len(caught.value.problems) == 7


def test_a_docker_image_is_named_by_digest():
    docker = {"engine": Engine.DOCKER, "module_sha256": None}
    local, registry = "sha256:" + "ab" * 32, "example/tool@sha256:" + "ab" * 32
    make_bundle(**docker, image=local, image_kind=ImageKind.LOCAL)
    make_bundle(**docker, image=registry, image_kind=ImageKind.REGISTRY)
    for image, kind in (
        ("tool:latest", ImageKind.REGISTRY),
        (registry, ImageKind.LOCAL),
        (None, None),
    ):
        with pytest.raises(BundleError, match="image"):
            make_bundle(**docker, image=image, image_kind=kind)


@pytest.mark.parametrize(
    "arguments",
    [
        {"k": 0},
        {"k": 4},
        {"approvers": (*POLICY.approvers, POLICY.approvers[0])},
        {"role_minimums": {"legal": 1}},
    ],
)
def test_a_policy_that_could_never_be_met_is_refused(arguments):
    with pytest.raises(ValueError):
        replace(POLICY, **arguments)
