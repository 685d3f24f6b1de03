"""DataCap on a chain of direct calls, for several tests."""

from __future__ import annotations

from devstack.chain.machine import Sent
from lotus_client.actors.datacap import DATACAP_PRECISION, TransferParams, TransferReturn
from lotus_client.actors.methods import (
    DATACAP,
    VERIFIED_REGISTRY,
    DatacapMethod,
    MultisigMethod,
    VerifregMethod,
)
from lotus_client.actors.multisig import ProposeParams, ProposeReturn
from lotus_client.actors.verifreg import (
    AllocationRequest,
    AllocationRequests,
    AllocationsResponse,
    ClaimTerm,
    DatacapParams,
)
from lotus_client.address import Address
from lotus_client.types import AttoFil
from tests.unit.devstack.chain_story import piece_cid
from tests.unit.devstack.direct import DAY, MIB, Direct

ROOT = Address.of_id(80)
PROVIDER = 1001


def as_root(chain: Direct, method: int, params: bytes) -> ProposeReturn:
    """What f06 answered the root key multisig."""
    call = ProposeParams(VERIFIED_REGISTRY, AttoFil(0), method, params).to_cbor()
    return ProposeReturn.from_cbor(chain.ok("root-1", ROOT, MultisigMethod.PROPOSE, call))


def make_verifier(chain: Direct, name: str, size: int = 1 << 40) -> int:
    params = DatacapParams(chain.id(name), size).to_cbor()
    return as_root(chain, VerifregMethod.ADD_VERIFIER, params).exit_code


def grant(chain: Direct, verifier: str, client: str, size: int) -> Sent:
    params = DatacapParams(chain.id(client), size).to_cbor()
    return chain.call(verifier, 6, VerifregMethod.ADD_VERIFIED_CLIENT, params)


def with_datacap(chain: Direct, size: int = 64 * MIB) -> int:
    """Alice's id; bob is the verifier that granted her so much."""
    assert make_verifier(chain, "bob") == 0
    assert grant(chain, "bob", "alice", size).exit_code == 0
    return chain.ids["alice"]


def request(chain: Direct, number: int, size: int, **changes: int) -> AllocationRequest:
    fields = {
        "provider": PROVIDER,
        "term_min": 180 * DAY,
        "term_max": 540 * DAY,
        "expiration": chain.epoch + 30 * DAY,
    } | changes
    return AllocationRequest(data=piece_cid(number), size=size, **fields)


def transfer(
    chain: Direct,
    *requests: AllocationRequest,
    extensions: tuple[ClaimTerm, ...] = (),
    size: int | None = None,
) -> Sent:
    """Alice pays f06 for these."""
    total = sum(one.size for one in requests) if size is None else size
    data = AllocationRequests(requests, extensions).to_cbor()
    params = TransferParams(VERIFIED_REGISTRY, total * DATACAP_PRECISION, data).to_cbor()
    return chain.call("alice", DATACAP, DatacapMethod.TRANSFER, params)


def new_ids(sent: Sent) -> tuple[int, ...]:
    answer = TransferReturn.from_cbor(sent.return_).recipient_data
    return AllocationsResponse.from_cbor(answer).new_allocations
