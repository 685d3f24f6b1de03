"""Lotus' JSON to values and back, without any I/O.

Design notes
------------
* One function per direction and kind: `<kind>_from_json(raw, path)` and `<kind>_to_json(value, …)`. The second exists
  for what a node prints or takes, so that our own devnet and our own client cannot disagree about the wire.
* Everything wrong is a `LotusDecodeError` that names the path (`Filecoin.ChainHead.Blocks[1].Height`).
* Go's nil lists, maps and byte strings are null; reading takes null for empty everywhere, printing follows Lotus.
* Big integers are decimal text and stay exact; ids and epochs are plain numbers. A float is never accepted.
* A value that is already wrapped in a cursor (`reading.At`) keeps its path when one function hands it to another.
"""

from __future__ import annotations

from lotus_client.codec.basic import (
    actor_id_from_json,
    address_from_json,
    address_to_json,
    amount_from_json,
    bitfield_from_json,
    bitfield_to_json,
    bytes_to_json,
    cid_from_json,
    cid_to_json,
    optional_address_from_json,
    signature_from_json,
    signature_to_json,
    tipset_key_from_json,
    tipset_key_to_json,
)
from lotus_client.codec.chain import (
    block_header_from_json,
    block_header_to_json,
    head_change_from_json,
    head_change_to_json,
    tipset_from_json,
    tipset_to_json,
)
from lotus_client.codec.events import (
    actor_event_from_json,
    actor_event_to_json,
    actor_events_from_json,
    actor_events_to_json,
    emitted_entries_from_json,
    event_entry_from_json,
    event_entry_to_json,
    event_filter_to_json,
)
from lotus_client.codec.messages import (
    chain_message_from_json,
    chain_message_to_json,
    message_from_json,
    message_lookup_from_json,
    message_lookup_to_json,
    message_to_json,
    receipt_from_json,
    receipt_to_json,
    send_spec_to_json,
    signed_message_from_json,
    signed_message_to_json,
)
from lotus_client.codec.node import (
    network_params_from_json,
    network_params_to_json,
    node_version_from_json,
    node_version_to_json,
)
from lotus_client.codec.quick import quick_allocation, quick_claim
from lotus_client.codec.reading import At, at
from lotus_client.codec.state import (
    actor_state_from_json,
    actor_state_to_json,
    allocation_from_json,
    allocation_to_json,
    allocations_from_json,
    allocations_to_json,
    claim_from_json,
    claim_to_json,
    claims_from_json,
    claims_to_json,
    miner_funds_from_json,
    miner_info_from_json,
    miner_info_to_json,
    miner_power_from_json,
    miner_power_to_json,
    reward_state_from_json,
    sector_from_json,
    sector_to_json,
)

__all__ = [
    "At",
    "actor_event_from_json",
    "actor_event_to_json",
    "actor_events_from_json",
    "actor_events_to_json",
    "actor_id_from_json",
    "actor_state_from_json",
    "actor_state_to_json",
    "address_from_json",
    "address_to_json",
    "allocation_from_json",
    "allocation_to_json",
    "allocations_from_json",
    "allocations_to_json",
    "amount_from_json",
    "at",
    "bitfield_from_json",
    "bitfield_to_json",
    "block_header_from_json",
    "block_header_to_json",
    "bytes_to_json",
    "chain_message_from_json",
    "chain_message_to_json",
    "cid_from_json",
    "cid_to_json",
    "claim_from_json",
    "claim_to_json",
    "claims_from_json",
    "claims_to_json",
    "emitted_entries_from_json",
    "event_entry_from_json",
    "event_entry_to_json",
    "event_filter_to_json",
    "head_change_from_json",
    "head_change_to_json",
    "message_from_json",
    "message_lookup_from_json",
    "message_lookup_to_json",
    "message_to_json",
    "miner_funds_from_json",
    "miner_info_from_json",
    "miner_info_to_json",
    "miner_power_from_json",
    "miner_power_to_json",
    "network_params_from_json",
    "network_params_to_json",
    "node_version_from_json",
    "node_version_to_json",
    "optional_address_from_json",
    "quick_allocation",
    "quick_claim",
    "receipt_from_json",
    "receipt_to_json",
    "reward_state_from_json",
    "sector_from_json",
    "sector_to_json",
    "send_spec_to_json",
    "signature_from_json",
    "signature_to_json",
    "signed_message_from_json",
    "signed_message_to_json",
    "tipset_from_json",
    "tipset_key_from_json",
    "tipset_key_to_json",
    "tipset_to_json",
]
