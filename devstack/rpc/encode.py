"""Values to the JSON that Lotus prints: field names, nulls for empty lists, decimal strings for big integers.

What the client also encodes comes from its codec; the rest is here. Addresses print with this network's `t`.
Source: go-state-types and Lotus `MarshalJSON` methods, `chain/types`, `api/types.go`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from lotus_client.address import Address
from lotus_client.bitfield import BitField
from lotus_client.chain import BlockHeader, HeadChange, TipSet
from lotus_client.codec.basic import cid_to_json as cid_json
from lotus_client.codec.basic import signature_to_json as signature_json
from lotus_client.codec.basic import tipset_key_to_json as tipset_key_json
from lotus_client.codec.chain import block_header_to_json, head_change_to_json, tipset_to_json
from lotus_client.codec.messages import (
    chain_message_to_json,
    message_to_json,
    signed_message_to_json,
)
from lotus_client.codec.messages import message_lookup_to_json as lookup_json
from lotus_client.codec.messages import receipt_to_json as receipt_json
from lotus_client.messages import Message, SignedMessage
from lotus_client.state import (
    ActorEvent,
    ActorState,
    Allocation,
    Claim,
    EventEntry,
    PowerPair,
    SectorOnChainInfo,
)
from lotus_client.types import AttoFil

__all__ = [
    "actor_event_json",
    "actor_json",
    "address_json",
    "allocation_json",
    "amount_json",
    "bitfield_json",
    "bytes_json",
    "chain_message_json",
    "cid_json",
    "claim_json",
    "event_entry_json",
    "head_change_json",
    "header_json",
    "list_json",
    "lookup_json",
    "map_json",
    "message_json",
    "power_json",
    "receipt_json",
    "sector_json",
    "signature_json",
    "signed_message_json",
    "tipset_json",
    "tipset_key_json",
]

T = TypeVar("T")
Json = dict[str, Any]


def header_json(header: BlockHeader) -> Json:
    """A block header."""
    return block_header_to_json(header, "t")


def tipset_json(tipset: TipSet) -> Json:
    """A tipset with its blocks."""
    return tipset_to_json(tipset, "t")


def head_change_json(change: HeadChange) -> Json:
    """One step of the head."""
    return head_change_to_json(change, "t")


def message_json(message: Message) -> Json:
    """An unsigned message with its own CID."""
    return message_to_json(message, "t")


def signed_message_json(signed: SignedMessage) -> Json:
    """A signed message with the CID that the chain knows it by."""
    return signed_message_to_json(signed, "t")


def chain_message_json(signed: SignedMessage) -> Json:
    """A message in a tipset: unsigned, beside the CID that it has there."""
    return chain_message_to_json(signed.cid, signed.message, "t")


def bitfield_json(numbers: Iterable[int]) -> list[int]:
    """Run lengths, unset first: `[0]` for none, `[5, 1]` for {5}."""
    return BitField.from_ints(numbers).run_lengths()


def bytes_json(data: bytes | None) -> str | None:
    """Base64; None for nil bytes."""
    return None if data is None else base64.b64encode(data).decode()


def amount_json(value: AttoFil | int) -> str:
    """A decimal string."""
    return str(value)


def address_json(address: Address | None) -> str:
    """The address with this network's `t`; the undefined one prints `<empty>`."""
    return "<empty>" if address is None else address.to_text("t")


def list_json(items: Iterable[T], encode: Callable[[T], Any]) -> list[Any] | None:
    """A list, or `null` for an empty one: Go's nil slice."""
    return [encode(item) for item in items] or None


def map_json(items: Mapping[Any, T], encode: Callable[[T], Any]) -> Json:
    """A map with its numbers as text keys; an empty one is `{}` (Lotus makes these maps before filling them)."""
    return {str(key): encode(value) for key, value in items.items()}


def event_entry_json(entry: EventEntry) -> Json:
    """One entry of an event."""
    return {
        "Flags": entry.flags,
        "Key": entry.key,
        "Codec": entry.codec,
        "Value": bytes_json(entry.value),
    }


def actor_event_json(event: ActorEvent) -> Json:
    """An event as `GetActorEventsRaw` reports it (entry keys capitalised, the others not)."""
    return {
        "entries": [event_entry_json(entry) for entry in event.entries],
        "emitter": address_json(event.emitter),
        "reverted": event.reverted,
        "height": event.height,
        "tipsetKey": tipset_key_json(event.tipset),
        "msgCid": cid_json(event.message),
    }


def actor_json(actor: ActorState) -> Json:
    """An actor's record in the state tree."""
    delegated = actor.delegated_address
    return {
        "Code": cid_json(actor.code),
        "Head": cid_json(actor.head),
        "Nonce": actor.nonce,
        "Balance": amount_json(actor.balance),
        "DelegatedAddress": None if delegated is None else address_json(delegated),
    }


def allocation_json(allocation: Allocation) -> Json:
    """An allocation; client and provider are bare ids."""
    return {
        "Client": allocation.client,
        "Provider": allocation.provider,
        "Data": cid_json(allocation.data),
        "Size": allocation.size,
        "TermMin": allocation.term_min,
        "TermMax": allocation.term_max,
        "Expiration": allocation.expiration,
    }


def claim_json(claim: Claim) -> Json:
    """A claim; client and provider are bare ids."""
    return {
        "Provider": claim.provider,
        "Client": claim.client,
        "Data": cid_json(claim.data),
        "Size": claim.size,
        "TermMin": claim.term_min,
        "TermMax": claim.term_max,
        "TermStart": claim.term_start,
        "Sector": claim.sector,
    }


def sector_json(sector: SectorOnChainInfo) -> Json:
    """A committed sector; the three fields that FIP-0100 ended are `null`."""
    return {
        "SectorNumber": sector.number,
        "SealProof": sector.seal_proof,
        "SealedCID": cid_json(sector.sealed_cid),
        "Activation": sector.activation,
        "Expiration": sector.expiration,
        "DealWeight": amount_json(sector.deal_weight),
        "VerifiedDealWeight": amount_json(sector.verified_deal_weight),
        "InitialPledge": amount_json(sector.initial_pledge),
        "ExpectedDayReward": None,
        "ExpectedStoragePledge": None,
        "PowerBaseEpoch": sector.power_base_epoch,
        "ReplacedDayReward": None,
        "SectorKeyCID": sector.sector_key_cid and cid_json(sector.sector_key_cid),
        "Flags": sector.flags,
        "DailyFee": amount_json(sector.daily_fee),
    }


def power_json(power: PowerPair) -> Json:
    """Raw and quality-adjusted power."""
    return {"RawBytePower": amount_json(power.raw), "QualityAdjPower": amount_json(power.qap)}
