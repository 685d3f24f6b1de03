"""Run records that carry the sidecar's signature: what ran, over what, what came out, by which runtime and at what cost.

What is signed is the RFC 8785 canonical JSON of the record without its `signature`, in the FRC-0102 envelope, by a secp256k1
key of the sidecar's own (`record.key` in its data directory; it holds no money). The signer is the key's f1 address, so a
Filecoin wallet can check a record as well. A signature says who made the record, not that it is true.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import rfc8785

from lotus_client.address import Address, AddressError
from lotus_client.cid import Cid
from lotus_client.crypto import Secp256k1Key, Signature, SignatureError
from lotus_client.signed_text import sign_text, verify_text
from sp_plugin.errors import BadInput
from sp_plugin.executors.base import ExecutionOutcome
from sp_plugin.inputs.base import Materialised
from sp_plugin.jobs.outputs import PackedResults
from sp_plugin.store.jobs import Lease

__all__ = ["RECORD_SCHEMA", "check_record", "run_record", "sign_record"]

RECORD_SCHEMA: Final = "sp-plugin/run-record/1"


def sign_record(record: Mapping[str, Any], key: Secp256k1Key) -> dict[str, Any]:
    """The record with `signature`: {`signer`, `value` (hex, type byte first)}.

    Raises:
        ValueError: a number in it that canonical JSON does not have.
    """
    unsigned = {name: value for name, value in record.items() if name != "signature"}
    signature = sign_text(key, rfc8785.dumps(unsigned))
    return unsigned | {
        "signature": {"signer": str(key.address), "value": signature.to_bytes().hex()}
    }


def check_record(record: Mapping[str, Any], signer: Address | None = None) -> Address:
    """Who signed the record; `signer` is who must have.

    Raises:
        BadInput: it is not signed, was changed since, or another key signed it.
    """
    stated = record.get("signature")
    if not isinstance(stated, Mapping):
        raise BadInput("the record is not signed")
    unsigned = {name: value for name, value in record.items() if name != "signature"}
    try:
        found = Address.parse(str(stated["signer"]))
        signature = Signature.from_bytes(bytes.fromhex(str(stated["value"])))
        verify_text(signature, found, rfc8785.dumps(unsigned))
    except SignatureError as error:
        raise BadInput(f"the record is not what was signed: {error}") from error
    except (KeyError, ValueError, AddressError) as error:
        raise BadInput(f"the record's signature cannot be read: {error}") from error
    if signer is not None and found != signer:
        raise BadInput(f"the record is signed by {found}, not by {signer}")
    return found


def run_record(
    lease: Lease,
    bundle: Mapping[str, Any],
    inputs: Sequence[Materialised],
    outcome: ExecutionOutcome,
    packed: PackedResults | None,
) -> dict[str, Any]:
    """What ran and what came of it; its end and its times are the caller's to add."""
    usage = outcome.usage
    return {
        "schema": RECORD_SCHEMA,
        "job_id": lease.job.id,
        "execution_id": lease.execution_id,
        "attempt": lease.attempt,
        "bundle_digest": lease.job.bundle_digest,
        "executor": outcome.executor,
        "executor_version": outcome.executor_version,
        "exit_code": outcome.exit_code,
        "warnings": list(outcome.warnings),
        "inputs": [
            _input_record(known, volume)
            for known, volume in zip(bundle["inputs"], inputs, strict=True)
        ],
        "output": None
        if packed is None
        else {
            "root_cid": str(packed.root),
            "payload_bytes": packed.payload_bytes,
            "car_bytes": packed.car_bytes,
            "blocks": packed.blocks,
        },
        "usage": {
            "wall_seconds": round(usage.wall_seconds, 3),
            "cpu_seconds": usage.cpu_seconds,
            "memory_bytes": usage.memory_bytes,
            "fuel": usage.fuel,
            "output_bytes": usage.output_bytes,
            "output_files": usage.output_files,
        },
    }


def _input_record(known: Mapping[str, Any], volume: Materialised) -> dict[str, Any]:
    """An input as approved, with what was really read; the blocks as one digest over their sorted CIDs."""
    is_download = known["source"] == "urldownload"
    return {
        **known,
        **({"sha256": Cid.parse(known["cid"]).digest.hex()} if is_download else {}),
        "piece_key": volume.piece_key,
        "payload_bytes": volume.payload_bytes,
        "fetched_from": volume.fetched_from,
        "blocks_read": len(volume.blocks_read),
        "blocks_sha256": _digest_of(volume.blocks_read) if volume.blocks_read else None,
    }


def _digest_of(cids: Sequence[Cid]) -> str:
    digest = hashlib.sha256()
    for cid in sorted(set(cids)):
        digest.update(cid.raw)
    return digest.hexdigest()
