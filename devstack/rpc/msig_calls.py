"""The messages to multisigs that `Msig*` builds, and their refusals in Lotus' words.

Source: Lotus `chain/actors/builtin/multisig/{message0,message11}.go`, `node/impl/full/multisig.go`.
"""
# ruff: noqa: PLR0917 -- the builders take what Lotus' methods take, in their order

from __future__ import annotations

from devstack.chain.states import CODE_CIDS
from devstack.node import FullNode
from lotus_client import cbor
from lotus_client.actors.methods import INIT, InitMethod, MultisigMethod
from lotus_client.actors.multisig import (
    ConstructorParams,
    ProposeParams,
    TxnIdParams,
    proposal_hash,
)
from lotus_client.actors.system import ExecParams
from lotus_client.address import Address
from lotus_client.messages import Message
from lotus_client.types import AttoFil, Epoch

__all__ = ["Calls"]

MaybeAddress = Address | None

# builtin-actors actors/multisig/src/lib.rs
_ADD_SIGNER, _REMOVE_SIGNER, _SWAP_SIGNER = 5, 6, 7
_NOTHING = AttoFil(0)


class Calls:
    """Builders by what they ask for. `source` signs and sends; `proposer` is who proposed the transaction.

    ValueError says what is missing; ChainLookupError that a proposer is not on chain.
    """

    @staticmethod
    def create(
        _node: FullNode,
        required: int,
        signers: list[Address],
        duration: Epoch,
        value: AttoFil,
        source: MaybeAddress,
        _gas_price: AttoFil,
    ) -> Message:
        """Exec of a new multisig; 0 required means all of its signers."""
        if len(signers) < required:
            raise ValueError("cannot require signing of more addresses than provided for multisig")
        source = _given(source, "must provide source address")
        constructor = ConstructorParams(tuple(signers), required or len(signers), duration, 0)
        params = ExecParams(CODE_CIDS["multisig"], constructor.to_cbor())
        return Message(INIT, source, value=value, method=InitMethod.EXEC, params=params.to_cbor())

    @staticmethod
    def propose(
        _node: FullNode,
        msig: MaybeAddress,
        to: MaybeAddress,
        value: AttoFil,
        source: MaybeAddress,
        method: int,
        params: bytes,
    ) -> Message:
        """Propose of any call."""
        msig = _given(msig, "must provide a multisig address for proposal")
        to = _given(to, "must provide a target address for proposal")
        if value.value < 0:
            raise ValueError("must provide a non-negative amount for proposed send")
        source = _given(source, "must provide source address")
        call = ProposeParams(to, value, method, params)
        return Message(msig, source, method=MultisigMethod.PROPOSE, params=call.to_cbor())

    @staticmethod
    def approve(_node: FullNode, msig: MaybeAddress, txn_id: int, source: MaybeAddress) -> Message:
        """Approve by number alone."""
        return _by_number(MultisigMethod.APPROVE, msig, txn_id, source)

    @staticmethod
    def cancel(_node: FullNode, msig: MaybeAddress, txn_id: int, source: MaybeAddress) -> Message:
        """Cancel by number alone."""
        return _by_number(MultisigMethod.CANCEL, msig, txn_id, source)

    @staticmethod
    def approve_hash(
        node: FullNode,
        msig: MaybeAddress,
        txn_id: int,
        proposer: MaybeAddress,
        to: MaybeAddress,
        value: AttoFil,
        source: MaybeAddress,
        method: int,
        params: bytes,
    ) -> Message:
        """Approve that holds only for exactly this call of this proposer."""
        call = ProposeParams(_given(to, "must provide target address"), value, method, params)
        digest = proposal_hash(_proposer(node, proposer), call)
        return _by_number(MultisigMethod.APPROVE, msig, txn_id, source, digest)

    @staticmethod
    def cancel_hash(
        node: FullNode,
        msig: MaybeAddress,
        txn_id: int,
        to: MaybeAddress,
        value: AttoFil,
        source: MaybeAddress,
        method: int,
        params: bytes,
    ) -> Message:
        """Cancel that holds only for exactly this call, proposed by `source`."""
        call = ProposeParams(_given(to, "must provide target address"), value, method, params)
        digest = proposal_hash(_proposer(node, source), call)
        return _by_number(MultisigMethod.CANCEL, msig, txn_id, source, digest)

    @staticmethod
    def add_propose(
        node: FullNode,
        msig: MaybeAddress,
        source: MaybeAddress,
        added: MaybeAddress,
        increase: bool,
    ) -> Message:
        """Propose another signer, and perhaps that one more must sign."""
        params = _signer_params(added, increase)
        return Calls.propose(node, msig, msig, _NOTHING, source, _ADD_SIGNER, params)

    @staticmethod
    def add_approve(
        node: FullNode,
        msig: MaybeAddress,
        source: MaybeAddress,
        txn_id: int,
        proposer: MaybeAddress,
        added: MaybeAddress,
        increase: bool,
    ) -> Message:
        """Approve a proposed signer."""
        params = _signer_params(added, increase)
        return Calls.approve_hash(
            node, msig, txn_id, proposer, msig, _NOTHING, source, _ADD_SIGNER, params
        )

    @staticmethod
    def add_cancel(
        node: FullNode,
        msig: MaybeAddress,
        source: MaybeAddress,
        txn_id: int,
        added: MaybeAddress,
        increase: bool,
    ) -> Message:
        """Cancel one's own proposal of a signer."""
        params = _signer_params(added, increase)
        return Calls.cancel_hash(node, msig, txn_id, msig, _NOTHING, source, _ADD_SIGNER, params)

    @staticmethod
    def swap_propose(
        node: FullNode,
        msig: MaybeAddress,
        source: MaybeAddress,
        old: MaybeAddress,
        new: MaybeAddress,
    ) -> Message:
        """Propose one signer in place of another."""
        params = _swap_params(old, new)
        return Calls.propose(node, msig, msig, _NOTHING, source, _SWAP_SIGNER, params)

    @staticmethod
    def swap_approve(
        node: FullNode,
        msig: MaybeAddress,
        source: MaybeAddress,
        txn_id: int,
        proposer: MaybeAddress,
        old: MaybeAddress,
        new: MaybeAddress,
    ) -> Message:
        """Approve a proposed swap."""
        params = _swap_params(old, new)
        return Calls.approve_hash(
            node, msig, txn_id, proposer, msig, _NOTHING, source, _SWAP_SIGNER, params
        )

    @staticmethod
    def swap_cancel(
        node: FullNode,
        msig: MaybeAddress,
        source: MaybeAddress,
        txn_id: int,
        old: MaybeAddress,
        new: MaybeAddress,
    ) -> Message:
        """Cancel one's own proposal of a swap."""
        params = _swap_params(old, new)
        return Calls.cancel_hash(node, msig, txn_id, msig, _NOTHING, source, _SWAP_SIGNER, params)

    @staticmethod
    def remove_signer(
        node: FullNode,
        msig: MaybeAddress,
        source: MaybeAddress,
        removed: MaybeAddress,
        decrease: bool,
    ) -> Message:
        """Propose the removal of a signer, and perhaps that one fewer must sign."""
        params = _signer_params(removed, decrease)
        return Calls.propose(node, msig, msig, _NOTHING, source, _REMOVE_SIGNER, params)


def _given(address: MaybeAddress, problem: str) -> Address:
    if address is None:
        raise ValueError(problem)
    return address


def _by_number(
    method: MultisigMethod,
    msig: MaybeAddress,
    txn_id: int,
    source: MaybeAddress,
    digest: bytes = b"",
) -> Message:
    msig = _given(msig, "must provide multisig address")
    source = _given(source, "must provide source address")
    params = TxnIdParams(txn_id, digest).to_cbor()
    return Message(msig, source, method=method, params=params)


def _proposer(node: FullNode, address: MaybeAddress) -> Address:
    """The f0 form of the proposer, which the hash is made over."""
    address = _given(address, "must provide source address")
    actor_id = node.network.pending_state().actor_id(address)
    if actor_id is None:
        raise ValueError(f"resolution lookup failed ({address}): actor not found")
    return Address.of_id(actor_id)


def _signer_params(signer: MaybeAddress, change: bool) -> bytes:
    address = _given(signer, "must provide a signer address")
    return cbor.encode([address.to_bytes(), change])


def _swap_params(old: MaybeAddress, new: MaybeAddress) -> bytes:
    addresses = [_given(one, "must provide both signer addresses") for one in (old, new)]
    return cbor.encode([address.to_bytes() for address in addresses])
