"""Verified registry f06: who may grant DataCap, granting it, and taking it back (actors.md §4)."""

from __future__ import annotations

from typing import Final

from devstack.chain.actors import dispatch
from devstack.chain.actors.authentication import authenticates
from devstack.chain.actors.dispatch import Action, taking
from devstack.chain.machine import Abort, Exit, Runtime
from devstack.chain.states import VerifregState
from devstack.chain.table import replace
from lotus_client import cbor
from lotus_client.actors import events, wire
from lotus_client.actors.datacap import DATACAP_PRECISION, BurnFromParams, MintParams
from lotus_client.actors.methods import DATACAP, MARKET, DatacapMethod
from lotus_client.actors.methods import VerifregMethod as Method
from lotus_client.actors.verifreg import (
    DatacapParams,
    RemoveDatacapParams,
    RemoveDatacapRequest,
    RemoveDatacapReturn,
)
from lotus_client.address import Address
from lotus_client.crypto import Signature, SignatureError

__all__ = ["GRANT_METHODS"]


def _require_allowance(runtime: Runtime, allowance: int) -> None:
    runtime.require(
        allowance >= runtime.config.minimum_piece_size,
        Exit.ILLEGAL_ARGUMENT,
        "allowance is below the smallest allocation",
    )


def _id_of(runtime: Runtime, address: Address) -> int:
    """An f0 without an actor is not found; a key that cannot be resolved is a wrong argument."""
    is_id = address.protocol == 0
    return runtime.resolve_id(address, Exit.NOT_FOUND if is_id else Exit.ILLEGAL_ARGUMENT)


def _held(runtime: Runtime, holder: int) -> int:
    """A holder's DataCap bytes, as f07 says."""
    asked = cbor.encode(Address.of_id(holder).to_bytes())
    sent = runtime.send(DATACAP, DatacapMethod.BALANCE, asked, read_only=True)
    if sent.exit_code:
        raise Abort(sent.exit_code, "f07 does not say the balance")
    return wire.big(cbor.decode(sent.return_)) // DATACAP_PRECISION


def _add_verifier(runtime: Runtime, grant: DatacapParams) -> bytes:
    """A new allowance replaces an old one."""
    _require_allowance(runtime, grant.allowance)
    verifier = _id_of(runtime, grant.address)
    state: VerifregState = runtime.state
    runtime.require_caller(state.root_key)
    runtime.require(verifier != state.root_key, Exit.ILLEGAL_ARGUMENT, "the root is no verifier")
    runtime.require(
        _held(runtime, verifier) == 0,
        Exit.ILLEGAL_ARGUMENT,
        "a client with DataCap cannot become a verifier",
    )
    runtime.set_state(replace(state, verifiers=state.verifiers.with_({verifier: grant.allowance})))
    runtime.emit(events.verifier_balance_event(verifier, grant.allowance))
    return b""


def _remove_verifier(runtime: Runtime, address: Address) -> bytes:
    state: VerifregState = runtime.state
    verifier = runtime.machine.resolve(address)
    runtime.require_caller(state.root_key)
    if verifier is None or verifier not in state.verifiers:
        raise Abort(Exit.ILLEGAL_ARGUMENT, "not a verifier")
    runtime.set_state(replace(state, verifiers=state.verifiers.without([verifier])))
    runtime.emit(events.verifier_balance_event(verifier, 0))
    return b""


def _add_verified_client(runtime: Runtime, grant: DatacapParams) -> bytes:
    _require_allowance(runtime, grant.allowance)
    client = _id_of(runtime, grant.address)
    state: VerifregState = runtime.state
    verifier = runtime.caller
    if verifier not in state.verifiers:
        raise Abort(Exit.NOT_FOUND, f"f0{verifier} is no verifier")
    runtime.require(
        client != state.root_key and client not in state.verifiers,
        Exit.ILLEGAL_ARGUMENT,
        "the root and verifiers cannot be clients",
    )
    left = state.verifiers[verifier] - grant.allowance
    runtime.require(left >= 0, Exit.ILLEGAL_ARGUMENT, "more than the verifier's own DataCap")
    runtime.set_state(replace(state, verifiers=state.verifiers.with_({verifier: left})))
    runtime.emit(events.verifier_balance_event(verifier, left, client))
    mint = MintParams(Address.of_id(client), grant.allowance * DATACAP_PRECISION, (MARKET,))
    runtime.must_send(DATACAP, DatacapMethod.MINT, mint.to_cbor())
    return b""


def _remove_datacap(runtime: Runtime, params: RemoveDatacapParams) -> bytes:
    """Take DataCap from a client on the word of two verifiers; no more than it has."""
    client = runtime.resolve_id(params.client)
    verifiers = [runtime.resolve_id(one.verifier) for one in (params.first, params.second)]
    runtime.require(verifiers[0] != verifiers[1], Exit.ILLEGAL_ARGUMENT, "one verifier twice")
    state: VerifregState = runtime.state
    runtime.require_caller(state.root_key)
    for verifier in verifiers:
        runtime.require(verifier in state.verifiers, Exit.NOT_FOUND, f"f0{verifier} is no verifier")
    for verifier, request in zip(verifiers, (params.first, params.second), strict=True):
        _use_request(runtime, client, params.amount, verifier, request)
    removed = min(_held(runtime, client), params.amount)
    burn = BurnFromParams(Address.of_id(client), removed * DATACAP_PRECISION)
    runtime.must_send(DATACAP, DatacapMethod.DESTROY, burn.to_cbor())
    return RemoveDatacapReturn(Address.of_id(client), removed).to_cbor()


def _use_request(
    runtime: Runtime, client: int, amount: int, verifier: int, request: RemoveDatacapRequest
) -> None:
    """Check a verifier's signature over its next proposal for this client, which it then has used up."""
    state: VerifregState = runtime.state
    key = (client, verifier)
    proposal = state.remove_data_cap_proposal_ids.get(key, 0)
    used = state.remove_data_cap_proposal_ids.with_({key: proposal + 1})
    runtime.set_state(replace(state, remove_data_cap_proposal_ids=used))
    signed = RemoveDatacapParams.signed_bytes(Address.of_id(client), amount, proposal)
    try:
        signature = Signature.from_bytes(request.signature)
    except SignatureError as error:
        raise Abort(Exit.ILLEGAL_ARGUMENT, str(error)) from error
    runtime.require(
        authenticates(runtime, Address.of_id(verifier), signature.data, signed),
        Exit.ILLEGAL_ARGUMENT,
        "a verifier did not sign this",
    )


_grant = taking(DatacapParams.from_cbor, _add_verified_client)

GRANT_METHODS: Final[dict[int, Action]] = {
    Method.ADD_VERIFIER: taking(DatacapParams.from_cbor, _add_verifier),
    Method.REMOVE_VERIFIER: taking(dispatch.address, _remove_verifier),
    Method.ADD_VERIFIED_CLIENT: _grant,
    Method.ADD_VERIFIED_CLIENT_EXPORTED: _grant,
    Method.REMOVE_VERIFIED_CLIENT_DATACAP: taking(RemoveDatacapParams.from_cbor, _remove_datacap),
}
