"""Where the devnet's answers are held to something else than Lotus' OpenRPC documents, each with the reason.

`UNDOCUMENTED`: the `Common` and `Net` groups and what only v0 has stand in none of the documents that Lotus publishes. Their
shapes are those of Lotus' reference pages (`documentation/en/api-methods-{v0-deprecated,v1-stable}.md`).
`V0_DIFFERS`: `/rpc/v0` answers in another form than the document, which is v1's.
`ELSEWHERE`: groups whose methods another test calls and holds to the document; it must name each of them.
`EMPTY`: what answers with nothing even on a devnet full of things.
`FOREST_DIFFERS`: Forest describes another answer than Lotus gives; Lotus is followed.
"""

from __future__ import annotations

from typing import Any

_VOID = {"type": "null"}
_TEXT = {"type": "string"}
_COUNT = {"type": "integer"}
_LIST = {"type": "array"}
_MAP = {"type": "object"}


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": sorted(properties),
        "additionalProperties": False,
    }


_COMMON = "the Common group is in no document"
_NET = "the Net group is in no document"
_V0_ONLY = "only v0 has it, and only v0's gateway still has a document"

_VERSION = _object(Version=_TEXT, APIVersion=_COUNT, BlockDelay=_COUNT, Agent=_TEXT)
_BEACON_ENTRY = _object(Round=_COUNT, Data=_TEXT)
_RATES = _object(TotalIn=_COUNT, TotalOut=_COUNT, RateIn=_COUNT, RateOut=_COUNT)
_LOOKUP = _object(
    Message=_object(**{"/": _TEXT}),
    Receipt=_MAP,
    ReturnDec={},
    TipSet=_LIST,
    Height=_COUNT,
)
_RANDOMNESS = {"type": "string", "pattern": "^[A-Za-z0-9+/]{43}=$"}  # base64 of 32 bytes

UNDOCUMENTED: dict[str, tuple[dict[str, Any], str]] = {
    "AuthNew": (_TEXT, _COMMON),
    "AuthVerify": (
        {"type": "array", "items": {"enum": ["read", "write", "sign", "admin"]}},
        _COMMON,
    ),
    "BeaconGetEntry": (_BEACON_ENTRY, _V0_ONLY),
    "ChainGetRandomnessFromBeacon": (_RANDOMNESS, _V0_ONLY),
    "ChainGetRandomnessFromTickets": (_RANDOMNESS, _V0_ONLY),
    "Discover": (_object(openrpc={"const": "1.2.6"}, info=_MAP, methods=_LIST), _COMMON),
    "ID": (_TEXT, _NET),
    "LogAlerts": (_LIST, _COMMON),
    "NetAddrsListen": (_object(ID=_TEXT, Addrs=_LIST), _NET),
    "NetAutoNatStatus": (
        _object(Reachability=_COUNT, PublicAddrs={"type": ["array", "null"]}),
        _NET,
    ),
    "NetBandwidthStats": (_RATES, _NET),
    "NetBandwidthStatsByPeer": (_MAP, _NET),
    "NetBandwidthStatsByProtocol": (_MAP, _NET),
    "NetConnectedness": (_COUNT, _NET),
    "NetDisconnect": (_VOID, _NET),
    "NetPeers": (_LIST, _NET),
    "NetProtectAdd": (_VOID, _NET),
    "NetProtectList": ({"const": ["16Uiu2HAmNobody"]}, _NET),
    "NetProtectRemove": (_VOID, _NET),
    "Session": ({"type": "string", "pattern": "^[0-9a-f-]{36}$"}, _COMMON),
    "Shutdown": (_VOID, _COMMON),
    "StartTime": ({"type": "string", "pattern": "^2.*Z$"}, _COMMON),
    "StateSearchMsgLimited": (_LOOKUP, _V0_ONLY),
    "StateWaitMsgLimited": (_LOOKUP, _V0_ONLY),
    "Version": (_VERSION, _COMMON),
}

_CID = _object(**{"/": _TEXT})
_PUSHED = "v0 pushes the message and answers with its CID (Lotus `api/v0api/full.go`)"

V0_DIFFERS: dict[str, tuple[dict[str, Any], str]] = dict.fromkeys(("MsigAddApprove", "MsigAddCancel", "MsigAddPropose", "MsigApprove", "MsigApproveTxnHash", "MsigCancel", "MsigCreate", "MsigPropose", "MsigRemoveSigner", "MsigSwapApprove", "MsigSwapCancel", "MsigSwapPropose"), (_CID, _PUSHED))  # fmt: skip

_GENESIS = "Forest wants each block to have parents; genesis has none"
_NO_CHARGES = (
    "the gas model has no single charges, which Lotus prints as null and Forest wants as a list"
)

FOREST_DIFFERS: dict[str, str] = {
    "AuthNew": "Forest takes an expiry too",
    "ChainGetFinalizedTipSet": _GENESIS,
    "ChainGetGenesis": _GENESIS,
    "ChainGetTipSetFinalityStatus": _GENESIS,
    "StateCall": _NO_CHARGES,
    "StateCompute": "Forest answers with the root alone",
    "StateMinerInfo": "Forest prints the proof type's name, Lotus its number",
    "StateMinerProvingDeadline": "Forest prints a text",
    "StateReplay": _NO_CHARGES,
    "v0:StateSearchMsg": "Forest gives it v1's parameters on v0 too",
    "WalletExport": "Forest describes its own names of key types, Lotus prints secp256k1",
}

_ALONE = "the devnet has no peers"
_VOID_RESULT = "has no result"
_UNSEALED = "nothing is sealed, so there are no workers"

EMPTY: dict[str, str] = {
    "EthAccounts": "Lotus keeps no keys of Ethereum accounts",
    "LogAlerts": "nothing is alarming",
    "NetBandwidthStatsByPeer": _ALONE,
    "NetBandwidthStatsByProtocol": _ALONE,
    "NetPeers": _ALONE,
    "SectorsRefs": "by market deal; the world's pieces are direct ones",
    "NetDisconnect": _VOID_RESULT,
    "NetProtectAdd": _VOID_RESULT,
    "NetProtectRemove": _VOID_RESULT,
    "Shutdown": _VOID_RESULT,
    "WorkerJobs": _UNSEALED,
    "WorkerStats": _UNSEALED,
}

ELSEWHERE: dict[str, str] = {
    "Eth": "test_eth_shapes.py",  # needs contracts and transactions of its own
    "FilecoinAddressToEthAddress": "test_eth_shapes.py",
}
