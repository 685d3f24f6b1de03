"""Values to the JSON that Lotus prints: field names, nulls for empty lists, decimal strings for big integers.

Source: go-state-types and Lotus `MarshalJSON` methods, `chain/types`, `api/types.go`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from lotus_client.address import Address
from lotus_client.chain import BlockHeader, TipSet, TipSetKey
from lotus_client.cid import Cid
from lotus_client.crypto import Signature
from lotus_client.messages import Message, SignedMessage
from lotus_client.state import (
    ActorEvent,
    ActorState,
    Allocation,
    Claim,
    EventEntry,
    MessageLookup,
    PowerPair,
    Receipt,
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
    "cid_json",
    "claim_json",
    "event_entry_json",
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


def cid_json(cid: Cid) -> Json:
    """`{"/": "bafy…"}`."""
    return {"/": str(cid)}


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


def map_json(items: Mapping[int, T], encode: Callable[[T], Any]) -> Json:
    """A map with its numbers as text keys; an empty one is `{}` (Lotus makes these maps before filling them)."""
    return {str(key): encode(value) for key, value in items.items()}


def bitfield_json(numbers: Iterable[int]) -> list[int]:
    """Run lengths, unset first: `[0]` for none, `[5, 1]` for {5}."""
    runs: list[int] = []
    end = 0
    for number in sorted(set(numbers)):
        if runs and number == end:
            runs[-1] += 1
        else:
            runs += [number - end, 1]
        end = number + 1
    return runs or [0]


def tipset_key_json(key: TipSetKey) -> list[Json]:
    """The CIDs of a key; `[]` for the empty key."""
    return [cid_json(cid) for cid in key]


def signature_json(signature: Signature) -> Json:
    """A signature by type number and base64."""
    return {"Type": int(signature.type), "Data": bytes_json(signature.data)}


def header_json(header: BlockHeader) -> Json:
    """A block header."""
    proof, ticket = header.election_proof, header.ticket
    return {
        "Miner": address_json(header.miner),
        "Ticket": None if ticket is None else {"VRFProof": bytes_json(ticket)},
        "ElectionProof": None
        if proof is None
        else {"WinCount": proof.win_count, "VRFProof": bytes_json(proof.vrf_proof)},
        "BeaconEntries": list_json(
            header.beacon_entries, lambda entry: {"Round": entry.round, "Data": bytes_json(entry.data)}
        ),
        "WinPoStProof": list_json(
            header.win_post_proof,
            lambda post: {"PoStProof": post.proof_type, "ProofBytes": bytes_json(post.proof)},
        ),
        "Parents": list_json(header.parents, cid_json),
        "ParentWeight": amount_json(header.parent_weight),
        "Height": header.height,
        "ParentStateRoot": cid_json(header.parent_state_root),
        "ParentMessageReceipts": cid_json(header.parent_message_receipts),
        "Messages": cid_json(header.messages),
        "BLSAggregate": header.bls_aggregate and signature_json(header.bls_aggregate),
        "Timestamp": header.timestamp,
        "BlockSig": header.block_sig and signature_json(header.block_sig),
        "ForkSignaling": header.fork_signaling,
        "ParentBaseFee": amount_json(header.parent_base_fee),
    }


def tipset_json(tipset: TipSet) -> Json:
    """A tipset with its blocks."""
    return {
        "Cids": tipset_key_json(tipset.key),
        "Blocks": [header_json(block) for block in tipset.blocks],
        "Height": tipset.height,
    }


def message_json(message: Message) -> Json:
    """An unsigned message with its CID."""
    return {
        "Version": message.version,
        "To": address_json(message.to),
        "From": address_json(message.from_),
        "Nonce": message.nonce,
        "Value": amount_json(message.value),
        "GasLimit": message.gas_limit,
        "GasFeeCap": amount_json(message.gas_fee_cap),
        "GasPremium": amount_json(message.gas_premium),
        "Method": message.method,
        "Params": bytes_json(message.params or None),
        "CID": cid_json(message.cid),
    }


def signed_message_json(signed: SignedMessage) -> Json:
    """A signed message with the CID that the chain knows it by."""
    return {
        "Message": message_json(signed.message),
        "Signature": signature_json(signed.signature),
        "CID": cid_json(signed.cid),
    }


def receipt_json(receipt: Receipt) -> Json:
    """A receipt; empty return is `null`."""
    return {
        "ExitCode": receipt.exit_code,
        "Return": bytes_json(receipt.return_ or None),
        "GasUsed": receipt.gas_used,
        "EventsRoot": receipt.events_root and cid_json(receipt.events_root),
    }


def lookup_json(lookup: MessageLookup) -> Json:
    """Where and how a message was executed."""
    return {
        "Message": cid_json(lookup.message),
        "Receipt": receipt_json(lookup.receipt),
        "ReturnDec": None,
        "TipSet": tipset_key_json(lookup.tipset),
        "Height": lookup.height,
    }


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
