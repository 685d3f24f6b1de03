"""Column types and byte forms of chain records: exact, and readable again after years."""

from __future__ import annotations

from typing import Any

import libipld
from sqlalchemy import Dialect, Text, TypeDecorator

from lotus_client import cbor
from lotus_client.address import Address
from lotus_client.chain import TipSetKey
from lotus_client.cid import Cid
from lotus_client.state import EventEntry, SectorOnChainInfo
from lotus_client.types import AttoFil, Epoch, SectorNumber

__all__ = [
    "TipSetKeyType",
    "decode_entries",
    "decode_sector",
    "encode_entries",
    "encode_sector",
    "parse_tipset_key",
]


class TipSetKeyType(TypeDecorator[TipSetKey]):
    """A tipset key as its CIDs joined by commas, in block order."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: TipSetKey | None, dialect: Dialect) -> str | None:
        return None if value is None else ",".join(map(str, value))

    def process_result_value(self, value: Any, dialect: Dialect) -> TipSetKey | None:
        return None if value is None else parse_tipset_key(value)


def parse_tipset_key(text: str) -> TipSetKey:
    """The key whose CIDs, joined by commas, are `text`."""
    return TipSetKey(tuple(Cid.parse(part) for part in text.split(",") if part))


def encode_entries(emitter: Address, entries: tuple[EventEntry, ...]) -> bytes:
    """Emitter and entries of an event as DAG-CBOR `[emitter, [[flags, key, codec, value]…]]`."""
    # libipld, since there may be thousands in one tipset; its bytes are those of `cbor.encode`
    encoded: bytes = libipld.encode_dag_cbor(
        [
            emitter.to_bytes(),
            [[entry.flags, entry.key, entry.codec, entry.value] for entry in entries],
        ]
    )
    return encoded


def decode_entries(raw: bytes) -> tuple[Address, tuple[EventEntry, ...]]:
    """The inverse of `encode_entries`."""
    value: Any = libipld.decode_dag_cbor(raw)
    emitter, entries = value
    return Address.from_bytes(emitter), tuple(EventEntry(*entry) for entry in entries)


def encode_sector(info: SectorOnChainInfo) -> bytes:
    """A sector's record as a DAG-CBOR list in the order of `SectorOnChainInfo`'s fields."""
    return cbor.encode(
        [
            info.number,
            info.seal_proof,
            info.sealed_cid,
            info.activation,
            info.expiration,
            cbor.encode_bigint(info.deal_weight),
            cbor.encode_bigint(info.verified_deal_weight),
            cbor.encode_bigint(info.initial_pledge.value),
            info.power_base_epoch,
            info.sector_key_cid,
            info.flags,
            cbor.encode_bigint(info.daily_fee.value),
        ]
    )


def decode_sector(raw: bytes) -> SectorOnChainInfo:
    """The inverse of `encode_sector`."""
    value: Any = cbor.decode(raw)
    return SectorOnChainInfo(
        number=SectorNumber(value[0]),
        seal_proof=value[1],
        sealed_cid=value[2],
        activation=Epoch(value[3]),
        expiration=Epoch(value[4]),
        deal_weight=cbor.decode_bigint(value[5]),
        verified_deal_weight=cbor.decode_bigint(value[6]),
        initial_pledge=AttoFil(cbor.decode_bigint(value[7])),
        power_base_epoch=Epoch(value[8]),
        sector_key_cid=value[9],
        flags=value[10],
        daily_fee=AttoFil(cbor.decode_bigint(value[11])),
    )
