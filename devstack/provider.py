"""A storage provider's deal and sealing software, simulated over the chain by real signed messages.

Everything that reaches the chain is a message of the worker: PreCommitSectorBatch2, after the challenge delay
ProveCommitSectors3 with the piece manifests, then WindowPoSt in the sector's deadline. Only the sealing itself is
not done. What a sector's state is follows from the chain each time, so a reorg needs no special care.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from deals.commp import commp
from deals.unsealed import UnsealedFile
from devstack.chain import (
    ChainLookupError,
    MessageFailed,
    Network,
    PushRefused,
    StateView,
)
from devstack.sealing_messages import PROOF, commit_params, declarations, precommit_params
from devstack.sectors import (
    Sector,
    SectorState,
    StagedPiece,
    commd_of,
    lay_out,
    made_up_replica,
    open_payload,
)
from devstack.storage import FileType, PieceBytes, StoragePaths
from lotus_client import cbor
from lotus_client.actors.market import DealProposal
from lotus_client.actors.methods import MinerMethod
from lotus_client.actors.miner import (
    VerifiedAllocationKey,
)
from lotus_client.address import Address
from lotus_client.chain import HeadChange
from lotus_client.cid import Cid
from lotus_client.crypto import SigningKey
from lotus_client.state import Allocation
from lotus_client.types import AllocationId, Epoch, PaddedPieceSize, SectorNumber

__all__ = ["DEFAULT_SECTOR_LIFETIME", "PieceRejected", "SealingProvider"]

DEFAULT_SECTOR_LIFETIME: Final = Epoch(540 * 2880)  # lotus-miner's default, 540 days

_CHALLENGE_DELAY: Final = 10  # Lotus params_2k.go PreCommitChallengeDelay
_TICKET_LOOKBACK: Final = 900  # builtin-actors policy: the ticket is drawn from a final tipset
_SEAL_RANDOMNESS: Final = 5  # domain separation tag, go-state-types crypto/randomness.go
_LARGEST_LIFETIME: Final = 1278 * 2880  # builtin-actors policy, max_sector_expiration_extension
_MARGIN: Final = 200  # epochs between choosing the expiration and the commit that is measured by it


class PieceRejected(ValueError):
    """A piece that cannot go into a sector of this provider; the message says why."""


class SealingProvider:
    """One miner actor with its worker's key and its storage paths. Not thread safe, like the network it works on."""

    def __init__(
        self,
        network: Network,
        miner: Address,
        worker: SigningKey,
        storage: StoragePaths,
    ) -> None:
        self._network = network
        self.miner = miner
        self.worker = worker
        self.storage = storage
        self.sector_size = network.config.sector_size
        self.sectors: dict[SectorNumber, Sector] = {}
        self.proof = PROOF
        self._unsettled: set[SectorNumber] = set()
        self.on_change: Callable[[Sector], None] = lambda _sector: None
        network.prove_automatically(miner)
        self._stop = (network.before_epoch(self._on_epoch), network.subscribe(self._on_changes))

    @property
    def network(self) -> Network:
        """The chain it works on."""
        return self._network

    def close(self) -> None:
        """Stop reacting to the chain; WindowPoSt goes on."""
        for stop in self._stop:
            stop()

    # pieces -------------------------------------------------------------------------------------------------------

    async def add_piece(
        self,
        payload: bytes | Path,
        allocation: AllocationId | None = None,
        *,
        deal: int | None = None,
    ) -> Sector:
        """A new sector holding this payload, being sealed from the next epoch on.

        With `allocation` the piece takes that allocation's size and claims it; with `deal` it takes the deal's size
        and activates the deal (which, verified, brings its own allocation); without, it is a plain DDO piece.

        Raises:
            PieceRejected: too large, empty, or not what the allocation or deal is for.
            OSError: the file cannot be read.
        """
        return await self.add_sector([await self.stage_piece(payload, allocation, deal=deal)])

    async def stage_piece(
        self,
        payload: bytes | Path,
        allocation: AllocationId | None = None,
        *,
        deal: int | None = None,
    ) -> StagedPiece:
        """The piece with its commitment, ready for `add_sector`; raises as `add_piece`."""
        if deal is None:
            return await asyncio.to_thread(self._stage, payload, self._allocation(allocation))
        proposal = self._deal(deal)
        number = self._network.pending_state().market.pending_allocation(deal)
        staged = await asyncio.to_thread(
            self._stage, payload, self._allocation(number), PaddedPieceSize(proposal.piece_size)
        )
        if staged.commitment.piece_cid != proposal.piece_cid:
            raise PieceRejected(f"deal {deal} is for piece {proposal.piece_cid}, not this payload")
        return replace(staged, deal=deal)

    def _deal(self, number: int) -> DealProposal:
        try:
            proposal, active = self._network.pending_state().market.deal(number)
        except ChainLookupError as error:
            raise PieceRejected(str(error)) from error
        if active is not None:
            raise PieceRejected(f"deal {number} is active already")
        if proposal.provider != self.miner:
            raise PieceRejected(f"deal {number} is with provider {proposal.provider}")
        return proposal

    async def add_sector(self, staged: Sequence[StagedPiece] = ()) -> Sector:
        """A new sector holding these pieces in their order, or committed capacity without any.

        Raises:
            PieceRejected: they do not fit, or no sector term suits all their allocations.
        """
        sector = self._plan(staged)
        self.sectors[sector.number] = sector  # takes the number before anything else can
        try:
            await asyncio.to_thread(self._write, sector)
        except BaseException:
            del self.sectors[sector.number]
            raise
        self._unsettled.add(sector.number)
        self.on_change(sector)
        return sector

    def resume(self, sectors: Mapping[int, Sector]) -> None:
        """Go on with sectors of an earlier run on this chain; their files are in the storage path already."""
        for sector in sectors.values():
            self.sectors[sector.number] = sector
            if not sector.state.is_failed:
                self._unsettled.add(sector.number)

    async def unseal(self, number: SectorNumber) -> None:
        """Write the sector's unsealed file again if it, or a part of it, is gone.

        Raises:
            KeyError: no such sector.
            PieceRejected: the devnet was restarted since, and payloads are kept in the unsealed files only.
        """
        sector = self.sectors[number]
        if self._is_unsealed(number):
            return
        if any(piece.staged and piece.staged.payload == b"" for piece in sector.pieces):
            raise PieceRejected(f"sector {number} is from before a restart: its data is gone")
        await asyncio.to_thread(self._write, sector)

    def _is_unsealed(self, number: SectorNumber) -> bool:
        path = self.storage.file(FileType.UNSEALED, self.miner.actor_id, number)
        try:
            with UnsealedFile.open(path, self.sector_size) as file:
                return file.has(0, self.sector_size)
        except OSError:
            return False

    def _allocation(self, number: AllocationId | None) -> Allocation | None:
        if number is None:
            return None
        found = self._network.pending_state().all_allocations().get(number)
        if found is None:
            raise PieceRejected(f"there is no allocation {number} (claimed, expired or never made)")
        if found.provider != self.miner.actor_id:
            raise PieceRejected(f"allocation {number} is for provider t0{found.provider}")
        return found

    def _stage(
        self,
        payload: bytes | Path,
        allocation: Allocation | None,
        size: PaddedPieceSize | None = None,
    ) -> StagedPiece:
        with open_payload(payload) as reader:
            commitment = commp(reader)
        if not commitment.payload_size:
            raise PieceRejected("an empty payload is no piece")
        smallest = self._network.config.minimum_piece_size
        wanted = size or max(commitment.padded_size, PaddedPieceSize(smallest))
        wanted = wanted if allocation is None else allocation.size
        if not commitment.padded_size <= wanted <= self.sector_size:
            raise PieceRejected(
                f"the payload needs a piece of {commitment.padded_size} bytes; the piece shall have {wanted}, "
                f"the sector has {self.sector_size}"
            )
        commitment = commitment.raised_to(wanted)
        if allocation is None:
            return StagedPiece(payload, commitment)
        if commitment.piece_cid != allocation.data:
            raise PieceRejected(
                f"allocation {allocation.id} is for piece {allocation.data}, "
                f"the payload is {commitment.piece_cid}"
            )
        key = VerifiedAllocationKey(allocation.client, allocation.id)
        return StagedPiece(payload, commitment, key)

    def _plan(self, staged: Sequence[StagedPiece]) -> Sector:
        network = self._network
        try:
            pieces = lay_out(staged, self.sector_size)
        except ValueError as error:
            raise PieceRejected(str(error)) from error
        head = network.head.height
        ticket_epoch = Epoch(max(head - _TICKET_LOOKBACK, 0))
        ticket = network.ticket_randomness(_SEAL_RANDOMNESS, ticket_epoch, self._entropy())
        number, commd = self._next_number(), commd_of(pieces, self.sector_size)
        return Sector(
            number=number,
            pieces=pieces,
            commd=commd,
            sealed_cid=made_up_replica(self.miner.actor_id, number, commd, ticket),
            ticket=ticket,
            ticket_epoch=ticket_epoch,
            expiration=Epoch(head + self._lifetime(staged)),
        )

    def _entropy(self) -> bytes:
        return cbor.encode(self.miner.to_bytes())

    def _lifetime(self, staged: Sequence[StagedPiece]) -> int:
        allocations = self._network.pending_state().all_allocations()
        named = [allocations.get(AllocationId(p.allocation.id)) for p in staged if p.allocation]
        shortest = max((found.term_min for found in named if found), default=0) + _MARGIN
        ends = [self._deal(piece.deal).end_epoch for piece in staged if piece.deal is not None]
        shortest = max(shortest, max(ends, default=0) - self._network.head.height + _MARGIN)
        longest = min((found.term_max for found in named if found), default=_LARGEST_LIFETIME)
        longest = min(longest, _LARGEST_LIFETIME)
        if shortest > longest:
            raise PieceRejected("no sector term suits all allocations of these pieces")
        return min(max(DEFAULT_SECTOR_LIFETIME, shortest), longest)

    def _next_number(self) -> SectorNumber:
        on_chain = self._network.pending_state().sectors(self.miner)
        return SectorNumber(max((*self.sectors, *on_chain), default=-1) + 1)

    def _write(self, sector: Sector) -> None:
        readers = [
            (piece, open_payload(piece.staged.payload) if piece.staged else None)
            for piece in sector.pieces
        ]
        try:
            self.storage.write_sector(
                self.miner.actor_id,
                sector.number,
                self.sector_size,
                (PieceBytes(piece.offset, piece.size, reader) for piece, reader in readers),
            )
        finally:
            for _, reader in readers:
                if reader is not None:
                    reader.close()

    # faults -------------------------------------------------------------------------------------------------------

    def declare_faults(self, numbers: Iterable[SectorNumber]) -> Cid:
        """The message that declares these sectors faulty; their power goes when it is executed.

        Raises:
            MessageFailed: e.g. too late for the sector's deadline, or a sector not yet proven.
            ValueError: a sector that has no place in a deadline, or none given.
        """
        params = declarations(self._network.pending_state(), self.miner, numbers)
        return self._network.send(self.worker, self.miner, MinerMethod.DECLARE_FAULTS, params)

    def declare_recovered(self, numbers: Iterable[SectorNumber]) -> Cid:
        """The message that declares these sectors recovered; the power comes back with the next WindowPoSt.

        Raises:
            MessageFailed: e.g. too late for the sector's deadline.
            ValueError: a sector that has no place in a deadline, or none given.
        """
        params = declarations(self._network.pending_state(), self.miner, numbers)
        method = MinerMethod.DECLARE_FAULTS_RECOVERED
        return self._network.send(self.worker, self.miner, method, params)

    def terminate(self, numbers: Iterable[SectorNumber]) -> Cid:
        """The message that ends these sectors early; power and pledge go when it is executed, the fee is burnt.

        Raises:
            ValueError: a sector that has no place in a deadline, or none given.
        """
        params = declarations(self._network.pending_state(), self.miner, numbers)
        return self._network.send(self.worker, self.miner, MinerMethod.TERMINATE_SECTORS, params)

    # the chain ----------------------------------------------------------------------------------------------------

    def _on_changes(self, changes: list[HeadChange]) -> None:
        if any(change.type == "revert" for change in changes):
            self._unsettled.update(
                number for number, sector in self.sectors.items() if not sector.state.is_failed
            )

    def _on_epoch(self, epoch: Epoch) -> None:
        if not self._unsettled:
            return
        state = self._network.pending_state()
        # What the head includes has no outcome to look up before the next epoch.
        undecided = (*self._network.mpool.pending(), *self._network.messages_in_tipset())
        waiting = {signed.cid for signed in undecided}
        for number in sorted(self._unsettled):
            sector = self.sectors[number]
            before = (sector.state, dict(sector.messages))
            self._step(sector, state, epoch, waiting)
            if before != (sector.state, sector.messages):
                self.on_change(sector)
            if sector.state is SectorState.PROVING or sector.state.is_failed:
                self._unsettled.discard(number)

    def _step(self, sector: Sector, state: StateView, epoch: Epoch, waiting: set[Cid]) -> None:
        if sector.number in state.sectors(self.miner):
            sector.state = SectorState.PROVING
            return
        committed_at = state.precommit_epoch(self.miner, sector.number)
        if committed_at is None:
            sector.state = SectorState.PRE_COMMITTING
            self._send(sector, "precommit", waiting, MinerMethod.PRE_COMMIT_SECTOR_BATCH2)
        elif epoch <= committed_at + _CHALLENGE_DELAY:
            sector.state = SectorState.WAIT_SEED
        else:
            sector.state = SectorState.COMMITTING
            self._send(sector, "commit", waiting, MinerMethod.PROVE_COMMIT_SECTORS3)

    def _send(self, sector: Sector, kind: str, waiting: set[Cid], method: MinerMethod) -> None:
        sent = sector.messages.get(kind)
        if sent in waiting:
            return
        found = None if sent is None else self._network.search_message(sent)
        if found is not None and found.receipt.exit_code:
            self._fail(sector, kind, f"message {sent} ended with exit {found.receipt.exit_code}")
            return
        params = (
            precommit_params(sector, self._network.config.seal_proof)
            if kind == "precommit"
            else commit_params(sector)
        )
        try:
            sector.messages[kind] = self._network.send(self.worker, self.miner, method, params)
        except (PushRefused, MessageFailed) as error:
            self._fail(sector, kind, str(error))

    @staticmethod
    def _fail(sector: Sector, kind: str, reason: str) -> None:
        failed = {
            "precommit": SectorState.PRE_COMMIT_FAILED,
            "commit": SectorState.COMMIT_FAILED,
        }
        sector.state, sector.last_error = failed[kind], reason
