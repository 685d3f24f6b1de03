from __future__ import annotations

import pytest

from devstack.chain.machine import Exit
from lotus_client import cbor
from lotus_client.actors import verifreg as wire
from lotus_client.actors.datacap import ReceiverParams
from lotus_client.actors.methods import VerifregMethod as Method
from lotus_client.actors.wire import BatchReturn
from lotus_client.address import Address
from tests.unit.devstack.chain_story import piece_cid
from tests.unit.devstack.direct import DAY, MIB, Direct
from tests.unit.devstack.fil_plus_story import (
    PROVIDER,
    ROOT,
    as_root,
    grant,
    make_verifier,
    new_ids,
    request,
    transfer,
    with_datacap,
)


@pytest.fixture
def chain() -> Direct:
    return Direct()


def claimed(chain: Direct, *allocations: int, expiry: int = 400 * DAY, sector: int = 7):  # type: ignore[no-untyped-def]
    """The provider claims alice's 1 MiB allocations in one sector."""
    claims = tuple(
        wire.AllocationClaim(chain.ids["alice"], one, piece_cid(one), MIB) for one in allocations
    )
    sectors = (wire.SectorAllocationClaims(sector, chain.epoch + expiry, claims),)
    params = wire.ClaimAllocationsParams(sectors, all_or_nothing=False)
    sent = chain.call(PROVIDER, 6, Method.CLAIM_ALLOCATIONS, params.to_cbor())
    assert sent.exit_code == 0
    return wire.ClaimAllocationsReturn.from_cbor(sent.return_)


def allocated(chain: Direct, count: int = 1, **changes: int) -> tuple[int, ...]:
    """Alice's new allocations of 1 MiB; the piece has the allocation's number."""
    first = chain.state(6).next_allocation_id
    requests = [request(chain, first + index, MIB, **changes) for index in range(count)]
    return new_ids(transfer(chain, *requests))


# verifiers ----------------------------------------------------------------------------------------------------------


def test_the_root_makes_and_removes_verifiers(chain: Direct) -> None:
    assert make_verifier(chain, "bob", 2 * MIB) == 0
    assert chain.events == ["verifier-balance"]
    assert make_verifier(chain, "bob", 3 * MIB) == 0  # replaces
    assert chain.state(6).verifiers == {chain.ids["bob"]: 3 * MIB}
    bob = cbor.encode(chain.id("bob").to_bytes())
    assert as_root(chain, Method.REMOVE_VERIFIER, bob).exit_code == 0
    assert chain.events == ["verifier-balance"]
    assert as_root(chain, Method.REMOVE_VERIFIER, bob).exit_code == Exit.ILLEGAL_ARGUMENT


def test_what_cannot_be_a_verifier_is_refused(chain: Direct) -> None:
    with_datacap(chain)
    assert make_verifier(chain, "carol", 255) == Exit.ILLEGAL_ARGUMENT
    assert make_verifier(chain, "alice") == Exit.ILLEGAL_ARGUMENT  # holds DataCap
    root = wire.DatacapParams(ROOT, MIB).to_cbor()
    assert as_root(chain, Method.ADD_VERIFIER, root).exit_code == Exit.ILLEGAL_ARGUMENT
    nobody = wire.DatacapParams(Address.of_id(99_999), MIB).to_cbor()
    assert as_root(chain, Method.ADD_VERIFIER, nobody).exit_code == Exit.NOT_FOUND
    carol = wire.DatacapParams(chain.id("carol"), MIB).to_cbor()
    assert chain.call("alice", 6, Method.ADD_VERIFIER, carol).exit_code == Exit.FORBIDDEN
    bob = cbor.encode(chain.id("bob").to_bytes())
    assert chain.call("alice", 6, Method.REMOVE_VERIFIER, bob).exit_code == Exit.FORBIDDEN


def test_a_verifier_grants_what_it_has_to_others_than_verifiers(chain: Direct) -> None:
    make_verifier(chain, "bob", 2 * MIB)
    make_verifier(chain, "carol", 2 * MIB)
    assert grant(chain, "alice", "dave", MIB).exit_code == Exit.NOT_FOUND
    assert grant(chain, "bob", "dave", 255).exit_code == Exit.ILLEGAL_ARGUMENT
    assert grant(chain, "bob", "carol", MIB).exit_code == Exit.ILLEGAL_ARGUMENT
    assert grant(chain, "bob", "dave", 3 * MIB).exit_code == Exit.ILLEGAL_ARGUMENT
    assert grant(chain, "bob", "dave", MIB).exit_code == 0
    assert chain.events == ["verifier-balance"]
    assert chain.state(6).verifiers[chain.ids["bob"]] == MIB
    chain.sound()


# taking DataCap back ------------------------------------------------------------------------------------------------


def take_back(chain: Direct, size: int, proposals: tuple[int, int] = (0, 0), **changes: str):  # type: ignore[no-untyped-def]
    """Bob and carol ask the root to take DataCap from alice."""
    names = {"first": "bob", "second": "carol", "signer": "bob"} | changes
    client = chain.id("alice")

    def asked(verifier: str, signer: str, proposal: int) -> wire.RemoveDatacapRequest:
        signed = wire.RemoveDatacapParams.signed_bytes(client, size, proposal)
        signature = chain.key(signer).sign(signed).to_bytes()
        return wire.RemoveDatacapRequest(chain.id(verifier), signature)

    first = asked(names["first"], names["signer"], proposals[0])
    second = asked(names["second"], names["second"], proposals[1])
    params = wire.RemoveDatacapParams(client, size, first, second).to_cbor()
    return as_root(chain, Method.REMOVE_VERIFIED_CLIENT_DATACAP, params)


def test_two_verifiers_and_the_root_take_datacap_back_each_proposal_once(chain: Direct) -> None:
    with_datacap(chain)
    make_verifier(chain, "carol")
    sent = take_back(chain, MIB)
    assert sent.exit_code == 0
    answer = wire.RemoveDatacapReturn.from_cbor(sent.return_)
    assert answer == wire.RemoveDatacapReturn(chain.id("alice"), MIB)
    assert take_back(chain, MIB).exit_code == Exit.ILLEGAL_ARGUMENT  # the proposals are used up
    rest = wire.RemoveDatacapReturn.from_cbor(take_back(chain, 99 * MIB, (1, 1)).return_)
    assert rest.removed == 63 * MIB  # no more than there is
    assert chain.state(7).supply == 0
    chain.sound()


def test_datacap_stays_when_the_request_is_not_that_of_two_verifiers(chain: Direct) -> None:
    with_datacap(chain)
    assert take_back(chain, MIB).exit_code == Exit.NOT_FOUND  # carol is no verifier yet
    make_verifier(chain, "carol")
    assert take_back(chain, MIB, second="bob").exit_code == Exit.ILLEGAL_ARGUMENT
    assert take_back(chain, MIB, signer="dave").exit_code == Exit.ILLEGAL_ARGUMENT
    nothing = wire.RemoveDatacapRequest(chain.id("bob"), b"\x01")
    other = wire.RemoveDatacapRequest(chain.id("carol"), b"\x01")
    params = wire.RemoveDatacapParams(chain.id("alice"), MIB, nothing, other).to_cbor()
    direct = chain.call("dave", 6, Method.REMOVE_VERIFIED_CLIENT_DATACAP, params)
    assert direct.exit_code == Exit.FORBIDDEN
    assert chain.state(7).supply == 64 * MIB


# allocations --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"size": 128},
        {"term_min": 180 * DAY - 1},
        {"term_max": 5 * 365 * DAY + 1},
        {"term_min": 541 * DAY},
        {"expiration": 9},
        {"expiration": 11 + 60 * DAY},
        {"provider": 100},
        {"provider": 99_999},
    ],
)
def test_one_wrong_request_refuses_them_all(chain: Direct, changes: dict[str, int]) -> None:
    with_datacap(chain)
    size = changes.pop("size", MIB)
    sent = transfer(chain, request(chain, 1, MIB), request(chain, 2, size, **changes))
    assert sent.exit_code == Exit.ILLEGAL_ARGUMENT
    assert chain.state(6).next_allocation_id == 1
    chain.sound()


def test_only_the_token_tells_of_tokens(chain: Direct) -> None:
    hook = ReceiverParams(100, 6, 100, 0, wire.AllocationRequests(()).to_cbor()).to_cbor()
    assert chain.call("alice", 6, Method.RECEIVE, hook).exit_code == Exit.FORBIDDEN


def test_allocations_are_numbered_in_the_order_of_the_requests(chain: Direct) -> None:
    with_datacap(chain)
    assert allocated(chain, 2) == (1, 2)
    assert chain.events == ["allocation", "allocation"]
    assert allocated(chain, 1) == (3,)
    chain.sound()


def test_claims_that_do_not_fit_fail_their_sector_only(chain: Direct) -> None:
    with_datacap(chain)
    first, second, third = allocated(chain, 3)
    good = wire.AllocationClaim(chain.ids["alice"], first, piece_cid(first), MIB)
    sectors = (
        wire.SectorAllocationClaims(1, chain.epoch + 400 * DAY, (good,)),
        wire.SectorAllocationClaims(2, chain.epoch + 400 * DAY, (good,)),  # claimed already
        wire.SectorAllocationClaims(
            3, chain.epoch + 100 * DAY,
            (wire.AllocationClaim(chain.ids["alice"], second, piece_cid(second), MIB),),
        ),
        wire.SectorAllocationClaims(
            4, chain.epoch + 400 * DAY,
            (wire.AllocationClaim(chain.ids["bob"], second, piece_cid(second), MIB),),
        ),
        wire.SectorAllocationClaims(
            5, chain.epoch + 400 * DAY,
            (wire.AllocationClaim(chain.ids["alice"], third, piece_cid(9), MIB),),
        ),
    )  # fmt: skip
    params = wire.ClaimAllocationsParams(sectors, all_or_nothing=False).to_cbor()
    answer = wire.ClaimAllocationsReturn.from_cbor(
        chain.ok(PROVIDER, 6, Method.CLAIM_ALLOCATIONS, params)
    )
    codes = ((1, Exit.NOT_FOUND), (2, Exit.FORBIDDEN), (3, Exit.FORBIDDEN), (4, Exit.FORBIDDEN))
    assert answer.sector_results == BatchReturn(1, codes)
    assert answer.claimed_space == (MIB,)
    assert chain.events == ["claim"]
    whole = wire.ClaimAllocationsParams(sectors, all_or_nothing=True).to_cbor()
    assert chain.call(PROVIDER, 6, Method.CLAIM_ALLOCATIONS, whole).exit_code == 16
    none = wire.ClaimAllocationsParams((), all_or_nothing=False).to_cbor()
    assert chain.call(PROVIDER, 6, Method.CLAIM_ALLOCATIONS, none).exit_code == 16
    assert chain.call("alice", 6, Method.CLAIM_ALLOCATIONS, params).exit_code == 18
    other_miner = chain.call(1000, 6, Method.CLAIM_ALLOCATIONS, params)
    assert wire.ClaimAllocationsReturn.from_cbor(other_miner.return_).claimed_space == ()
    chain.sound()


def test_at_its_expiration_an_allocation_can_be_claimed_and_removed(chain: Direct) -> None:
    with_datacap(chain)
    first, second = allocated(chain, 2, expiration=chain.epoch + 5)
    client = chain.ids["alice"]
    early = wire.RemoveExpiredParams(client, (first, 77)).to_cbor()
    answer = wire.RemoveExpiredAllocationsReturn.from_cbor(
        chain.ok("dave", 6, Method.REMOVE_EXPIRED_ALLOCATIONS, early)
    )
    assert answer.results == BatchReturn(0, ((0, Exit.FORBIDDEN), (1, Exit.NOT_FOUND)))
    chain.at(chain.epoch + 5)
    assert claimed(chain, first).claimed_space == (MIB,)
    every = wire.RemoveExpiredParams(client).to_cbor()
    answer = wire.RemoveExpiredAllocationsReturn.from_cbor(
        chain.ok("dave", 6, Method.REMOVE_EXPIRED_ALLOCATIONS, every)
    )
    assert answer == wire.RemoveExpiredAllocationsReturn((second,), BatchReturn(1), MIB)
    assert chain.events == ["allocation-removed"]
    chain.sound()


# claims -------------------------------------------------------------------------------------------------------------


def get_claims(chain: Direct, provider: int, *ids: int) -> list[object]:
    params = wire.RemoveExpiredParams(provider, ids).to_cbor()
    value = cbor.decode(chain.ok("dave", 6, Method.GET_CLAIMS, params))
    assert isinstance(value, list)
    return value


def test_claims_are_read_per_provider(chain: Direct) -> None:
    with_datacap(chain)
    (one,) = allocated(chain)
    claimed(chain, one)
    results, found = get_claims(chain, PROVIDER, one, 99)
    assert results == [1, [[1, Exit.NOT_FOUND]]]
    (claim,) = found  # type: ignore[misc]
    fields = [PROVIDER, chain.ids["alice"], piece_cid(one), MIB, 180 * DAY, 540 * DAY, 10, 7]
    assert claim == fields
    assert get_claims(chain, 1000, one)[0] == [0, [[0, Exit.NOT_FOUND]]]


def test_a_client_lengthens_its_claims_for_nothing_within_bounds(chain: Direct) -> None:
    with_datacap(chain)
    (one,) = allocated(chain)
    claimed(chain, one)

    def extend(who: str, provider: int, claim: int, term_max: int) -> int:
        terms = (wire.ClaimTerm(provider, claim, term_max),)
        raw = chain.ok(
            who, 6, Method.EXTEND_CLAIM_TERMS, wire.ExtendClaimTermsParams(terms).to_cbor()
        )
        failed = BatchReturn.from_cbor(raw).fail_codes
        return failed[0][1] if failed else 0

    assert extend("alice", PROVIDER, one, 5 * 365 * DAY + 1) == Exit.ILLEGAL_ARGUMENT
    assert extend("alice", PROVIDER, one, 540 * DAY - 1) == Exit.ILLEGAL_ARGUMENT
    assert extend("bob", PROVIDER, one, 600 * DAY) == Exit.FORBIDDEN
    assert extend("alice", PROVIDER, 99, 600 * DAY) == Exit.NOT_FOUND
    assert extend("alice", 1000, one, 600 * DAY) == Exit.NOT_FOUND
    assert extend("alice", PROVIDER, one, 600 * DAY) == 0
    assert chain.events == ["claim-updated"]


def test_anyone_with_datacap_pays_for_longer_claims(chain: Direct) -> None:
    with_datacap(chain)
    (one,) = allocated(chain)
    claimed(chain, one)
    longer = wire.ClaimTerm(PROVIDER, one, 600 * DAY)
    sent = transfer(chain, request(chain, 2, MIB), extensions=(longer,), size=2 * MIB)
    assert sent.exit_code == 0
    assert chain.events == ["allocation", "claim-updated"]
    assert chain.state(6).claims[one].term_max == 600 * DAY
    assert chain.state(7).supply == 64 * MIB - 2 * MIB  # the claim's bytes and the extension's
    same = wire.ClaimTerm(PROVIDER, one, 600 * DAY)
    assert transfer(chain, extensions=(same,), size=MIB).exit_code == Exit.ILLEGAL_ARGUMENT
    too_long = wire.ClaimTerm(PROVIDER, one, 5 * 365 * DAY + 1)
    assert transfer(chain, extensions=(too_long,), size=MIB).exit_code == Exit.ILLEGAL_ARGUMENT
    unknown = wire.ClaimTerm(PROVIDER, 99, 700 * DAY)
    assert transfer(chain, extensions=(unknown,), size=MIB).exit_code == Exit.NOT_FOUND
    chain.at(10 + 600 * DAY + 1)
    late = wire.ClaimTerm(PROVIDER, one, 700 * DAY)
    assert transfer(chain, extensions=(late,), size=MIB).exit_code == Exit.FORBIDDEN
    chain.sound()


def test_claims_are_removed_once_their_longest_term_is_over(chain: Direct) -> None:
    with_datacap(chain)
    (one,) = allocated(chain)
    claimed(chain, one)
    ask = wire.RemoveExpiredParams(PROVIDER, (one,)).to_cbor()
    early = cbor.decode(chain.ok("dave", 6, Method.REMOVE_EXPIRED_CLAIMS, ask))
    assert early == [[one], [0, [[0, Exit.FORBIDDEN]]]]
    chain.at(10 + 540 * DAY)
    every = wire.RemoveExpiredParams(PROVIDER).to_cbor()
    late = cbor.decode(chain.ok("dave", 6, Method.REMOVE_EXPIRED_CLAIMS, every))
    assert late == [[one], [1, []]]
    assert chain.events == ["claim-removed"]


def test_network_version_29_ends_all_but_reading_claims(chain: Direct) -> None:
    with_datacap(chain)
    (one,) = allocated(chain)
    claimed(chain, one)
    chain.at(chain.epoch + 1, version=29)
    assert get_claims(chain, PROVIDER, one)[0] == [1, []]
    for method in (Method.ADD_VERIFIER, Method.REMOVE_VERIFIED_CLIENT_DATACAP, Method.RECEIVE):
        assert chain.call("alice", 6, method, b"\x80").exit_code == Exit.FORBIDDEN
