"""DataCap on a devnet, by the real messages: a verifier, a grant to a client, and a client's allocation.

Network versions from 29 on end all of it: `DatacapEnded`, or the exit code of the refused message.
"""

from __future__ import annotations

from typing import Final

from devstack.chain import MessageFailed
from devstack.chain.states import MultisigState
from devstack.node import EpochsNotReached, FullNode
from lotus_client.actors.datacap import DATACAP_PRECISION, TransferParams, TransferReturn
from lotus_client.actors.methods import (
    DATACAP,
    VERIFIED_REGISTRY,
    DatacapMethod,
    MultisigMethod,
    VerifregMethod,
)
from lotus_client.actors.multisig import ProposeParams, ProposeReturn, TxnIdParams
from lotus_client.actors.verifreg import (
    AllocationRequest,
    AllocationRequests,
    AllocationsResponse,
    DatacapParams,
)
from lotus_client.address import Address
from lotus_client.cid import Cid
from lotus_client.crypto import SigningKey
from lotus_client.state import MessageLookup
from lotus_client.types import AllocationId, AttoFil, Epoch, PaddedPieceSize

__all__ = ["VERIFIER", "DatacapEnded", "allocate_piece", "grant_datacap", "settle"]

VERIFIER: Final = "verifier-1"  # the account that `grant_datacap` grants from

# builtin-actors policy: the shortest and longest term, and how long an allocation may wait.
_TERM_MIN: Final = Epoch(180 * 2880)
_TERM_MAX: Final = Epoch(5 * 365 * 2880)
_WAIT: Final = Epoch(60 * 2880 - 100)  # a little less than the longest, since mining takes epochs

_VERIFIER_ALLOWANCE: Final = 1 << 60  # bytes
_EPOCHS_TO_SETTLE: Final = 30


class DatacapEnded(RuntimeError):
    """This network grants no DataCap any more."""


async def settle(node: FullNode, cid: Cid, what: str) -> MessageLookup:
    """Mine until the message is executed; where it was.

    Raises:
        MessageFailed: its exit code is not 0.
        EpochsNotReached: it was not included.
    """

    def find() -> MessageLookup | None:
        return node.network.search_message(cid, lookback=Epoch(_EPOCHS_TO_SETTLE))

    found = find()
    if found is None:
        await node.advance(_EPOCHS_TO_SETTLE, until=lambda _: find() is not None)
        found = find()
    if found is None:
        raise EpochsNotReached(f"{what}: message {cid} was not executed")
    if found.receipt.exit_code:
        raise MessageFailed(found.receipt.exit_code, what)
    return found


async def grant_datacap(node: FullNode, client: Address, size: int) -> None:
    """Give a client `size` bytes of DataCap; makes the verifier first if it cannot grant that much. Mines.

    Raises:
        MessageFailed: a message failed, e.g. below the smallest grant.
        DatacapEnded: from network version 29 on.
    """
    network = node.network
    verifier = network.key(VERIFIER)
    have = network.pending_state().verifier_datacap(verifier.address)
    if have is None or have < size:
        await _make_verifier(node, verifier.address)
    params = DatacapParams(client, size).to_cbor()
    cid = network.send(verifier, VERIFIED_REGISTRY, VerifregMethod.ADD_VERIFIED_CLIENT, params)
    await settle(node, cid, f"granting DataCap to {client}")


async def _make_verifier(node: FullNode, verifier: Address) -> None:
    network = node.network
    first, *others = network.config.root_signers
    state = network.pending_state()
    root = state.root_key()
    if not isinstance(state.actor_state(root), MultisigState):
        raise DatacapEnded(f"the root key is {root} now: network version 29 ended new DataCap")
    call = ProposeParams(
        VERIFIED_REGISTRY,
        AttoFil(0),
        VerifregMethod.ADD_VERIFIER,
        DatacapParams(verifier, _VERIFIER_ALLOWANCE).to_cbor(),
    )
    cid = network.send(first, root, MultisigMethod.PROPOSE, call.to_cbor())
    found = await settle(node, cid, "proposing a verifier")
    outcome = ProposeReturn.from_cbor(found.receipt.return_)
    approval = TxnIdParams(outcome.txn_id).to_cbor()
    for signer in others[: network.config.root_threshold - 1]:
        cid = network.send(signer, root, MultisigMethod.APPROVE, approval)
        await settle(node, cid, "approving a verifier")
    if outcome.applied and outcome.exit_code:
        raise MessageFailed(outcome.exit_code, "making a verifier")


async def allocate_piece(
    node: FullNode,
    client: SigningKey,
    provider: Address,
    piece_cid: Cid,
    size: PaddedPieceSize,
    *,
    term_min: Epoch = _TERM_MIN,
    term_max: Epoch = _TERM_MAX,
    wait: Epoch = _WAIT,
) -> AllocationId:
    """Reserve the client's DataCap for one piece at a provider; the allocation's id. Mines.

    `size` is padded bytes; the allocation expires `wait` epochs from now.

    Raises:
        MessageFailed: e.g. too little DataCap (19) or a term out of bounds (16).
    """
    network = node.network
    request = AllocationRequest(
        provider=provider.actor_id,
        data=piece_cid,
        size=size,
        term_min=term_min,
        term_max=term_max,
        expiration=network.head.height + wait,
    )
    transfer = TransferParams(
        VERIFIED_REGISTRY, size * DATACAP_PRECISION, AllocationRequests((request,)).to_cbor()
    )
    cid = network.send(client, DATACAP, DatacapMethod.TRANSFER, transfer.to_cbor())
    found = await settle(node, cid, f"allocating piece {piece_cid}")
    answer = TransferReturn.from_cbor(found.receipt.return_).recipient_data
    return AllocationId(AllocationsResponse.from_cbor(answer).new_allocations[0])
