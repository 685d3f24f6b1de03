"""Unsealing when somebody asks: the miner is asked within the operator's limits, and the copy is looked for until it verifies.

Nothing here unseals by itself. Without a lotus-miner's API (Curio) nothing is run either: the command is named, and the copy that it
brings is looked for in the same way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from deals.sources import PieceNotHere, PieceUnavailable, SourceError, Unavailable
from fil_plus.pieces import HeldPiece
from lotus_client.miner_client import StorageSpace
from lotus_client.types import SectorNumber
from sp_plugin.config.miner import UnsealConfig
from sp_plugin.errors import Conflict, RefusedByPolicy, SpPluginError
from sp_plugin.piece_work import Kind, Report, Work
from sp_plugin.pieces import Pieces
from sp_plugin.store.piece_checks import CheckState, PieceCheck
from sp_plugin.store.unsealing import UnsealRepository, UnsealRequest

__all__ = ["Plan", "Unsealer", "Unsealing", "refusals"]

_DAY: Final = 86400 * 10**9
_LOOK_SECONDS: Final = 10.0
_RULE: Final = "provider.unseal"

log = structlog.get_logger()


class Unsealer(Protocol):
    """What is asked of the miner; `MinerClient` has it."""

    async def storage_spaces(self) -> list[StorageSpace]: ...
    async def unseal(self, number: SectorNumber) -> None: ...


@dataclass(frozen=True, slots=True)
class Plan:
    """What unsealing a piece would do: `command` is what the operator types where no miner is asked, else None."""

    piece: HeldPiece
    is_there: bool
    sector_bytes: int
    command: str | None


def refusals(
    config: UnsealConfig, requests: tuple[UnsealRequest, ...], sector_bytes: int, now: int
) -> tuple[str, ...]:
    """Why the operator's limits forbid one more sector now; empty if they do not."""
    found = []
    given_up = now - config.timeout_seconds * 10**9
    under_way = [
        request for request in requests if request.ended_at is None and request.asked_at > given_up
    ]
    if len(under_way) >= config.most_at_once:
        sectors = ", ".join(str(request.sector) for request in under_way)
        found.append(
            f"{len(under_way)} under way (sector {sectors}), and most_at_once is {config.most_at_once}"
        )
    asked = sum(request.bytes for request in requests if request.asked_at > now - _DAY)
    if asked + sector_bytes > config.most_bytes_a_day:
        found.append(
            f"{asked} bytes were asked for within 24 hours, and most_bytes_a_day is {config.most_bytes_a_day}"
        )
    return tuple(found)


class Unsealing:
    """Plans, asks, and looks for the copy. `clock` gives Unix nanoseconds; `address` is the miner actor's text."""

    def __init__(
        self,
        pieces: Pieces,
        requests: UnsealRepository,
        config: UnsealConfig,
        *,
        miner: Unsealer | None,
        sector_bytes: int,
        address: str,
        clock: Callable[[], int],
        look_seconds: float = _LOOK_SECONDS,
    ) -> None:
        self._pieces = pieces
        self._requests = requests
        self._config = config
        self._miner = miner
        self._sector_bytes = sector_bytes
        self._address = address
        self._clock = clock
        self._look_seconds = look_seconds
        self._asking = asyncio.Lock()

    async def plan(self, key: str) -> Plan:
        """What would be done for a piece; nothing is.

        Raises:
            NotFound: it is not held.
        """
        piece = (await self._pieces.get(key)).piece
        there = await self._is_there(piece)
        return Plan(piece, there, self._sector_bytes, self._command(piece))

    def _command(self, piece: HeldPiece) -> str | None:
        if self._miner is not None:
            return None
        return f"curio unseal set-target-state {self._address} {piece.sector} true"

    async def start(self, key: str) -> Work:
        """Ask the miner, if there is one, and begin to look for the copy; what is under way for the piece already is joined.

        Raises:
            NotFound: it is not held.
            RefusedByPolicy: switched off, or over a limit.
            Conflict: the miner's storage has no room.
            LotusError: the miner cannot be asked.
        """
        piece = (await self._pieces.get(key)).piece
        work = self._pieces.work.get(Kind.UNSEAL, piece.key)
        if work is not None and work.is_running:
            return work
        request = None
        if self._miner is not None and not await self._is_there(piece):
            async with self._asking:
                request = await self._ask(self._miner, piece)
        return self._watch(piece, request)

    async def resume(self) -> None:
        """Look for the copies that were asked for before a restart."""
        for request in await self._requests.since(self._clock()):
            try:
                piece = (await self._pieces.get(request.key)).piece
            except SpPluginError as error:
                await self._requests.end(request, self._clock(), str(error))
                continue
            self._watch(piece, request)

    async def _ask(self, miner: Unsealer, piece: HeldPiece) -> UnsealRequest:
        now = self._clock()
        if not self._config.enabled:
            raise RefusedByPolicy(
                _RULE, ["unsealing is off; an operator can set provider.unseal.enabled: true"]
            )
        if (why := self._pieces.work.hold.why_no_start(freezable=False)) is not None:
            raise Conflict(
                f"nothing is unsealed now: {why}; `sp-plugin guard show` says until when"
            )
        requests = await self._requests.since(now - _DAY)
        for request in requests:  # of another piece of the sector: its copy is this one's too
            if request.sector == piece.sector and request.ended_at is None:
                return request
        if reasons := refusals(self._config, requests, self._sector_bytes, now):
            raise RefusedByPolicy(_RULE, reasons)
        await self._check_room(miner)
        request = UnsealRequest(piece.sector, piece.key, self._sector_bytes, now)
        await self._requests.add(request)
        try:
            await miner.unseal(piece.sector)
        except BaseException as error:
            await self._requests.end(request, self._clock(), f"not asked: {error}")
            raise
        log.info("unseal_asked", piece=piece.key, sector=piece.sector)
        return request

    async def _check_room(self, miner: Unsealer) -> None:
        spaces = await miner.storage_spaces()
        free = max((space.available for space in spaces if space.can_store), default=0)
        needed = self._sector_bytes + self._config.keep_free_bytes
        if free < needed:
            raise Conflict(
                f"the miner's storage has {free} bytes free in its roomiest path; the sector's {self._sector_bytes} and "
                f"provider.unseal.keep_free_bytes ({self._config.keep_free_bytes}) are needed: make room first"
            )

    def _watch(self, piece: HeldPiece, request: UnsealRequest | None) -> Work:
        return self._pieces.work.start(
            Kind.UNSEAL, piece.key, lambda report: self._until_there(piece, request, report)
        )

    async def _until_there(
        self, piece: HeldPiece, request: UnsealRequest | None, report: Report
    ) -> PieceCheck:
        started = self._clock() if request is None else request.asked_at
        until = started + self._config.timeout_seconds * 10**9
        while not await self._is_there(piece):
            left = until - self._clock()
            if left <= 0:
                raise await self._gave_up(piece, request)
            report(0, None, "waiting for the unsealed copy")
            await asyncio.sleep(min(self._look_seconds, left / 10**9))
        report(0, None, "verifying")
        verifying = await self._pieces.start_verifying(piece.key)
        check: PieceCheck = await self._pieces.work.wait(verifying)
        if request is not None:
            await self._requests.end(
                request, self._clock(), f"{check.state} {check.detail}".strip()
            )
        if check.state is not CheckState.VERIFIED:
            raise Conflict(f"{piece.key} was unsealed, and is {check.state}: {check.detail}")
        return check

    async def _gave_up(self, piece: HeldPiece, request: UnsealRequest | None) -> SpPluginError:
        text = (
            f"no unsealed copy of sector {piece.sector} after {self._config.timeout_seconds} s: "
            "the miner's log says why, if it was asked"
        )
        if request is not None:
            await self._requests.end(request, self._clock(), text)
        return Conflict(text)

    async def _is_there(self, piece: HeldPiece) -> bool:
        """Whether a source opens this very piece now; a cheap look, no proof."""
        copy = (await self._pieces.copies(piece))[0]
        for place in self._pieces.where.places((copy,)):
            try:
                with await place.open() as reader:
                    if await asyncio.to_thread(reader.read, 1):
                        return True
            except PieceUnavailable as error:
                if error.reason is Unavailable.OFFSET_UNKNOWN and await self._is_found(piece):
                    return True
            except (PieceNotHere, SourceError, OSError):
                continue
        return False

    async def _is_found(self, piece: HeldPiece) -> bool:
        """Whether the piece is in an unsealed file whose order nobody tells."""
        copy = (await self._pieces.copies(piece, search=True))[0]
        return copy.piece.offset is not None
