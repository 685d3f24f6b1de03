"""libp2p peer ids of secp256k1 keys. Source: libp2p specs `peer-ids/peer-ids.md`."""

from __future__ import annotations

from typing import Final

import coincurve

__all__ = ["fresh_peer_id", "peer_id_of"]

_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
# protobuf of a public key: field 1 (type) is 2 for secp256k1, field 2 the compressed key
_KEY_HEADER: Final = bytes((0x08, 0x02, 0x12, 33))
_IDENTITY: Final = 0x00  # multihash of the bytes themselves, for keys up to 42 bytes


def fresh_peer_id() -> str:
    """The peer id of a new random key, which is not kept: nobody can dial a node without libp2p."""
    return peer_id_of(coincurve.PrivateKey().public_key.format(compressed=True))


def peer_id_of(public_key: bytes) -> str:
    """The base58 text (`16Uiu2HA…`) of a compressed public key (33 bytes)."""
    encoded = _KEY_HEADER + public_key
    return _base58(bytes((_IDENTITY, len(encoded))) + encoded)


def _base58(data: bytes) -> str:
    number, digits = int.from_bytes(data, "big"), ""
    while number:
        number, rest = divmod(number, 58)
        digits = _ALPHABET[rest] + digits
    zeros = len(data) - len(data.lstrip(b"\x00"))
    return _ALPHABET[0] * zeros + digits
