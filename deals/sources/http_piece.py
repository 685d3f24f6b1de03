"""Pieces over HTTP, as booster-http (port 7777) and Curio's market (port 12310) serve them: `GET {url}/piece/{piece CID}`.

Bytes are unpadded. Boost answers the whole unpadded piece, zeros included; Curio the length of the largest piece with that CID,
or the payload's alone when asked by a CID of version 2. Both serve only what is unsealed, and say 404 or 500 for what is not.
Source: FRC-0066; Boost `cmd/booster-http`; Curio `market/retrieval`.
"""

from __future__ import annotations

import asyncio
import io
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, Final
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError

from deals.fr32 import unpadded_length
from deals.piece_cid import encode_piece_cid_v2, root_of
from deals.seeking import SeekableReader
from deals.sources.base import (
    PieceNotHere,
    PieceUnavailable,
    SourceFailed,
    Unavailable,
    source_kind,
)
from fil_plus.pieces import HeldPiece
from lotus_client.cid import Cid

__all__ = ["HttpPieceSource", "range_of"]

_CONNECT_SECONDS: Final = 10.0
_READ_SECONDS: Final = 60.0
_TRIES: Final = 4
_LONGEST_PAUSE: Final = 30.0
_BUFFER: Final = 1 << 16
# A request asks for so many bytes after a seek, and for twice as many each time that reading goes on behind it: a walk over
# the headers of a CAR costs little, and a whole piece few requests.
_FIRST_WINDOW: Final = 1 << 16
_LARGEST_WINDOW: Final = 64 << 20
_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")


class HttpPieceSource:
    """Reads pieces from one server; implements `PieceSource`. Nothing is sent before the first `open`."""

    def __init__(self, url: str, *, sleep: Callable[[float], None] = time.sleep) -> None:
        """`url` is the server's, without `/piece`.

        Raises:
            ValueError: not an http or https URL, or one with a query, a fragment or credentials.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no http or https URL of a piece server")
        if parts.query or parts.fragment or "@" in parts.netloc:
            raise ValueError(f"{url!r} has a query, a fragment or a password in it")
        self._url = url.rstrip("/")
        self._sleep = sleep

    @property
    def name(self) -> str:
        """The server, as people know it."""
        return self._url

    async def open(self, piece: HeldPiece) -> BinaryIO:
        """See `PieceSource.open`."""
        return await asyncio.to_thread(self.open_now, piece)

    def open_now(self, piece: HeldPiece) -> BinaryIO:
        """`open`, for callers that are in a worker thread already."""
        try:
            return self._open_as(piece.piece_cid, piece)
        except PieceNotHere:
            # a server may know the piece by the name that tells its payload's length too (FRC-0069)
            if piece.payload_size is None:
                raise
            root = root_of(piece.piece_cid)
            other = encode_piece_cid_v2(root, piece.padded_size, piece.payload_size)
            return self._open_as(other, piece)

    def _open_as(self, cid: Cid, piece: HeldPiece) -> BinaryIO:
        reader = _PieceOverHttp(f"{self._url}/piece/{cid}", piece, self._sleep)
        try:
            reader.begin()
        except BaseException:
            reader.close()
            raise
        return io.BufferedReader(reader, _BUFFER)

    def problems(self) -> tuple[str, ...]:
        """Why the server does not answer; empty if it does, whatever it says."""
        try:
            with requests.get(
                f"{self._url}/info",
                timeout=(_CONNECT_SECONDS, _CONNECT_SECONDS),
                stream=True,
                allow_redirects=False,
            ):
                return ()
        except requests.RequestException as error:
            return (f"the piece server at {self._url} does not answer: {_reason(error)}",)


class _Refused(Exception):
    """An answer that is no success; `again` after that many seconds, None if it is final."""

    def __init__(self, status: int, again: float | None) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.again = again


class _PieceOverHttp(SeekableReader):
    """The raw reader: one streamed request at a time, opened where reading goes on."""

    def __init__(self, url: str, piece: HeldPiece, sleep: Callable[[float], None]) -> None:
        super().__init__(unpadded_length(piece.padded_size))
        self._url = url
        self._piece = piece
        self._sleep = sleep
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy is no place for an operator's own pieces
        self._etag: str | None = None
        self._answer: requests.Response | None = None
        self._at = 0  # where the open answer stands
        self._until = 0  # where it ends
        self._open_ended = False  # its length was not announced
        self._window = _FIRST_WINDOW

    def begin(self) -> None:
        """Ask for the first bytes, so that what cannot be read is known now.

        Raises:
            PieceNotHere, PieceUnavailable: as `PieceSource.open`.
        """
        try:
            self._ask()
        except _Refused as refused:
            raise self._error(refused) from None
        except (requests.RequestException, OSError) as error:
            raise PieceUnavailable(
                self._piece.key,
                Unavailable.READ_FAILED,
                f"{self._url}: {_reason(error)}",
                retry_after=0.0,
            ) from error

    def readinto(self, buffer: object) -> int:
        """Some bytes from the position on.

        Raises:
            OSError: the server failed, several times, or its piece changed.
        """
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        if self._position >= self._size or not view:
            return 0
        failure: Exception | None = None
        for attempt in range(_TRIES):
            try:
                return self._read(view)
            except _Refused as refused:
                if refused.again is None:
                    raise OSError(f"{self._url}: {refused}") from None
                failure = refused
                self._drop()
                self._sleep(min(refused.again or 2.0**attempt, _LONGEST_PAUSE))
            except (
                requests.RequestException,
                HTTPError,
                _Short,
            ) as error:  # go on from where it broke off
                failure = error
                self._drop()
                if attempt:
                    self._sleep(2.0**attempt / 4)
        again = failure.again if isinstance(failure, _Refused) else None
        raise SourceFailed(
            f"{self._url}: {_reason(failure)}", retry_after=again or 0.0
        ) from failure

    def _read(self, view: memoryview) -> int:
        if self._answer is None or self._at != self._position or self._at == self._until:
            goes_on = self._answer is not None and self._at == self._position
            self._window = min(self._window * 2, _LARGEST_WINDOW) if goes_on else _FIRST_WINDOW
            self._drop()
            self._ask()
        if self._position >= self._size:  # the answer told that it is shorter
            return 0
        assert self._answer is not None
        data = self._answer.raw.read(min(len(view), self._until - self._at))
        if not data and self._open_ended:
            self._size = self._at
            return 0
        if not data:
            raise _Short(f"the answer broke off at byte {self._at} of {self._until}")
        view[: len(data)] = data
        self._at += len(data)
        self._position = self._at
        return len(data)

    def _ask(self) -> None:
        """Open the answer that begins at the position."""
        stop = min(self._position + self._window, self._size)
        headers = {
            "Accept-Encoding": "identity",
            "Range": f"bytes={self._position}-{stop - 1}",
        }
        answer = self._session.get(
            self._url,
            headers=headers,
            stream=True,
            allow_redirects=False,
            timeout=(_CONNECT_SECONDS, _READ_SECONDS),
        )
        try:
            self._take(answer, stop)
        except BaseException:
            answer.close()
            raise
        self._answer = answer

    def _take(self, answer: requests.Response, stop: int) -> None:
        if answer.status_code == 416:  # behind the server's end: what is missing is zeros
            self._size = self._at = self._until = self._position
            return
        if answer.status_code not in (200, 206):
            raise _Refused(answer.status_code, _again(answer))
        if answer.headers.get("Content-Encoding", "identity") != "identity":
            raise _Refused(415, None)
        etag = answer.headers.get("ETag")
        if self._etag is not None and etag != self._etag:
            raise OSError(f"{self._url} changed while it was read")
        self._etag = etag
        start, end, total = range_of(answer)
        self._open_ended = end is None
        if end is None:
            end = stop = self._size
        if start != self._position or end < start:
            raise OSError(
                f"{self._url} answers bytes {start}..{end} when asked for {self._position}"
            )
        if total is not None:
            self._size = min(self._size, total)
        stop = stop if answer.status_code == 206 else self._size
        self._at, self._until = start, min(end, stop, self._size)

    def _drop(self) -> None:
        if self._answer is not None:
            self._answer.close()
            self._answer = None

    def close(self) -> None:
        """End the request and its connection."""
        if not self.closed:
            self._drop()
            self._session.close()
        super().close()

    def _error(self, refused: _Refused) -> PieceNotHere | PieceUnavailable:
        key, status = self._piece.key, refused.status
        if status in (404, 410):
            return PieceNotHere(key, f"{self._url}: HTTP {status}; unknown there, or only sealed")
        if status == 500:
            text = f"{self._url}: HTTP 500, which servers also say of a piece that is only sealed"
            return PieceUnavailable(key, Unavailable.NOT_UNSEALED, text)
        text = f"{self._url}: HTTP {status}" + (", too many requests" if status == 429 else "")
        return PieceUnavailable(key, Unavailable.READ_FAILED, text, retry_after=refused.again)


class _Short(Exception):
    """Fewer bytes came than were announced."""


def range_of(answer: requests.Response) -> tuple[int, int | None, int | None]:
    """First byte, end and whole length of an answer, as far as it says.

    Raises:
        OSError: it is a part and does not say which.
    """
    if answer.status_code == 200:  # the range was ignored: only of use from the start
        length = answer.headers.get("Content-Length", "")
        total = int(length) if length.isdecimal() and len(length) < 20 else None
        return 0, total, total
    match = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    if match is None:
        raise OSError(f"{answer.url} answers a range and does not say which")
    first, last, total_text = match.groups()
    return int(first), int(last) + 1, None if total_text == "*" else int(total_text)


def _again(answer: requests.Response) -> float | None:
    """When it may be asked again: after 429 and 503, in the seconds they name (0: as the caller likes)."""
    if answer.status_code not in (429, 502, 503, 504):
        return None
    after = answer.headers.get("Retry-After", "")
    return float(after) if after.isdecimal() and len(after) < 6 else 0.0


def _reason(error: Exception | None) -> str:
    """What failed, without the noise that `requests` wraps around it."""
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.ConnectionError):
        return "cannot connect, or the connection broke"
    return str(error)


@source_kind("http")
def _from_options(options: Mapping[str, Any]) -> HttpPieceSource:
    """Option: `url` of a booster-http or Curio market server, such as http://127.0.0.1:7777."""
    if set(options) != {"url"} or not isinstance(options["url"], str):
        raise ValueError("http source: give 'url', and nothing else")
    return HttpPieceSource(options["url"])
