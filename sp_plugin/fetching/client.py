"""One GET at a time of a URL that a stranger named: only to addresses that were checked, and never more than allowed.

The name is resolved here, once; aiohttp is given the checked addresses and nothing else, and before a socket is made its
address is compared again with them. So a name that answers differently the second time (DNS rebinding) changes nothing.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Final

import aiohttp
import structlog
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from sp_plugin.executors.pause import Pause, time_limit
from sp_plugin.fetching.addresses import why_not_public
from sp_plugin.fetching.places import HostPattern, PrivatePlace, host_is_allowed, is_ip_literal

__all__ = [
    "Answer",
    "FetchFailed",
    "FetchRefused",
    "FetchRules",
    "Fetcher",
    "Session",
    "checked_url",
]

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_PASSING: Final = frozenset({408, 425, 429})  # with all of 5xx: trying again may help
_CONNECT_SECONDS: Final = 15.0
_SILENT_SECONDS: Final = 60.0
_CHUNK: Final = 1 << 16
_MAX_URL: Final = 4096
_MAX_HEADER: Final = 8190
# What some systems take for an IPv4 address: 127.1, 2130706433, 0x7f.1 (inet_aton).
_NUMERIC: Final = re.compile(r"(0[xX][0-9a-fA-F]*|[0-9]+)")

log = structlog.get_logger()

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
MakeSocket = Callable[[Any], socket.socket]


class FetchRefused(Exception):
    """It may not be fetched, or cannot be; the message says why and what to do. Trying again changes nothing."""


class FetchFailed(Exception):
    """It could not be fetched this time: no answer, a busy server, a connection that broke."""


@dataclass(frozen=True, slots=True)
class FetchRules:
    """What may be fetched. `hosts` are for URLs of jobs; `private` are the addresses that may be dialled though not public."""

    hosts: tuple[HostPattern, ...] = (HostPattern("*"),)
    private: tuple[PrivatePlace, ...] = ()
    max_bytes: int = 1 << 30
    timeout_seconds: float = 600.0
    max_redirects: int = 5


async def resolve_name(host: str, port: int) -> Sequence[str]:
    """The addresses of a name, by the system's resolver."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


def _make_socket(address: Any) -> socket.socket:
    family, kind, protocol, _, _ = address
    return socket.socket(family=family, type=kind, proto=protocol)


def checked_url(text: str) -> URL:
    """The URL, if it is one that can be fetched.

    Raises:
        FetchRefused: not http or https, credentials in it, no host, a number where a host should be, or too long.
    """
    if len(text) > _MAX_URL:
        raise FetchRefused(f"the URL is longer than {_MAX_URL} characters")
    try:
        url = URL(text.strip())
        host, port = url.raw_host, url.port
    except (ValueError, TypeError) as error:
        raise FetchRefused(f"{text[:200]!r} is not a URL: {error}") from error
    if url.scheme not in ("http", "https") or not host or port is None:
        raise FetchRefused(f"{text[:200]!r} is not an http or https URL with a host")
    if url.user is not None or url.password is not None:
        raise FetchRefused("the URL has a user or password in it; a job's inputs are public")
    if not is_ip_literal(host) and _NUMERIC.fullmatch(host.rstrip(".").rpartition(".")[2]):
        raise FetchRefused(f"{host} is no host name; write an address as 192.0.2.1")
    return url.with_fragment(None)


@dataclass(slots=True)
class Answer:
    """A response of status 200 whose body was not read yet. `url` is where it came from, after redirects."""

    url: URL
    content_type: str
    _response: aiohttp.ClientResponse
    _max_bytes: int

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes, undecoded.

        Raises:
            FetchRefused: it is larger than allowed.
            FetchFailed: the connection broke or was too slow.
        """
        size = 0
        try:
            async for chunk in self._response.content.iter_chunked(_CHUNK):
                size += len(chunk)
                if size > self._max_bytes:
                    raise FetchRefused(_too_large(self.url, self._max_bytes))
                yield chunk
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise FetchFailed(f"{_shown(self.url)}: {_reason(error)}") from error


class _CheckedResolver(AbstractResolver):
    """Asks for each name once, and gives aiohttp only addresses that may be dialled."""

    def __init__(self, resolve: Resolve, rules: FetchRules) -> None:
        self._resolve = resolve
        self._rules = rules
        self._known: dict[tuple[str, int], Sequence[str]] = {}

    def is_checked(self, address: str, port: int) -> bool:
        """Whether a socket to there may be made."""
        wanted = ip_address(address)
        return any(
            of == port and wanted in map(ip_address, found)
            for (_, of), found in self._known.items()
        )

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        addresses = await self.addresses(host, port)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def addresses(self, host: str, port: int) -> Sequence[str]:
        """Every address of the host; one that may not be dialled refuses them all.

        Raises:
            FetchRefused: which one, and why.
            FetchFailed: the name has no address now.
        """
        if (host, port) in self._known:
            return self._known[host, port]
        try:
            found = [host] if is_ip_literal(host) else await self._resolve(host, port)
        except OSError as error:
            raise FetchFailed(f"{host} cannot be resolved: {error}") from error
        if not found:
            raise FetchFailed(f"{host} has no address")
        for text in found:
            if why := self._why_not(host, text, port):
                raise FetchRefused(why)
        self._known[host, port] = found
        return found

    def _why_not(self, host: str, text: str, port: int) -> str | None:
        address = ip_address(text)
        why = why_not_public(address)
        if why is None or any(place.holds(host, address, port) for place in self._rules.private):
            return None
        # the address itself is for the operator's log: who asks must not learn names of this network by it
        log.warning("address_refused", host=host, address=text, reason=why)
        name = f"{text} is not" if host == text else f"{host} does not lead to"
        return (
            f"{name} a public address ({why}): nothing is fetched from there. "
            "An operator can name it in jobs.fetch.allowed_private"
        )

    async def close(self) -> None:
        """Nothing is held."""


@dataclass(slots=True)
class Session:
    """Requests that share connections; made by `Fetcher.session`."""

    _rules: FetchRules
    _client: aiohttp.ClientSession
    _resolver: _CheckedResolver
    pause: Pause

    @property
    def seconds(self) -> float:
        """How long one request may take."""
        return self._rules.timeout_seconds

    @asynccontextmanager
    async def get(
        self,
        url: str,
        *,
        accept: str = "*/*",
        hosts: Sequence[HostPattern] | None = None,
        max_bytes: int | None = None,
        seconds: float | None = None,
    ) -> AsyncIterator[Answer]:
        """The answer to a GET, after redirects, of which each is checked as the first URL was.

        `hosts` are those that may be asked, also by a redirect; None for any. At most `max_bytes` are read, and all of it takes
        at most `seconds`; both are the rules' if not given.

        Raises:
            FetchRefused: a URL, host, address or answer that is not accepted; nothing was dialled for one that is refused.
            FetchFailed: trying again may help.
        """
        most = self._rules.max_bytes if max_bytes is None else max_bytes
        seconds = self._rules.timeout_seconds if seconds is None else seconds
        try:
            async with time_limit(seconds, self.pause):
                at = checked_url(url)
                for _ in range(self._rules.max_redirects + 1):
                    response = await self._ask(at, accept, hosts)
                    try:
                        if response.status not in _REDIRECTS:
                            yield _checked_answer(at, response, most)
                            return
                        at = _next(at, response)
                    finally:
                        response.close()
                raise FetchRefused(f"{_shown(at)}: more than {self._rules.max_redirects} redirects")
        except TimeoutError as error:
            raise FetchFailed(f"{url[:200]} took more than {seconds:g} seconds") from error

    async def _ask(
        self, url: URL, accept: str, hosts: Sequence[HostPattern] | None
    ) -> aiohttp.ClientResponse:
        host, port = str(url.raw_host), int(url.port or 0)
        if hosts is not None and not host_is_allowed(host, hosts):
            raise FetchRefused(f"{host} is not among the hosts of jobs.fetch.allowed_hosts")
        # An address in place of a name never reaches aiohttp's resolver, so it is asked here for both.
        await self._resolver.addresses(host, port)
        try:
            return await self._client.get(
                url,
                allow_redirects=False,
                headers={"Accept": accept, "Accept-Encoding": "identity"},
            )
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise FetchFailed(f"{_shown(url)}: {_reason(error)}") from error


@dataclass(frozen=True, slots=True)
class Fetcher:
    """Fetches by rules. `resolve` gives a name's addresses, `make_socket` the socket for one of them.

    While `pause` is on, who writes large bodies to the disk stands still, and their time does.
    """

    rules: FetchRules = field(default_factory=FetchRules)
    resolve: Resolve = resolve_name
    make_socket: MakeSocket = _make_socket
    pause: Pause = field(default_factory=Pause)

    @asynccontextmanager
    async def session(self, *private: PrivatePlace) -> AsyncIterator[Session]:
        """A session for related requests; in it the places `private` may be dialled, too."""
        rules = self.rules if not private else _with_private(self.rules, private)
        resolver = _CheckedResolver(self.resolve, rules)

        def make_socket(address: Any) -> socket.socket:
            where = address[4]
            if not resolver.is_checked(str(where[0]), int(where[1])):
                raise OSError(f"{where[0]} was not checked")
            return self.make_socket(address)

        connector = aiohttp.TCPConnector(
            resolver=resolver, use_dns_cache=False, socket_factory=make_socket, limit=8
        )
        async with aiohttp.ClientSession(
            connector=connector,
            auto_decompress=False,
            trust_env=False,  # neither a proxy nor a .netrc has a say
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "sp-plugin"},
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENT_SECONDS
            ),
            max_line_size=_MAX_HEADER,
            max_field_size=_MAX_HEADER,
        ) as client:
            yield Session(rules, client, resolver, self.pause)


def _with_private(rules: FetchRules, private: tuple[PrivatePlace, ...]) -> FetchRules:
    return FetchRules(
        rules.hosts,
        (*rules.private, *private),
        rules.max_bytes,
        rules.timeout_seconds,
        rules.max_redirects,
    )


def _checked_answer(url: URL, response: aiohttp.ClientResponse, most: int) -> Answer:
    status = response.status
    if status in _PASSING or status >= 500:
        raise FetchFailed(f"{_shown(url)}: HTTP {status}")
    if status != 200:
        raise FetchRefused(f"{_shown(url)}: HTTP {status}")
    coding = response.headers.get("Content-Encoding", "").strip().lower()
    if coding not in ("", "identity"):
        raise FetchRefused(
            f"{_shown(url)} is sent as {coding[:40]!r} although identity was asked for; what it unpacks to is not bounded, "
            "so it is not taken. Offer the file itself"
        )
    if response.content_length is not None and response.content_length > most:
        raise FetchRefused(f"{_too_large(url, most)} ({response.content_length} are announced)")
    return Answer(url, response.content_type, response, most)


def _next(at: URL, response: aiohttp.ClientResponse) -> URL:
    location = response.headers.get("Location", "")
    if not location:
        raise FetchRefused(f"{_shown(at)}: HTTP {response.status} without a Location")
    try:
        to = at.join(URL(location))
    except (ValueError, TypeError) as error:
        raise FetchRefused(f"{_shown(at)} redirects to what is no URL: {error}") from error
    to = checked_url(str(to))
    if at.scheme == "https" and to.scheme == "http":
        raise FetchRefused(f"{_shown(at)} redirects from https to http ({_shown(to)}): refused")
    return to


def _too_large(url: URL, most: int) -> str:
    return f"{_shown(url)} has more than the {most} bytes that may be fetched"


def _shown(url: URL) -> str:
    return str(url)[:200]


def _reason(error: BaseException) -> str:
    return str(error)[:300] or type(error).__name__
