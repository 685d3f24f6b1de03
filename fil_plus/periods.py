"""Many wins as one period: sums per (payee, job), and a Merkle root over every part behind them.

What is stored is small (a row per period, payee and job); the root commits to all per-win parts, so that any line of a
statement can be expanded down to a block and a piece and checked. The tree is that of RFC 9162 §2.1 with SHA-256; a leaf
is the DAG-CBOR of one part.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from fil_plus.win_values import Part, PartSource, WinSplit
from lotus_client import cbor
from lotus_client.address import Address
from lotus_client.types import EPOCHS_PER_DAY, AttoFil, Epoch

__all__ = [
    "PERIOD_EPOCHS",
    "MerkleTree",
    "PeriodRecord",
    "PeriodSum",
    "inclusion_proof",
    "merkle_root",
    "part_leaf",
    "period_leaves",
    "period_of",
    "summarise_period",
    "verify_inclusion",
]

PERIOD_EPOCHS: Final = EPOCHS_PER_DAY


@dataclass(frozen=True, slots=True)
class PeriodSum:
    """What one payee's job got in a period, by source."""

    payee: Address
    job: str
    produced: AttoFil
    used: AttoFil

    @property
    def amount(self) -> AttoFil:
        """Both sources together."""
        return self.produced + self.used


@dataclass(frozen=True, slots=True)
class PeriodRecord:
    """A whole period: `shareable == sum of the sums + provider`, and the root over `leaves` parts."""

    period: int
    sums: tuple[PeriodSum, ...]
    shareable: AttoFil
    provider: AttoFil
    root: bytes
    leaves: int


def period_of(epoch: Epoch) -> int:
    """The number of the period an epoch belongs to: epoch // 2880."""
    return epoch // PERIOD_EPOCHS


def summarise_period(period: int, splits: Iterable[WinSplit]) -> PeriodRecord:
    """The record of `period` from the splits of its wins, in any order.

    Raises:
        ValueError: a win of another period, or the same win twice.
    """
    wins = sorted(splits, key=lambda split: (split.epoch, split.win))
    for split in wins:
        if period_of(split.epoch) != period:
            raise ValueError(
                f"win {split.win} at epoch {split.epoch} is of period {period_of(split.epoch)}"
            )
    if len({split.win for split in wins}) != len(wins):
        raise ValueError(f"a win is given twice for period {period}")
    sums: dict[tuple[Address, str], dict[PartSource, int]] = defaultdict(lambda: defaultdict(int))
    for split in wins:
        for part in split.parts:
            sums[part.payee, part.job][part.source] += part.amount.value
    leaves = period_leaves(wins)
    return PeriodRecord(
        period=period,
        sums=tuple(
            PeriodSum(
                payee,
                job,
                AttoFil(amounts[PartSource.PRODUCED]),
                AttoFil(amounts[PartSource.USED]),
            )
            for (payee, job), amounts in sorted(sums.items())
        ),
        shareable=AttoFil(sum(split.shareable.value for split in wins)),
        provider=AttoFil(sum(split.provider.value for split in wins)),
        root=merkle_root(leaves),
        leaves=len(leaves),
    )


def period_leaves(splits: Iterable[WinSplit]) -> list[bytes]:
    """The leaves of a period in the order of the tree: by epoch, win, payee, job, piece, source and place in the piece."""
    return [
        part_leaf(split.win, split.epoch, part)
        for split in sorted(splits, key=lambda split: (split.epoch, split.win))
        for part in sorted(split.parts, key=lambda part: part.order)
    ]


def part_leaf(win: str, epoch: Epoch, part: Part) -> bytes:
    """The bytes that the tree commits to for one part: DAG-CBOR of its fields, the amount as decimal text.

    A sub-piece's label is a ninth field; a whole piece's leaf has eight.
    """
    fields: list[cbor.CborValue] = [
        win,
        epoch,
        part.payee.to_bytes(),
        part.job,
        part.piece_key,
        part.source.value,
        part.basis.value,
        str(part.amount),
    ]
    if part.sub_piece is not None:
        fields.append(part.sub_piece.label)
    return cbor.encode(fields)


class MerkleTree:
    """The RFC 9162 tree over some leaves, hashed once for all proofs."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        level = [_leaf_hash(leaf) for leaf in leaves]
        self._levels = [level]
        while len(level) > 1:
            level = _next_level(level)
            self._levels.append(level)

    @property
    def root(self) -> bytes:
        """The tree head; SHA-256 of nothing for no leaves."""
        top = self._levels[-1]
        return top[0] if top else hashlib.sha256(b"").digest()

    def proof(self, index: int) -> tuple[bytes, ...]:
        """The sibling hashes from the leaf at `index` up to the root.

        Raises:
            IndexError: there is no such leaf.
        """
        if not 0 <= index < len(self._levels[0]):
            raise IndexError(f"leaf {index} of {len(self._levels[0])}")
        siblings = (
            (level, (index >> height) ^ 1) for height, level in enumerate(self._levels[:-1])
        )
        return tuple(level[sibling] for level, sibling in siblings if sibling < len(level))


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """The head of the RFC 9162 tree over `leaves`."""
    return MerkleTree(leaves).root


def inclusion_proof(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """The sibling hashes from the leaf at `index` up to the root; IndexError without such a leaf."""
    return MerkleTree(leaves).proof(index)


def verify_inclusion(
    leaf: bytes, index: int, leaves: int, proof: Sequence[bytes], root: bytes
) -> bool:
    """Whether `leaf` is the one at `index` of a tree of `leaves` leaves with this root."""
    if not 0 <= index < leaves:
        return False
    node, last, used = _leaf_hash(leaf), leaves - 1, 0
    while last:
        if index % 2 or index < last:
            if used == len(proof):
                return False
            sibling = proof[used]
            used += 1
            node = _node_hash(sibling, node) if index % 2 else _node_hash(node, sibling)
        index, last = index // 2, last // 2
    return used == len(proof) and node == root


def _next_level(level: list[bytes]) -> list[bytes]:
    # an odd last node moves up unchanged, which is RFC 9162's split at the largest power of two
    pairs = [
        _node_hash(level[position], level[position + 1]) for position in range(0, len(level) - 1, 2)
    ]
    return pairs + level[len(level) - len(level) % 2 :]


def _leaf_hash(leaf: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + leaf).digest()


def _node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()
