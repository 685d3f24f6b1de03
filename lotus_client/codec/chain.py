"""Block headers, tipsets and head changes as JSON. Source: Lotus `chain/types`, `api/types.go`."""

from __future__ import annotations

import base64
from typing import Any

from lotus_client.address import NetworkPrefix
from lotus_client.chain import (
    BeaconEntry,
    BlockHeader,
    ElectionProof,
    HeadChange,
    PoStProof,
    TipSet,
)
from lotus_client.codec.basic import (
    address_from_json,
    amount_from_json,
    bytes_to_json,
    cid_from_json,
    cid_to_json,
    signature_from_json,
    signature_to_json,
    tipset_key_from_json,
    tipset_key_to_json,
)
from lotus_client.codec.reading import at
from lotus_client.errors import LotusDecodeError
from lotus_client.types import Epoch

__all__ = [
    "block_header_from_json",
    "block_header_to_json",
    "head_change_from_json",
    "head_change_to_json",
    "tipset_from_json",
    "tipset_to_json",
]

_MAX_EPOCH = (1 << 63) - 1
_CHANGE_TYPES = ("current", "revert", "apply")


def block_header_from_json(raw: Any, path: str = "$") -> BlockHeader:
    """The header; its `cid` is computed from its own bytes, not taken from the node."""
    here = at(raw, path)
    return BlockHeader(
        miner=address_from_json(here.field("Miner")),
        ticket=here.field("Ticket").optional(lambda ticket: ticket.field("VRFProof").data()),
        election_proof=here.field("ElectionProof").optional(
            lambda proof: ElectionProof(
                proof.field("WinCount").integer(-(1 << 63), (1 << 63) - 1),
                proof.field("VRFProof").data(),
            )
        ),
        beacon_entries=tuple(
            BeaconEntry(entry.field("Round").integer(), entry.field("Data").data())
            for entry in here.field("BeaconEntries").items()
        ),
        win_post_proof=tuple(
            PoStProof(
                proof.field("PoStProof").integer(-(1 << 63), (1 << 63) - 1),
                proof.field("ProofBytes").data(),
            )
            for proof in here.field("WinPoStProof").items()
        ),
        parents=tipset_key_from_json(here.field("Parents")),
        parent_weight=here.field("ParentWeight").big(),
        height=Epoch(here.field("Height").integer(0, _MAX_EPOCH)),
        parent_state_root=cid_from_json(here.field("ParentStateRoot")),
        parent_message_receipts=cid_from_json(here.field("ParentMessageReceipts")),
        messages=cid_from_json(here.field("Messages")),
        bls_aggregate=here.field("BLSAggregate").optional(signature_from_json),
        timestamp=here.field("Timestamp").integer(),
        block_sig=here.field("BlockSig").optional(signature_from_json),
        fork_signaling=here.field("ForkSignaling").integer(),
        parent_base_fee=amount_from_json(here.field("ParentBaseFee")),
    )


def block_header_to_json(header: BlockHeader, prefix: NetworkPrefix) -> dict[str, Any]:
    """The header as Lotus prints it."""
    proof = header.election_proof
    return {
        "Miner": header.miner.to_text(prefix),
        "Ticket": None if header.ticket is None else {"VRFProof": bytes_to_json(header.ticket)},
        "ElectionProof": None
        if proof is None
        else {"WinCount": proof.win_count, "VRFProof": bytes_to_json(proof.vrf_proof)},
        "BeaconEntries": [
            {"Round": entry.round, "Data": bytes_to_json(entry.data)}
            for entry in header.beacon_entries
        ],
        "WinPoStProof": [
            {"PoStProof": post.proof_type, "ProofBytes": base64.b64encode(post.proof).decode()}
            for post in header.win_post_proof
        ],
        "Parents": tipset_key_to_json(header.parents),
        "ParentWeight": str(header.parent_weight),
        "Height": header.height,
        "ParentStateRoot": cid_to_json(header.parent_state_root),
        "ParentMessageReceipts": cid_to_json(header.parent_message_receipts),
        "Messages": cid_to_json(header.messages),
        "BLSAggregate": header.bls_aggregate and signature_to_json(header.bls_aggregate),
        "Timestamp": header.timestamp,
        "BlockSig": header.block_sig and signature_to_json(header.block_sig),
        "ForkSignaling": header.fork_signaling,
        "ParentBaseFee": str(header.parent_base_fee),
    }


def tipset_from_json(raw: Any, path: str = "$") -> TipSet:
    """The tipset, checked: every header hashes to the CID given for it, all share height and parents.

    The check keeps a broken proxy or a node with another header format from becoming our evidence.
    """
    here = at(raw, path)
    key = tipset_key_from_json(here.field("Cids"))
    blocks = tuple(block_header_from_json(item) for item in here.field("Blocks").items())
    height = here.field("Height")
    tipset = TipSet(key, blocks, Epoch(height.integer(0, _MAX_EPOCH)))
    if not blocks or len(blocks) != len(key.cids):
        raise LotusDecodeError(
            here.path, f"a tipset of {len(blocks)} blocks and {len(key.cids)} CIDs"
        )
    for index, (cid, block) in enumerate(zip(key.cids, blocks, strict=True)):
        where = f"{here.path}.Blocks[{index}]"
        if block.cid != cid:
            raise LotusDecodeError(where, f"the header hashes to {block.cid}, the node says {cid}")
        if block.height != tipset.height or block.parents != blocks[0].parents:
            raise LotusDecodeError(where, "the block has another height or other parents")
    return tipset


def tipset_to_json(tipset: TipSet, prefix: NetworkPrefix) -> dict[str, Any]:
    """The tipset as Lotus prints it."""
    return {
        "Cids": tipset_key_to_json(tipset.key),
        "Blocks": [block_header_to_json(block, prefix) for block in tipset.blocks],
        "Height": tipset.height,
    }


def head_change_from_json(raw: Any, path: str = "$") -> HeadChange:
    """One head change."""
    here = at(raw, path)
    kind = here.field("Type")
    if kind.text() not in _CHANGE_TYPES:
        kind.fail("current, revert or apply")
    return HeadChange(kind.text(), tipset_from_json(here.field("Val")))


def head_change_to_json(change: HeadChange, prefix: NetworkPrefix) -> dict[str, Any]:
    """One head change as Lotus prints it."""
    return {"Type": change.type, "Val": tipset_to_json(change.tipset, prefix)}
