"""Where a node listens and with which token: `FULLNODE_API_INFO` strings and a Lotus repository's files.

Sources: Lotus `cli/util/apiinfo.go`, `node/repo/fsrepo.go`, `api/docgen` (JWT payload of `auth create-token`).
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from lotus_client.json_text import read_json
from lotus_client.secrets import Secret, redact

__all__ = [
    "ApiInfo",
    "ApiInfoError",
    "NodeKind",
    "RpcVersion",
    "discover_api_info",
    "token_permissions",
]

RpcVersion = Literal["v0", "v1", "v2"]
NodeKind = Literal["fullnode", "miner"]

_MAX_INFO: Final = 8192
_MAX_TOKEN: Final = 8192
_MAX_PERMISSIONS: Final = 64
_SCHEMES: Final = {"http": False, "ws": False, "https": True, "wss": True}
_DNS: Final = frozenset({"dns", "dns4", "dns6"})
_HOST: Final = re.compile(r"[A-Za-z0-9._-]{1,253}")
_RPC_PATH: Final = re.compile(r"/rpc/v[0-9]+$")

_ENVIRONMENT: Final[dict[NodeKind, tuple[str, ...]]] = {
    "fullnode": ("FULLNODE_API_INFO",),
    "miner": ("MINER_API_INFO", "STORAGE_API_INFO"),
}
_REPOSITORY: Final[dict[NodeKind, tuple[tuple[str, ...], str]]] = {
    "fullnode": (("LOTUS_PATH",), ".lotus"),
    "miner": (("LOTUS_MINER_PATH", "LOTUS_STORAGE_PATH"), ".lotusminer"),
}


class ApiInfoError(ValueError):
    """Text that names no node or token; says what is wrong with it and never quotes a token."""


@dataclass(frozen=True, slots=True)
class ApiInfo:
    """A node's address, and the token to show it. Prints without the token.

    `address` is the `http(s)://host:port[/path]` before `/rpc/<version>`.
    """

    address: str
    token: Secret | None = None

    @classmethod
    def parse(cls, text: str) -> ApiInfo:
        """The node named by `TOKEN:ADDRESS` or `ADDRESS`, ADDRESS being a multiaddr or a URL.

        A trailing `/rpc/v1` of a pasted URL is dropped; a `?token=` in it is taken as the token.

        Raises:
            ApiInfoError: no such form, or more than one node (use `parse_many`).
        """
        infos = cls.parse_many(text)
        if len(infos) != 1:
            raise ApiInfoError(f"one node was expected, the text names {len(infos)}")
        return infos[0]

    @classmethod
    def parse_many(cls, text: str) -> tuple[ApiInfo, ...]:
        """The nodes of a comma-separated list, in order; Lotus takes the first that answers.

        Raises:
            ApiInfoError: one of them has no valid form.
        """
        text = text.strip()
        if not text:
            raise ApiInfoError("the API info is empty: expected TOKEN:ADDRESS or ADDRESS")
        if len(text) > _MAX_INFO:
            raise ApiInfoError(f"the API info is longer than {_MAX_INFO} characters")
        return tuple(_parse_one(part.strip()) for part in text.split(","))

    def http_url(self, version: RpcVersion = "v1") -> str:
        """The URL for HTTP POST requests."""
        return f"{self.address}/rpc/{version}"

    def ws_url(self, version: RpcVersion = "v1") -> str:
        """The URL for a WebSocket; the same path as HTTP."""
        return "ws" + self.http_url(version).removeprefix("http")

    def __str__(self) -> str:
        return self.address if self.token is None else f"***:{self.address}"


def discover_api_info(kind: NodeKind, environment: Mapping[str, str], home: Path) -> ApiInfo:
    """The node that Lotus' own tools would use: the environment first, then the repository's files.

    `fullnode`: $FULLNODE_API_INFO, else `api` and `token` in $LOTUS_PATH or ~/.lotus.
    `miner`: $MINER_API_INFO, else those files in $LOTUS_MINER_PATH or ~/.lotusminer.

    Raises:
        ApiInfoError: nothing is found, or what is found cannot be read.
    """
    names = _ENVIRONMENT[kind]
    for name in names:
        if environment.get(name, "").strip():
            try:
                return ApiInfo.parse_many(environment[name])[0]
            except ApiInfoError as error:
                raise ApiInfoError(f"${name}: {error}") from error
    path_names, default = _REPOSITORY[kind]
    chosen = next((environment[name] for name in path_names if environment.get(name)), None)
    repository = Path(chosen).expanduser() if chosen else home / default
    address = _read_repository_file(repository / "api")
    if address is None:
        raise ApiInfoError(
            f"no node is named: set ${names[0]} or ${path_names[0]} "
            f"({repository / 'api'} does not exist; is the daemon running?)"
        )
    try:
        info = ApiInfo.parse(address)
    except ApiInfoError as error:
        raise ApiInfoError(f"{repository / 'api'}: {error}") from error
    token = _read_repository_file(repository / "token")
    return ApiInfo(info.address, _token(token) if token else info.token)


def token_permissions(token: str) -> tuple[str, ...]:
    """The permissions that a Lotus token names, in its order. Its signature is *not* checked.

    Good for an early hint such as "this token cannot push"; the node alone decides.

    Raises:
        ApiInfoError: not a JWT with a list `Allow` of texts.
    """
    parts = token.split(".") if len(token) <= _MAX_TOKEN else []
    if len(parts) != 3:
        raise ApiInfoError("the token is not a JWT (three base64 parts with dots between)")
    try:
        payload = read_json(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError) as error:
        raise ApiInfoError("the token's payload is not base64 of JSON") from error
    allow = payload.get("Allow") if isinstance(payload, dict) else None
    if not isinstance(allow, list) or len(allow) > _MAX_PERMISSIONS:
        raise ApiInfoError("the token's payload has no list `Allow`")
    if not all(isinstance(name, str) for name in allow):
        raise ApiInfoError("the token's `Allow` holds something that is not text")
    return tuple(allow)


def _parse_one(text: str) -> ApiInfo:
    if not text:
        raise ApiInfoError("the list of API infos has an empty entry")
    token: str | None = None
    address = text
    if not text.startswith("/"):
        head, separator, rest = text.partition(":")
        if separator and not rest.startswith("//"):
            token, address = head, rest
    if address.startswith("/"):
        return ApiInfo(_multiaddr_url(address), _token(token))
    url, query_token = _checked_url(address)
    return ApiInfo(url, _token(token) or query_token)


def _token(text: str | None) -> Secret | None:
    if text is None or not text.strip():
        return None
    text = text.strip()
    if len(text) > _MAX_TOKEN or not all(" " < char < "\x7f" for char in text):
        raise ApiInfoError("the token holds spaces or control characters, or is far too long")
    return Secret(text)


def _multiaddr_url(text: str) -> str:
    parts = text.strip("/").split("/")
    if len(parts) < 4 or parts[2] != "tcp":
        raise ApiInfoError(f"{text[:200]!r} is not of the form /ip4/127.0.0.1/tcp/1234/http")
    family, host, _, port, *rest = parts
    if family in ("ip4", "ip6"):
        try:
            address = ipaddress.ip_address(host)
        except ValueError as error:
            raise ApiInfoError(f"{text[:200]!r}: {host!r} is no {family} address") from error
        if f"ip{address.version}" != family:
            raise ApiInfoError(f"{text[:200]!r}: {host!r} is no {family} address")
        host = f"[{address}]" if address.version == 6 else str(address)
    elif family not in _DNS or not _HOST.fullmatch(host):
        raise ApiInfoError(f"{text[:200]!r}: expected /ip4, /ip6 or /dns and a host")
    unknown = [part for part in rest if part not in {*_SCHEMES, "tls"}]
    if unknown:
        raise ApiInfoError(f"{text[:200]!r}: cannot connect over /{unknown[0][:40]}")
    secure = any(part in ("https", "wss", "tls") for part in rest)
    return f"{'https' if secure else 'http'}://{host}:{_port(port, text)}"


def _port(text: str, whole: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) < 65536):
        raise ApiInfoError(f"{whole[:200]!r}: {text[:20]!r} is no port (1..65535)")
    return int(text)


def _checked_url(text: str) -> tuple[str, Secret | None]:
    shown = repr(redact(text)[:200])
    try:
        url = urlsplit(text)
        host, port = url.hostname, url.port
    except ValueError as error:
        raise ApiInfoError(f"{shown} is not a URL: {error}") from error
    if url.scheme not in _SCHEMES:
        raise ApiInfoError(
            f"{shown} is neither a multiaddr (/ip4/…) nor a http, https, ws or wss URL"
        )
    if not host or any(char.isspace() for char in text):
        raise ApiInfoError(f"{shown} names no host")
    if url.username is not None or url.password is not None:
        raise ApiInfoError("a user name or password in the URL is not supported: use TOKEN:ADDRESS")
    query = parse_qsl(url.query, keep_blank_values=True)
    token = next((value for name, value in query if name == "token"), None)
    rest = urlencode([(name, value) for name, value in query if name != "token"])
    if rest or url.fragment:
        raise ApiInfoError(f"{shown}: a query or fragment other than ?token= is not supported")
    if port == 0:
        raise ApiInfoError(f"{shown}: 0 is no port (1..65535)")
    scheme = "https" if _SCHEMES[url.scheme] else "http"
    path = _RPC_PATH.sub("", url.path.rstrip("/"))
    return urlunsplit((scheme, url.netloc, path, "", "")), _token(token)


def _read_repository_file(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_INFO + 1)
        text = raw.decode().strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ApiInfoError(f"{path} cannot be read: {error}") from error
    if len(raw) > _MAX_INFO:
        raise ApiInfoError(f"{path} is longer than {_MAX_INFO} bytes")
    return text
