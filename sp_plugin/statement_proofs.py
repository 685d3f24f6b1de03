"""Inclusion proofs beside a statement: that each sub-piece it names lies, at that place, in the piece that earned. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from deals.aggregates import decode_proof
from deals.data_segment import ProofError
from deals.piece_cid import encode_piece_cid_v1, root_of
from fil_plus.pieces import SubPiece
from lotus_client.cid import Cid
from lotus_client.types import PaddedPieceSize
from sp_plugin.audit.statement import Finding
from sp_plugin.earnings.registry_json import sub_piece_from_json

__all__ = ["GivenProof", "proof_findings"]


@dataclass(frozen=True, slots=True)
class GivenProof:
    """What `pieces proof make` wrote: that a piece of that size lies in an aggregate. Nothing of it is believed before `place`."""

    piece_cid: Cid
    padded_size: int
    aggregate: Cid
    aggregate_size: int
    raw: bytes

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Self:
        """Its fields.

        Raises:
            KeyError, TypeError, ValueError: one is missing or malformed.
        """
        piece, aggregate = (Cid.parse(str(given[name])) for name in ("piece_cid", "aggregate"))
        return cls(
            encode_piece_cid_v1(root_of(piece)),
            int(given["padded_size"]),
            encode_piece_cid_v1(root_of(aggregate)),
            int(given["aggregate_padded_size"]),
            bytes.fromhex(str(given["proof_cbor"])),
        )

    def place(self) -> SubPiece:
        """Where the piece lies in the aggregate named.

        Raises:
            ProofError: the proof does not hold, or is of another aggregate.
        """
        proof = decode_proof(self.raw)
        root, total = proof.aggregate_of(root_of(self.piece_cid), self.padded_size)
        if (encode_piece_cid_v1(root), total) != (self.aggregate, self.aggregate_size):
            raise ProofError(f"it leads to {encode_piece_cid_v1(root)} of {total} padded bytes")
        size = PaddedPieceSize(self.padded_size)
        return SubPiece(proof.subtree.index * size, size, self.piece_cid)


def proof_findings(
    statement: Mapping[str, Any], proofs: Sequence[Mapping[str, Any]]
) -> tuple[Finding, ...]:
    """One finding for each sub-piece of the statement's lines: its proof is among `proofs` and holds, or why not.

    Malformed statements and proofs give failed findings, no exceptions.
    """
    held: dict[tuple[Cid, SubPiece], None] = {}
    findings = []
    for number, given in enumerate(proofs, 1):
        try:
            proof = GivenProof.parse(given)
            held[proof.aggregate, proof.place()] = None
        except (KeyError, TypeError, ValueError) as error:
            findings.append(
                Finding(f"proof {number}", ok=False, reason=f"it does not hold: {error!r}")
            )
    try:
        wanted = dict.fromkeys(_named(statement))
    except (KeyError, TypeError, ValueError) as error:
        return (*findings, Finding("sub-pieces", ok=False, reason=f"not a statement: {error!r}"))
    for aggregate, sub_piece in wanted:
        ok = (aggregate, sub_piece) in held
        reason = f"{'proven to lie' if ok else 'no proof given that it lies'} there in {aggregate}"
        findings.append(Finding(f"sub-piece {sub_piece.label}", ok=ok, reason=reason))
    return tuple(findings)


def _named(statement: Mapping[str, Any]) -> Iterable[tuple[Cid, SubPiece]]:
    for period in statement["periods"]:
        for line in period["lines"]:
            sub_piece = sub_piece_from_json(line)
            if sub_piece is not None:
                yield encode_piece_cid_v1(root_of(Cid.parse(line["piece_cid"]))), sub_piece
