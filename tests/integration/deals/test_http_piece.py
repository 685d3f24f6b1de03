"""Pieces over HTTP from servers that behave, and from servers that do not."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from deals.car import CarBlocks, CarReader
from deals.commp import CommpHasher
from deals.fr32 import unpadded_length
from deals.piece_cid import encode_piece_cid_v2
from deals.sources import PieceNotHere, PieceUnavailable, Unavailable, make_source
from deals.sources.http_piece import HttpPieceSource
from deals.subtree_roots import RangeMismatch, VerifiedReader, roots_of
from deals.verify import PieceMismatch, PieceVerified, verify_piece
from tests.piece_samples import SamplePiece, held, sample_piece

Answer = Callable[["Handler", bytes], None]


class Handler(BaseHTTPRequestHandler):
    """Answers by the function that the test gave; remembers what was asked."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Range", "")))  # type: ignore[attr-defined]
        self.server.answer(self, self.server.body)  # type: ignore[attr-defined]

    def log_message(self, *_: object) -> None:
        pass

    def ranged(self, body: bytes, *, etag: str = '"piece"', cut: int | None = None) -> None:
        first, last = (self.headers["Range"].removeprefix("bytes=") + "-").split("-")[:2]
        start, stop = int(first), min(int(last) + 1, len(body))
        if start >= len(body):
            self.whole(416, b"")
            return
        part = body[start:stop]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(part)))
        self.send_header("ETag", etag)
        self.end_headers()
        self.wfile.write(part[:cut])
        if cut is not None and cut < len(part):
            self.close_connection = True

    def whole(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def serving(body: bytes, answer: Answer = Handler.ranged) -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.body, server.answer, server.asked = body, answer, []  # type: ignore[attr-defined]
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def source_of(server: ThreadingHTTPServer, pauses: list[float] | None = None) -> HttpPieceSource:
    pauses = [] if pauses is None else pauses
    return HttpPieceSource(f"http://127.0.0.1:{server.server_address[1]}", sleep=pauses.append)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SamplePiece:
    content = hashlib.shake_256(b"over http").digest(1_300_000)
    return sample_piece(tmp_path_factory.mktemp("files"), {"data.bin": content, "a/b.txt": b"b"})


def whole_piece(sample: SamplePiece) -> bytes:
    """As Boost gives it: the zeros up to the piece's size are there."""
    return sample.car.ljust(unpadded_length(sample.commitment.padded_size), b"\0")


async def test_a_piece_of_boost_is_verified(sample: SamplePiece):
    with serving(whole_piece(sample)) as server:
        found = await verify_piece(source_of(server), held(sample))
        assert isinstance(found, PieceVerified)
        assert server.asked[0] == (f"/piece/{sample.commitment.piece_cid}", "bytes=0-65535")


@pytest.mark.parametrize("behind", [0, 5_000_000])
async def test_curio_may_give_the_payload_alone_or_the_length_of_a_larger_piece(
    sample: SamplePiece, behind: int
):
    body = sample.car if not behind else whole_piece(sample) + bytes(behind)
    with serving(body) as server:
        assert isinstance(await verify_piece(source_of(server), held(sample)), PieceVerified)


async def test_other_bytes_are_a_mismatch(sample: SamplePiece):
    wrong = bytearray(whole_piece(sample))
    wrong[99_999] ^= 1
    with serving(bytes(wrong)) as server:
        assert isinstance(await verify_piece(source_of(server), held(sample)), PieceMismatch)


async def test_reading_on_takes_few_requests_and_a_look_at_one_block_few_bytes(sample: SamplePiece):
    with serving(whole_piece(sample)) as server:
        reader = await source_of(server).open(held(sample))
        with reader:
            assert reader.read() == whole_piece(sample)
        assert len(server.asked) <= 7  # windows of 64 KiB, 128 KiB, …
        server.asked.clear()
        reader = await source_of(server).open(held(sample))
        with reader:
            root = CarReader(reader).roots[0]
            assert CarBlocks(reader).get(root)
        assert all(path.startswith("/piece/") for path, _ in server.asked)


def refusing(status: int, **headers: str) -> Answer:
    return lambda handler, _: handler.whole(status, b"no", **headers)


@pytest.mark.parametrize("status", [404, 410])
async def test_what_the_server_does_not_have_is_not_here(sample: SamplePiece, status: int):
    with serving(b"", refusing(status)) as server:
        with pytest.raises(PieceNotHere, match=f"HTTP {status}"):
            await source_of(server).open(held(sample))


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (500, Unavailable.NOT_UNSEALED),
        (400, Unavailable.READ_FAILED),
        (403, Unavailable.READ_FAILED),
        (451, Unavailable.READ_FAILED),
        (302, Unavailable.READ_FAILED),
    ],
)
async def test_a_refusal_says_what_it_means_and_a_redirect_is_not_followed(
    sample: SamplePiece, status: int, reason: Unavailable
):
    with serving(b"", refusing(status, Location="http://127.0.0.1:9/x")) as server:
        with pytest.raises(PieceUnavailable, match=f"HTTP {status}") as caught:
            await source_of(server).open(held(sample))
        assert caught.value.reason is reason
        assert len(server.asked) == 1


async def test_a_busy_server_is_asked_again_when_it_says(sample: SamplePiece):
    def busy_twice(handler: Handler, body: bytes) -> None:
        asked = len(handler.server.asked)  # type: ignore[attr-defined]
        if asked in (2, 3):
            handler.whole(429, b"later", Retry_After="7")
        else:
            handler.ranged(body)

    pauses: list[float] = []
    with serving(whole_piece(sample), busy_twice) as server:
        with await source_of(server, pauses).open(held(sample)) as reader:
            assert reader.read() == whole_piece(sample)
    assert pauses == [7.0, 7.0]


async def test_a_server_that_stays_busy_is_given_up(sample: SamplePiece):
    def busy(handler: Handler, body: bytes) -> None:
        if len(handler.server.asked) == 1:  # type: ignore[attr-defined]
            handler.ranged(body)
        else:
            handler.whole(429, b"later", Retry_After="99999")

    pauses: list[float] = []
    with serving(whole_piece(sample), busy) as server:
        reader = await source_of(server, pauses).open(held(sample))
        with reader, pytest.raises(OSError, match="HTTP 429"):
            reader.read()
    assert pauses == [30.0] * 4


async def test_a_connection_that_breaks_goes_on_where_it_broke(sample: SamplePiece):
    def breaking(handler: Handler, body: bytes) -> None:
        broken = len(handler.server.asked) % 2 == 0  # type: ignore[attr-defined]
        handler.ranged(body, cut=1000 if broken else None)

    with serving(whole_piece(sample), breaking) as server:
        with await source_of(server).open(held(sample)) as reader:
            assert reader.read() == whole_piece(sample)


async def test_a_server_without_ranges_is_read_from_its_start(sample: SamplePiece):
    with serving(whole_piece(sample), lambda handler, body: handler.whole(200, body)) as server:
        assert isinstance(await verify_piece(source_of(server), held(sample)), PieceVerified)
        assert len(server.asked) == 1
        with await source_of(server).open(held(sample)) as reader:
            reader.seek(100_000)
            with pytest.raises(OSError, match="when asked for 100000"):
                reader.read(10)


def lying(handler: Handler, body: bytes) -> None:
    handler.send_response(206)
    handler.send_header("Content-Range", f"bytes 5-{len(body) - 1}/{len(body)}")
    handler.send_header("Content-Length", str(len(body) - 5))
    handler.end_headers()
    handler.wfile.write(body[5:])


def without_range(handler: Handler, body: bytes) -> None:
    handler.whole(206, body)


def zipped(handler: Handler, body: bytes) -> None:
    handler.whole(200, body, Content_Encoding="gzip")


@pytest.mark.parametrize(
    ("answer", "words"),
    [(lying, "answers bytes 5"), (without_range, "does not say which"), (zipped, "HTTP 415")],
)
async def test_an_answer_that_is_not_what_was_asked_is_refused(
    sample: SamplePiece, answer: Answer, words: str
):
    with serving(whole_piece(sample), answer) as server:
        with pytest.raises(PieceUnavailable, match=words):
            await source_of(server).open(held(sample))


async def test_a_piece_that_changes_while_it_is_read_is_not_given_out_mixed(sample: SamplePiece):
    def changing(handler: Handler, body: bytes) -> None:
        handler.ranged(body, etag=f'"{len(handler.server.asked)}"')  # type: ignore[attr-defined]

    with serving(whole_piece(sample), changing) as server:
        reader = await source_of(server).open(held(sample))
        with reader, pytest.raises(OSError, match="changed while it was read"):
            reader.read()


async def test_a_server_that_is_away_is_named(sample: SamplePiece):
    with serving(b"", refusing(404)) as server:
        source = source_of(server)
        assert source.problems() == ()
    with pytest.raises(PieceUnavailable, match="cannot connect"):
        await source.open(held(sample))
    assert "does not answer: cannot connect" in source.problems()[0]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"url": 5},
        {"url": "ftp://x"},
        {"url": "http://u:p@x"},
        {
            "url": "http://x?y",
        },
        {"url": "http://x", "more": 1},
    ],
)
def test_options_that_make_no_source_are_refused(options: dict[str, object]):
    with pytest.raises(ValueError, match=r"url|URL|password"):
        make_source("http", options)


async def test_a_server_that_names_pieces_with_their_length_is_asked_that_way_second(
    sample: SamplePiece,
):
    commitment, length = sample.commitment, len(sample.car)
    name = encode_piece_cid_v2(commitment.root, commitment.padded_size, length)

    def only_by_length(handler: Handler, body: bytes) -> None:
        if handler.path == f"/piece/{name}":
            handler.ranged(body)
        else:
            handler.whole(404, b"no")

    known = replace(held(sample), payload_size=length)
    with serving(sample.car, only_by_length) as server:
        assert isinstance(await verify_piece(source_of(server), known), PieceVerified)
        with pytest.raises(PieceNotHere):
            await source_of(server).open(replace(known, payload_size=None))


async def test_bytes_that_change_between_requests_are_not_given_out(sample: SamplePiece):
    body = bytearray(whole_piece(sample))
    hasher = CommpHasher()
    hasher.update(body)
    roots = roots_of(hasher, sample.commitment.padded_size)
    with serving(b"", lambda handler, _: handler.ranged(bytes(body), etag='"same"')) as server:
        with await source_of(server).open(held(sample)) as source:
            assert source.read(10) == sample.car[:10]
        body[700_000] ^= 1
        source = await source_of(server).open(held(sample))
        with VerifiedReader(source, roots) as reader, pytest.raises(RangeMismatch):
            reader.read(100)
