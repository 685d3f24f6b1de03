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
from devstack.rpc.methods import Method, MethodTable
from devstack.rpc.misc import AUTH_METHODS, version_json
from devstack.rpc.params import ADDRESS, BOOL, STRINGS, UINT64
from devstack.rpc.storage_index import STORAGE_METHODS, STORAGE_STAT
from devstack.sectors import Sector, SectorPiece
from lotus_client.address import Address
from lotus_client.types import SectorNumber

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
        "Deals": [(piece.staged and piece.staged.deal) or 0 for piece in sector.pieces],
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
            "DealID": piece.staged.deal or 0,
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


_READ = Permission.READ


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
            *STORAGE_METHODS,
            STORAGE_STAT,
        )
    )
