"""Making the blocks of one epoch: who won, what the headers say, how heavy the chain is.

Tickets, election proofs, beacon entries and winning proofs are hashes of the seed and the parent, not VRFs, drand or
SNARKs: nothing verifies them on a devnet. Block signatures are real, by the worker's key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from devstack.chain import gas
from devstack.chain.amt import array_root, message_meta
from devstack.chain.config import NetworkConfig
from devstack.chain.election import draw
from devstack.chain.randomness import beacon_entries, draw_from_digest
from lotus_client.address import Address
from lotus_client.bls import aggregate_bls
from lotus_client.chain import BlockHeader, ElectionProof, PoStProof, TipSet, TipSetKey
from lotus_client.cid import Cid
from lotus_client.crypto import SignatureType, SigningKey
from lotus_client.messages import SignedMessage
from lotus_client.types import AttoFil, Epoch

__all__ = [
    "ParentFacts",
    "Winner",
    "block",
    "block_order",
    "draw_randomness",
    "genesis_block",
    "tipset_of",
    "weight",
]

_PROOF_BYTES: Final = 192


@dataclass(frozen=True, slots=True)
class Winner:
    """A miner that won an epoch."""

    miner: Address
    wins: int
    key: SigningKey


@dataclass(frozen=True, slots=True)
class ParentFacts:
    """What all blocks of an epoch say of their parent."""

    tipset: TipSet
    weight: int
    state_root: Cid
    receipts_root: Cid


def genesis_block(config: NetworkConfig, state_root: Cid) -> BlockHeader:
    """The only block of epoch 0, which carries that state and no messages."""
    return BlockHeader(
        miner=Address.of_id(0),
        ticket=draw("genesis ticket", config.seed),
        election_proof=None,
        beacon_entries=(),
        win_post_proof=(),
        parents=TipSetKey(),
        parent_weight=0,
        height=Epoch(0),
        parent_state_root=state_root,
        parent_message_receipts=array_root([]),
        messages=message_meta([], []),
        bls_aggregate=None,
        timestamp=config.genesis_timestamp,
        block_sig=None,
        fork_signaling=0,
        parent_base_fee=AttoFil(gas.BASE_FEE),
    )


def weight(parent_weight: int, total_qap: int, wins: int) -> int:
    """A chain's weight with one more tipset (Lotus `chain/consensus/filcns/weight.go`)."""
    log2 = max(total_qap.bit_length() - 1, 0)
    return parent_weight + (log2 << 8) + ((log2 << 8) * wins) // (5 * 2)


def block(
    config: NetworkConfig,
    parent: ParentFacts,
    epoch: int,
    winner: Winner,
    *,
    messages: Sequence[SignedMessage],
    salt: int,
) -> BlockHeader:
    """A signed header of the winner's block; the messages are in `block_order`."""
    bls, others = split_bls(messages)
    base = parent.tipset.blocks[0].ticket or b""
    who = (config.seed, base, epoch, winner.miner.to_bytes(), salt)
    unsigned = BlockHeader(
        miner=winner.miner,
        ticket=draw("ticket", *who, length=96),
        election_proof=ElectionProof(winner.wins, draw("election", *who, length=96)),
        beacon_entries=beacon_entries(config.seed, parent.tipset.height, epoch),
        win_post_proof=(
            PoStProof(config.window_post_proof - 10, draw("proof", *who, length=_PROOF_BYTES)),
        ),
        parents=parent.tipset.key,
        parent_weight=parent.weight,
        height=Epoch(epoch),
        parent_state_root=parent.state_root,
        parent_message_receipts=parent.receipts_root,
        messages=message_meta([one.cid for one in bls], [one.cid for one in others]),
        bls_aggregate=aggregate_bls([one.signature for one in bls]),
        timestamp=config.genesis_timestamp + epoch * config.block_delay_seconds,
        block_sig=None,
        fork_signaling=0,
        parent_base_fee=AttoFil(gas.BASE_FEE),
    )
    signature = winner.key.sign(unsigned.to_cbor(signed=False))
    return replace(unsigned, block_sig=signature)


def split_bls(
    messages: Iterable[SignedMessage],
) -> tuple[list[SignedMessage], list[SignedMessage]]:
    """The BLS messages, and the others, each in their order."""
    bls: list[SignedMessage] = []
    others: list[SignedMessage] = []
    for one in messages:
        (bls if one.signature.type is SignatureType.BLS else others).append(one)
    return bls, others


def block_order(messages: Sequence[SignedMessage]) -> list[SignedMessage]:
    """The messages as blocks list and execute them: BLS ones first, otherwise in their order."""
    bls, others = split_bls(messages)
    return bls + others


def tipset_of(blocks: Sequence[BlockHeader]) -> TipSet:
    """The tipset of blocks with the same parents, in ticket order (Lotus `chain/types/tipset.go`)."""
    named = [(header.cid, header) for header in blocks]
    named.sort(
        key=lambda pair: (
            hashlib.blake2b(pair[1].ticket or b"", digest_size=32).digest(),
            pair[0].raw,
        )
    )
    return TipSet(
        TipSetKey(tuple(cid for cid, _ in named)),
        tuple(header for _, header in named),
        named[0][1].height,
    )


def draw_randomness(ticket: bytes, domain: int, epoch: int, entropy: bytes) -> bytes:
    """32 bytes of chain randomness from a ticket (Lotus `chain/rand/rand.go`)."""
    digest = hashlib.blake2b(ticket, digest_size=32).digest()
    return draw_from_digest(digest, domain, epoch, entropy)
