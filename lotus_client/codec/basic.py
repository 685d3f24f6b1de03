"""CIDs, tipset keys, addresses, amounts, bitfields and signatures as JSON."""

from __future__ import annotations

import base64
from typing import Any

from lotus_client.address import Address, NetworkPrefix
from lotus_client.bitfield import BitField
from lotus_client.chain import TipSetKey
from lotus_client.cid import Cid
from lotus_client.codec.reading import At, at
from lotus_client.crypto import Signature, SignatureType
from lotus_client.errors import LotusDecodeError
from lotus_client.types import ActorId, AttoFil

__all__ = [
    "actor_id_from_json",
    "address_from_json",
    "address_to_json",
    "amount_from_json",
    "bitfield_from_json",
    "bitfield_to_json",
    "bytes_to_json",
    "cid_from_json",
    "cid_to_json",
    "optional_address_from_json",
    "signature_from_json",
    "signature_to_json",
    "tipset_key_from_json",
    "tipset_key_to_json",
]

_UNDEFINED_ADDRESS = "<empty>"  # go-address prints its undefined address so
_MAX_ACTOR_ID = (1 << 63) - 1


def cid_from_json(raw: Any, path: str = "$") -> Cid:
    """The CID of `{"/": "bafy…"}`."""
    return at(raw, path).field("/").parsed(Cid.parse, "a CID")


def cid_to_json(cid: Cid) -> dict[str, str]:
    """`{"/": "bafy…"}`."""
    return {"/": str(cid)}


def tipset_key_from_json(raw: Any, path: str = "$") -> TipSetKey:
    """The key of a list of CIDs; `[]` and null are the empty key, which means the head in requests."""
    return TipSetKey(tuple(cid_from_json(item) for item in at(raw, path).items()))


def tipset_key_to_json(key: TipSetKey) -> list[dict[str, str]]:
    """The list of CIDs."""
    return [cid_to_json(cid) for cid in key]


def address_from_json(raw: Any, path: str = "$") -> Address:
    """The address of its text with either network prefix."""
    return at(raw, path).parsed(Address.parse, "an address")


def optional_address_from_json(raw: Any, path: str = "$") -> Address | None:
    """The address, or None for null, the empty text and `<empty>` (Go's undefined address)."""
    here = at(raw, path)
    if here.value in (None, "", _UNDEFINED_ADDRESS):
        return None
    return address_from_json(here)


def address_to_json(address: Address | None, prefix: NetworkPrefix) -> str:
    """The address' text; `<empty>` for None."""
    return _UNDEFINED_ADDRESS if address is None else address.to_text(prefix)


def actor_id_from_json(raw: Any, path: str = "$") -> ActorId:
    """An actor id printed as a bare number."""
    return ActorId(at(raw, path).integer(0, _MAX_ACTOR_ID))


def amount_from_json(raw: Any, path: str = "$") -> AttoFil:
    """attoFIL of a decimal text."""
    return AttoFil(at(raw, path).big())


def bytes_to_json(data: bytes) -> str | None:
    """Standard base64; null for no bytes, as Go prints a nil list."""
    return base64.b64encode(data).decode() if data else None


def bitfield_from_json(raw: Any, path: str = "$") -> BitField:
    """The set of a list of run lengths that starts with unset; `[0]`, `[]` and null are empty."""
    here = at(raw, path)
    try:
        return BitField.from_run_lengths([run.integer() for run in here.items()])
    except ValueError as error:
        raise LotusDecodeError(here.path, f"expected run lengths: {error}") from error


def bitfield_to_json(bitfield: BitField) -> list[int]:
    """The run lengths, starting with unset."""
    return bitfield.run_lengths()


def signature_from_json(raw: Any, path: str = "$") -> Signature:
    """The signature of `{"Type": 1, "Data": "base64"}`."""
    here = at(raw, path)
    kind = here.field("Type")
    try:
        signature_type = SignatureType(kind.integer())
    except ValueError:
        kind.fail("signature type 1, 2 or 3")
    return Signature(signature_type, here.field("Data").data())


def signature_to_json(signature: Signature) -> dict[str, Any]:
    """`{"Type": 1, "Data": "base64"}`."""
    return {"Type": int(signature.type), "Data": base64.b64encode(signature.data).decode()}


def optional_cid(here: At) -> Cid | None:
    """The CID, or None for null."""
    return here.optional(cid_from_json)
