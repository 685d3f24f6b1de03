"""The miner node's `/rpc/v0`: sectors (read) and the storage index (admin). Source: Lotus `api/api_storage.go`."""

from __future__ import annotations

from collections import Counter
from typing import Any

from devstack.auth import Permission
from devstack.miner_node import MinerNode
from devstack.rpc import miner_daemon, miner_data
from devstack.rpc.discover import with_discover
from devstack.rpc.encode import address_json, amount_json, bytes_json, cid_json
from devstack.rpc.errors import RpcError
from devstack.rpc.methods import Method, MethodTable, Param
from devstack.rpc.misc import AUTH_METHODS, version_json
from devstack.rpc.params import (
    ADDRESS,
    BOOL,
    STRING,
    STRINGS,
    UINT64,
    decode_int,
    decode_object,
)
from devstack.sectors import Sector, SectorPiece
from devstack.storage import FileType
from lotus_client.address import Address
from lotus_client.types import ActorId, SectorNumber

__all__ = ["table_miner"]

Json = dict[str, Any]

_API_VERSION = 1 << 16 | 5 << 8  # Lotus `api/version.go` MinerAPIVersion0


def _version(node: MinerNode) -> Json:
    return version_json(_API_VERSION, node.network.config.block_delay_seconds)


def _actor_address(node: MinerNode) -> str:
    return address_json(node.provider.miner)


def _sector_size(node: MinerNode, miner: Address | None) -> int:
    if miner != node.provider.miner:
        raise RpcError(1, f"this node's miner is {address_json(node.provider.miner)}")
    return node.provider.sector_size


def _list(node: MinerNode) -> list[int]:
    return sorted(node.provider.sectors)


def _list_in_states(node: MinerNode, states: list[str]) -> list[int] | None:
    sectors = node.provider.sectors
    return sorted(number for number in sectors if sectors[number].state in states) or None


def _summary(node: MinerNode) -> Json:
    return dict(Counter(str(sector.state) for sector in node.provider.sectors.values()))


def _status(node: MinerNode, number: SectorNumber, show_on_chain: bool) -> Json:
    sector = node.provider.sectors.get(number)
    if sector is None:
        raise RpcError(1, f"sector info not found: sector {number}")
    body = _off_chain(node, sector)
    info = node.network.state().sectors(node.provider.miner).get(number) if show_on_chain else None
    if info is not None:
        body |= {
            "SealProof": info.seal_proof,
            "Activation": info.activation,
            "Expiration": info.expiration,
            "DealWeight": amount_json(info.deal_weight),
            "VerifiedDealWeight": amount_json(info.verified_deal_weight),
            "InitialPledge": amount_json(info.initial_pledge),
            "OnTime": info.expiration,
            "Early": 0,
        }
    return body


def _off_chain(node: MinerNode, sector: Sector) -> Json:
    pieces = [_piece_json(sector, piece) for piece in sector.pieces]
    precommit, commit = sector.messages.get("precommit"), sector.messages.get("commit")
    return {
        "SectorID": sector.number,
        "State": str(sector.state),
        "CommD": cid_json(sector.commd),
        "CommR": cid_json(sector.sealed_cid),
        "Proof": None if commit is None else bytes_json(node.provider.proof),
        "Deals": [0 for _ in pieces],
        "Pieces": pieces,
        "Ticket": {"Value": bytes_json(sector.ticket), "Epoch": sector.ticket_epoch},
        "Seed": {"Value": None, "Epoch": 0},  # nothing is sealed, so no seed was ever drawn
        "PreCommitMsg": None if precommit is None else cid_json(precommit),
        "CommitMsg": None if commit is None else cid_json(commit),
        "Retries": 0,
        "ToUpgrade": False,
        "ReplicaUpdateMessage": None,
        "LastErr": sector.last_error,
        "Log": None,
        "SealProof": node.network.config.seal_proof,
        "Activation": 0,
        "Expiration": 0,
        "DealWeight": "0",
        "VerifiedDealWeight": "0",
        "InitialPledge": "0",
        "OnTime": 0,
        "Early": 0,
    }


def _piece_json(sector: Sector, piece: SectorPiece) -> Json:
    body: Json = {
        "Piece": {"Size": piece.size, "PieceCID": cid_json(piece.piece_cid)},
        "DealInfo": None,
    }
    if piece.staged is not None:
        allocation = piece.staged.allocation
        key = allocation and {"Client": allocation.client, "ID": allocation.id}
        body["DealInfo"] = {
            "PublishCid": None,
            "DealID": 0,
            "DealProposal": None,
            "DealSchedule": {"StartEpoch": sector.ticket_epoch, "EndEpoch": sector.expiration},
            "PieceActivationManifest": {
                "CID": cid_json(piece.piece_cid),
                "Size": piece.size,
                "VerifiedAllocationKey": key,
                "Notify": None,
            },
            "KeepUnsealed": True,
        }
    return body


def _storage_list(node: MinerNode) -> Json:
    storage = node.provider.storage
    declared = [
        {"Miner": node.provider.miner.actor_id, "Number": number, "SectorFileType": int(kind)}
        for number, kinds in _own_files(node)
        for kind in FileType
        if kind in kinds
    ]
    return {storage.id: declared}


def _own_files(node: MinerNode) -> list[tuple[int, FileType]]:
    prefix = f"s-t0{node.provider.miner.actor_id}-"
    return [
        (int(name.removeprefix(prefix)), kinds)
        for name, kinds in node.provider.storage.sectors()
        if name.startswith(prefix) and name.removeprefix(prefix).isdecimal()
    ]


def _storage_local(node: MinerNode) -> dict[str, str]:
    return {node.provider.storage.id: str(node.provider.storage.root)}


def _storage_info(node: MinerNode, storage_id: str) -> Json:
    storage = node.provider.storage
    if storage_id != storage.id:
        raise RpcError(1, "sector store not found")
    names = ("Groups", "AllowTo", "AllowTypes", "DenyTypes", "AllowMiners", "DenyMiners")
    return {
        "ID": storage.id,
        "URLs": [node.remote_url],
        "Weight": storage.metadata["Weight"],
        "MaxStorage": storage.metadata["MaxStorage"],
        "CanSeal": storage.metadata["CanSeal"],
        "CanStore": storage.metadata["CanStore"],
        **{name: storage.metadata[name] for name in names},
    }


def _find_sector(
    node: MinerNode,
    sector: tuple[ActorId, SectorNumber],
    kinds: int,
    _sector_size: int,
    _allow_fetch: bool,
) -> list[Json] | None:
    storage, miner = node.provider.storage, sector[0]
    held = [kind for kind in FileType if kind & kinds and storage.file(kind, *sector).exists()]
    if not held or miner != node.provider.miner.actor_id:
        return []
    name = storage.file(held[0], *sector).name
    urls = [f"{node.remote_url}/{kind.folder}/{name}" for kind in held]
    return [
        {
            "ID": storage.id,
            "URLs": urls,
            "BaseURLs": [node.remote_url],
            "Weight": storage.metadata["Weight"],
            "CanSeal": storage.metadata["CanSeal"],
            "CanStore": storage.metadata["CanStore"],
            "Primary": True,
            "AllowTypes": None,
            "DenyTypes": None,
            "AllowMiners": None,
            "DenyMiners": None,
        }
    ]


def _decode_sector_id(value: Any) -> tuple[ActorId, SectorNumber]:
    body = decode_object(value)
    return ActorId(decode_int(body.get("Miner"), 0)), SectorNumber(
        decode_int(body.get("Number"), 0)
    )


_READ, _ADMIN = Permission.READ, Permission.ADMIN
_SECTOR_ID = Param("abi.SectorID", _decode_sector_id)


def table_miner() -> MethodTable[MinerNode]:
    """What the miner node serves on `/rpc/v0`."""
    return with_discover(
        (
            *AUTH_METHODS,
            *miner_daemon.METHODS,
            *miner_data.METHODS,
            Method("Version", _READ, (), _version),
            Method("ActorAddress", _READ, (), _actor_address),
            Method("ActorSectorSize", _READ, (ADDRESS,), _sector_size),
            Method("SectorsList", _READ, (), _list),
            Method("SectorsListInStates", _READ, (STRINGS,), _list_in_states),
            Method("SectorsSummary", _READ, (), _summary),
            Method("SectorsStatus", _READ, (UINT64, BOOL), _status),
            Method("StorageList", _ADMIN, (), _storage_list),
            Method("StorageLocal", _ADMIN, (), _storage_local),
            Method("StorageInfo", _ADMIN, (STRING,), _storage_info),
            Method("StorageFindSector", _ADMIN, (_SECTOR_ID, UINT64, UINT64, BOOL), _find_sector),
        )
    )
