"""Pieces in a miner's unsealed sector files over its `/remote` HTTP tree, for operators who allow the admin token it needs.

`GET /remote/unsealed/s-t0M-N` with byte ranges over the *padded* file, trailer and all; a sector that is not there is a 500 without
a body. The same token could delete sectors, so a read-only mount (`storage_path`) or an HTTP piece server is the better choice; this
source sends GET and nothing else. Source: Lotus `storage/paths/http_handler.go`, `storage/sealer/partialfile/partialfile.go`.
"""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

import requests
from urllib3.exceptions import HTTPError

from deals.fr32 import check_padded_piece_size, padded_range, unpad_quads, unpadded_length
from deals.seeking import SeekableReader
from deals.sources.base import (
    PieceNotHere,
    PieceUnavailable,
    SourceFailed,
    Unavailable,
    source_kind,
)
from fil_plus.pieces import HeldPiece
from lotus_client.api_info import ApiInfo, ApiInfoError
from lotus_client.bitfield import MAX_ENCODED_SIZE, BitField, BitFieldError

__all__ = ["MinerRemoteSource"]

_TIMEOUT: Final = (10.0, 60.0)
_FIRST_WINDOW: Final = 1 << 16
_LARGEST_WINDOW: Final = 8 << 20
_LENGTH_FIELD: Final = 4
_MOST_TOKEN: Final = 1 << 14
_CONTENT_RANGE: Final = re.compile(r"bytes (?:(\d{1,19})-(\d{1,19})|\*)/(\d{1,19})")
_BUSY: Final = (429, 502, 503, 504)


class MinerRemoteSource:
    """Reads pieces from one miner's `/remote`; implements `PieceSource`. Nothing is sent before the first `open`."""

    def __init__(self, api_info: ApiInfo, sector_size: int) -> None:
        """Raises ValueError without a token, or for a sector size that is not a power of two."""
        if api_info.token is None:
            raise ValueError("the miner's /remote needs its admin token; the API info has none")
        self._api = api_info
        self._sector_size = check_padded_piece_size(sector_size)

    @property
    def name(self) -> str:
        """The miner, as people know it."""
        return f"{self._api.address}/remote"

    async def open(self, piece: HeldPiece) -> BinaryIO:
        """See `PieceSource.open`."""
        return await asyncio.to_thread(self.open_now, piece)

    def open_now(self, piece: HeldPiece) -> BinaryIO:
        """`open`, for callers that are in a worker thread already."""
        if piece.offset is None:
            raise PieceUnavailable(
                piece.key, Unavailable.OFFSET_UNKNOWN, "its place in the sector is not known yet"
            )
        file = _RemoteFile(self._api, piece)
        try:
            self._check_allocated(file, piece, piece.offset)
        except BaseException:
            file.close()
            raise
        return io.BufferedReader(_RemotePiece(file, piece.offset, piece.padded_size), 1 << 16)

    def _check_allocated(self, file: _RemoteFile, piece: HeldPiece, offset: int) -> None:
        end = offset + piece.padded_size
        allocated = file.allocated(self._sector_size)
        if end > self._sector_size or not allocated.covers(offset, end):
            text = f"{file.url}: padded bytes {offset}..{end} are not unsealed there"
            raise PieceUnavailable(piece.key, Unavailable.NOT_UNSEALED, text)

    def problems(self) -> tuple[str, ...]:
        """Why the miner does not answer, or refuses the token."""
        try:
            with _session(self._api) as session:
                # An unknown storage path is a 404 to whoever may ask.
                status = session.get(
                    f"{self.name}/stat/-", timeout=(10.0, 10.0), allow_redirects=False
                ).status_code
        except requests.RequestException as error:
            return (f"the miner at {self._api.address} does not answer: {type(error).__name__}",)
        if status in (401, 403):
            return (f"the miner at {self._api.address} refuses the token for /remote: {_TOKEN}",)
        return ()


_TOKEN: Final = "it takes one with `admin`, from the miner's repository or `lotus-miner auth create-token --perm admin`"  # noqa: S105  words


def _session(api: ApiInfo) -> requests.Session:
    assert api.token is not None
    session = requests.Session()
    session.trust_env = False  # neither a proxy nor a .netrc may see or change the token
    session.headers["Authorization"] = f"Bearer {api.token.reveal()}"
    session.headers["Accept-Encoding"] = "identity"
    return session


class _RemoteFile:
    """One sector's file on the miner: ranges of it, as long as it stays the same file."""

    def __init__(self, api: ApiInfo, piece: HeldPiece) -> None:
        sector = f"s-t0{int(piece.provider)}-{int(piece.sector)}"
        self.url = f"{api.address}/remote/unsealed/{sector}"
        self._piece = piece
        self._session = _session(api)
        self._identity: tuple[str | None, str | None, int] | None = None

    def allocated(self, sector_size: int) -> BitField:
        """Which padded bytes are there, by the file's trailer.

        Raises:
            PieceNotHere, PieceUnavailable: there is no file, or it is not what it should be.
        """
        key = self._piece.key
        try:
            trailer, total = self._get(sector_size, sector_size + MAX_ENCODED_SIZE + _LENGTH_FIELD)
        except SourceFailed as error:
            raise PieceUnavailable(
                key, Unavailable.READ_FAILED, str(error), retry_after=error.retry_after
            ) from error
        except OSError as error:
            raise PieceUnavailable(key, Unavailable.READ_FAILED, str(error)) from error
        if total == sector_size:
            return BitField(((0, sector_size),))
        length = int.from_bytes(trailer[-_LENGTH_FIELD:], "little")
        if total < sector_size or sector_size + length + _LENGTH_FIELD != total:
            text = f"{self.url} has {total} bytes, which its trailer does not explain"
            raise PieceUnavailable(key, Unavailable.CORRUPT, text)
        try:
            return BitField.decode(trailer[:-_LENGTH_FIELD])
        except BitFieldError as error:
            text = f"{self.url}: the allocation bitmap is corrupt: {error}"
            raise PieceUnavailable(key, Unavailable.CORRUPT, text) from error

    def padded(self, start: int, stop: int) -> bytes:
        """The padded bytes of a range.

        Raises:
            OSError: the miner fails, or the file changed.
        """
        data, _ = self._get(start, stop)
        if len(data) != stop - start:
            raise OSError(f"{self.url}: {len(data)} bytes came, {stop - start} were asked for")
        return data

    def _get(self, start: int, stop: int) -> tuple[bytes, int]:
        try:
            with self._session.get(
                self.url,
                headers={"Range": f"bytes={start}-{stop - 1}"},
                timeout=_TIMEOUT,
                stream=True,
                allow_redirects=False,
            ) as answer:
                return self._take(answer, start, stop)
        except (requests.RequestException, HTTPError) as error:
            raise SourceFailed(f"{self.url}: {type(error).__name__}") from error

    def _take(self, answer: requests.Response, start: int, stop: int) -> tuple[bytes, int]:
        status = answer.status_code
        if status in (401, 403):
            raise OSError(f"{self.url}: the miner refuses the token: {_TOKEN}")
        if status in (404, 500):
            raise PieceNotHere(
                self._piece.key, f"{self.url}: HTTP {status}: no unsealed file there"
            )
        if status in _BUSY:
            after = answer.headers.get("Retry-After", "")
            asked = float(after) if after.isdecimal() and len(after) < 6 else 0.0
            raise SourceFailed(f"{self.url}: HTTP {status}", retry_after=asked)
        match = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if status not in (206, 416) or match is None:
            raise OSError(f"{self.url} does not answer byte ranges (HTTP {status})")
        first, last, total = match.groups()
        self._same(answer, int(total))
        if status == 416:
            return b"", int(total)
        if int(first or -1) != start or int(last) >= stop:
            raise OSError(f"{self.url} answers bytes {first}..{last} when asked for {start}")
        return answer.raw.read(stop - start), int(total)

    def _same(self, answer: requests.Response, total: int) -> None:
        found = (answer.headers.get("Last-Modified"), answer.headers.get("ETag"), total)
        if answer.status_code == 416:  # servers leave the others out
            found = self._identity or (None, None, total)
            if found[2] == total:
                return
        if self._identity not in (None, found):
            raise OSError(f"{self.url} was changed while it was read; read it again")
        self._identity = found

    def close(self) -> None:
        self._session.close()


class _RemotePiece(SeekableReader):
    """The raw reader: fetches whole quads around what is asked, more at a time while reading goes on."""

    def __init__(self, file: _RemoteFile, offset: int, padded_size: int) -> None:
        super().__init__(unpadded_length(padded_size))
        self._file = file
        self._offset = offset
        self._window = _FIRST_WINDOW
        self._kept = b""  # unpadded bytes from `_from` on
        self._from = 0

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        if self._position >= self._size or not view:
            return 0
        if not self._from <= self._position < self._from + len(self._kept):
            self._fetch()
        part = memoryview(self._kept)[self._position - self._from :][: len(view)]
        view[: len(part)] = part
        self._position += len(part)
        return len(part)

    def _fetch(self) -> None:
        goes_on = bool(self._kept) and self._position == self._from + len(self._kept)
        self._window = min(self._window * 2, _LARGEST_WINDOW) if goes_on else _FIRST_WINDOW
        stop = min(self._position + self._window, self._size)
        first, last = padded_range(self._position, stop)
        try:
            data = self._file.padded(self._offset + first, self._offset + last)
        except PieceNotHere as error:  # it was there when the piece was opened
            raise OSError(str(error)) from error
        self._kept, self._from = unpad_quads(data), unpadded_length(first)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


_OPTIONS: Final = {"api_info_file", "allow_admin_token", "sector_size"}


@source_kind("miner")
def _from_options(options: Mapping[str, Any]) -> MinerRemoteSource:
    """Options: `api_info_file` (MINER_API_INFO: TOKEN:ADDRESS), `allow_admin_token: true`, and `sector_size` (bytes)."""
    problems = [f"unknown option {name!r}" for name in sorted(set(options) - _OPTIONS, key=str)]
    if options.get("allow_admin_token") is not True:
        problems.append(
            "it needs the miner's admin token, which could also delete sectors: mount the storage paths read-only instead, "
            "or say allow_admin_token: true"
        )
    file, sector_size = options.get("api_info_file"), options.get("sector_size")
    if not isinstance(file, str) or not file:
        problems.append("'api_info_file' is a file with a MINER_API_INFO string")
    if not isinstance(sector_size, int) or isinstance(sector_size, bool):
        problems.append("'sector_size' is a number of bytes")
    if problems:
        raise ValueError("miner source: " + "; ".join(problems))
    return MinerRemoteSource(_read_api_info(Path(str(file))), int(str(sector_size)))


def _read_api_info(file: Path) -> ApiInfo:
    try:
        if file.stat().st_mode & 0o077:
            raise ValueError(f"miner source: {file} can be read by others; run: chmod 600 {file}")
        with file.open("rb") as opened:
            return ApiInfo.parse(opened.read(_MOST_TOKEN).decode().strip())
    except OSError as error:
        raise ValueError(f"miner source: {file} cannot be read: {error.strerror}") from error
    except (ApiInfoError, UnicodeDecodeError) as error:
        raise ValueError(f"miner source: {file}: {error}") from error
