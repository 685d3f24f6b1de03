"""The steps of a verified piece's life on the embedded chain, for several tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from devstack.chain import Network, StateView
from devstack.chain.commd import unsealed_cid
from devstack.chain.invariants import check_invariants
from lotus_client.actors.datacap import DATACAP_PRECISION, TransferParams, TransferReturn
from lotus_client.actors.methods import (
    DATACAP,
    VERIFIED_REGISTRY,
    DatacapMethod,
    MinerMethod,
    MultisigMethod,
    VerifregMethod,
)
from lotus_client.actors.miner import (
    PieceActivationManifest,
    PreCommitSectorBatchParams,
    ProveCommitSectorsParams,
    SectorActivationManifest,
    SectorPreCommitInfo,
    VerifiedAllocationKey,
)
from lotus_client.actors.multisig import ProposeParams, ProposeReturn
from lotus_client.actors.verifreg import (
    AllocationRequest,
    AllocationRequests,
    AllocationsResponse,
    DatacapParams,
)
from lotus_client.address import Address
from lotus_client.cid import (
    FIL_COMMITMENT_SEALED,
    FIL_COMMITMENT_UNSEALED,
    POSEIDON_BLS12_381_A2_FC1,
    SHA2_256_TRUNC254_PADDED,
    Cid,
)
from lotus_client.state import MessageLookup
from lotus_client.types import AttoFil

DAY = 2880
MIB = 1 << 20
PROVIDER = Address.of_id(1001)


def piece_cid(number: int) -> Cid:
    return Cid.of_digest(
        FIL_COMMITMENT_UNSEALED, SHA2_256_TRUNC254_PADDED, number.to_bytes(32, "big")
    )


def sealed_cid(number: int) -> Cid:
    return Cid.of_digest(
        FIL_COMMITMENT_SEALED, POSEIDON_BLS12_381_A2_FC1, number.to_bytes(32, "big")
    )


@dataclass
class Story:
    network: Network

    def run(
        self, sender: str, to: Address, method: int, params: bytes, value: int = 0
    ) -> MessageLookup:
        return self.network.mine_until(
            self.network.send(sender, to, method, params, AttoFil(value))
        )

    def ok(self, *args: object, **kwargs: object) -> MessageLookup:
        found = self.run(*args, **kwargs)  # type: ignore[arg-type]
        assert found.receipt.exit_code == 0, found
        return found

    def add_verifier(self, who: str, size: int) -> ProposeReturn:
        inner = DatacapParams(self.network.key(who).address, size).to_cbor()
        call = ProposeParams(
            VERIFIED_REGISTRY, AttoFil(0), VerifregMethod.ADD_VERIFIER, inner
        ).to_cbor()
        found = self.ok("root-1", Address.of_id(80), MultisigMethod.PROPOSE, call)
        return ProposeReturn.from_cbor(found.receipt.return_)

    def grant(self, verifier: str, client: str, size: int) -> MessageLookup:
        params = DatacapParams(self.network.key(client).address, size).to_cbor()
        method = VerifregMethod.ADD_VERIFIED_CLIENT
        return self.run(verifier, VERIFIED_REGISTRY, method, params)

    def request(self, piece: Cid, size: int, **changes: int) -> AllocationRequest:
        now = self.network.head.height
        fields = {
            "provider": 1001,
            "term_min": 180 * DAY,
            "term_max": 540 * DAY,
            "expiration": now + 30 * DAY,
        } | changes
        return AllocationRequest(data=piece, size=size, **fields)

    def allocate(self, client: str, *requests: AllocationRequest) -> MessageLookup:
        total = sum(request.size for request in requests) * DATACAP_PRECISION
        data = AllocationRequests(requests).to_cbor()
        transfer = TransferParams(VERIFIED_REGISTRY, total, data).to_cbor()
        return self.run(client, DATACAP, DatacapMethod.TRANSFER, transfer)

    def allocation_ids(self, found: MessageLookup) -> tuple[int, ...]:
        answer = TransferReturn.from_cbor(found.receipt.return_).recipient_data
        return AllocationsResponse.from_cbor(answer).new_allocations

    def pre_commit(
        self, sector: int, pieces: list[tuple[Cid, int]], life: int = 400 * DAY
    ) -> MessageLookup:
        now = self.network.head.height
        commd = unsealed_cid(pieces, self.network.config.sector_size) if pieces else None
        info = SectorPreCommitInfo(
            self.network.config.seal_proof, sector, sealed_cid(sector), now - 1, now + life, commd
        )
        return self.run(
            "worker-1",
            PROVIDER,
            MinerMethod.PRE_COMMIT_SECTOR_BATCH2,
            PreCommitSectorBatchParams((info,)).to_cbor(),
        )

    def prove(
        self,
        sector: int,
        pieces: list[tuple[Cid, int]],
        allocations: dict[int, int] | None = None,
        client: int = 0,
        *,
        proof: bytes = b"proof",
        require_activation: bool = True,
    ) -> MessageLookup:
        manifest = SectorActivationManifest(
            sector,
            tuple(
                PieceActivationManifest(
                    cid,
                    size,
                    VerifiedAllocationKey(client, allocations[index])
                    if allocations and index in allocations
                    else None,
                )
                for index, (cid, size) in enumerate(pieces)
            ),
        )
        params = ProveCommitSectorsParams(
            (manifest,), (proof,), require_activation_success=require_activation
        )
        return self.run("worker-1", PROVIDER, MinerMethod.PROVE_COMMIT_SECTORS3, params.to_cbor())

    def client_with_datacap(self, client: str = "alice", size: int = 64 * MIB) -> int:
        assert self.add_verifier("bob", size).exit_code == 0
        assert self.grant("bob", client, size).receipt.exit_code == 0
        found = self.network.pending_state().actor_id(self.network.key(client).address)
        assert found is not None
        return int(found)

    def verified_sector(self, sector: int, piece: Cid, size: int) -> int:
        """An active claim's id; the client must have the DataCap."""
        found = self.allocate("alice", self.request(piece, size))
        (allocation,) = self.allocation_ids(found)
        client = self.network.pending_state().actor_id(self.network.key("alice").address)
        assert client is not None
        pieces = [(piece, size)]
        assert self.pre_commit(sector, pieces).receipt.exit_code == 0
        self.network.advance(12)
        proven = self.prove(sector, pieces, {0: allocation}, client)
        assert proven.receipt.exit_code == 0, proven
        return allocation

    def until(self, reached: Callable[[StateView], object], limit: int = DAY + 120) -> None:
        """Mine until the state after the head is as wanted."""
        for _ in range(limit):
            if reached(self.network.pending_state()):
                return
            self.network.mine_epoch()
        raise AssertionError(f"not reached within {limit} epochs")

    def sound(self) -> None:
        assert check_invariants(self.network.pending_state().tree) == []
