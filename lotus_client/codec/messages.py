"""Messages, receipts and lookups as JSON. Source: Lotus `chain/types/message.go`, `api/types.go`."""

from __future__ import annotations

from typing import Any

from lotus_client.address import NetworkPrefix
from lotus_client.cid import Cid
from lotus_client.codec.basic import (
    address_from_json,
    amount_from_json,
    bytes_to_json,
    cid_from_json,
    cid_to_json,
    optional_cid,
    signature_from_json,
    signature_to_json,
    tipset_key_from_json,
    tipset_key_to_json,
)
from lotus_client.codec.reading import at
from lotus_client.messages import Message, SendSpec, SignedMessage
from lotus_client.state import ChainMessage, MessageLookup, Receipt
from lotus_client.types import AttoFil, Epoch

__all__ = [
    "chain_message_from_json",
    "chain_message_to_json",
    "message_from_json",
    "message_lookup_from_json",
    "message_lookup_to_json",
    "message_to_json",
    "receipt_from_json",
    "receipt_to_json",
    "send_spec_to_json",
    "signed_message_from_json",
    "signed_message_to_json",
]

_NO_UUID = "00000000-0000-0000-0000-000000000000"  # "make one up"


def message_from_json(raw: Any, path: str = "$") -> Message:
    """The message; a printed `CID` is ignored, `Message.cid` is computed."""
    here = at(raw, path)
    return Message(
        version=here.field("Version").integer(),
        to=address_from_json(here.field("To")),
        from_=address_from_json(here.field("From")),
        nonce=here.field("Nonce").integer(),
        value=amount_from_json(here.field("Value")),
        gas_limit=here.field("GasLimit").integer(0, (1 << 63) - 1),
        gas_fee_cap=amount_from_json(here.field("GasFeeCap")),
        gas_premium=amount_from_json(here.field("GasPremium")),
        method=here.field("Method").integer(),
        params=here.field("Params").data(),
    )


def message_to_json(message: Message, prefix: NetworkPrefix) -> dict[str, Any]:
    """The message as Lotus prints it, with its CID."""
    return {
        "Version": message.version,
        "To": message.to.to_text(prefix),
        "From": message.from_.to_text(prefix),
        "Nonce": message.nonce,
        "Value": str(message.value),
        "GasLimit": message.gas_limit,
        "GasFeeCap": str(message.gas_fee_cap),
        "GasPremium": str(message.gas_premium),
        "Method": message.method,
        "Params": bytes_to_json(message.params),
        "CID": cid_to_json(message.cid),
    }


def signed_message_from_json(raw: Any, path: str = "$") -> SignedMessage:
    """The signed message; the signature is not verified here."""
    here = at(raw, path)
    return SignedMessage(
        message_from_json(here.field("Message")), signature_from_json(here.field("Signature"))
    )


def signed_message_to_json(signed: SignedMessage, prefix: NetworkPrefix) -> dict[str, Any]:
    """The signed message as Lotus prints it, with its CID."""
    return {
        "Message": message_to_json(signed.message, prefix),
        "Signature": signature_to_json(signed.signature),
        "CID": cid_to_json(signed.cid),
    }


def chain_message_from_json(raw: Any, path: str = "$") -> ChainMessage:
    """A message in a tipset with the CID it has there (of the signed form for secp256k1 senders)."""
    here = at(raw, path)
    return ChainMessage(cid_from_json(here.field("Cid")), message_from_json(here.field("Message")))


def chain_message_to_json(cid: Cid, message: Message, prefix: NetworkPrefix) -> dict[str, Any]:
    """A message in a tipset as `ChainGetParentMessages` prints it."""
    return {"Cid": cid_to_json(cid), "Message": message_to_json(message, prefix)}


def receipt_from_json(raw: Any, path: str = "$") -> Receipt:
    """The receipt."""
    here = at(raw, path)
    return Receipt(
        exit_code=here.field("ExitCode").integer(-(1 << 63), (1 << 63) - 1),
        return_=here.field("Return").data(),
        gas_used=here.field("GasUsed").integer(-(1 << 63), (1 << 63) - 1),
        events_root=optional_cid(here.field("EventsRoot")),
    )


def receipt_to_json(receipt: Receipt) -> dict[str, Any]:
    """The receipt as Lotus prints it."""
    root = receipt.events_root
    return {
        "ExitCode": receipt.exit_code,
        "Return": bytes_to_json(receipt.return_),
        "GasUsed": receipt.gas_used,
        "EventsRoot": None if root is None else cid_to_json(root),
    }


def message_lookup_from_json(raw: Any, path: str = "$") -> MessageLookup:
    """Where a message was executed."""
    here = at(raw, path)
    return MessageLookup(
        message=cid_from_json(here.field("Message")),
        receipt=receipt_from_json(here.field("Receipt")),
        tipset=tipset_key_from_json(here.field("TipSet")),
        height=Epoch(here.field("Height").integer(0, (1 << 63) - 1)),
    )


def message_lookup_to_json(lookup: MessageLookup) -> dict[str, Any]:
    """The lookup as Lotus prints it; `ReturnDec` stays null, its form differs by actor."""
    return {
        "Message": cid_to_json(lookup.message),
        "Receipt": receipt_to_json(lookup.receipt),
        "ReturnDec": None,
        "TipSet": tipset_key_to_json(lookup.tipset),
        "Height": lookup.height,
    }


def send_spec_to_json(spec: SendSpec) -> dict[str, Any] | None:
    """The MessageSendSpec; null when there is nothing to wish."""
    if spec == SendSpec():
        return None
    return {
        "MaxFee": str(spec.max_fee or AttoFil(0)),  # 0 is the node's own bound
        "MsgUuid": _NO_UUID if spec.uuid is None else str(spec.uuid),
        "MaximizeFeeCap": spec.maximize_fee_cap,
    }
