"""Places that an operator names: hosts from which jobs may fetch, and addresses of his own network that may be reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Self
from urllib.parse import urlsplit

__all__ = ["HostPattern", "PrivatePlace", "host_is_allowed", "is_ip_literal"]


@dataclass(frozen=True, slots=True)
class HostPattern:
    """A host name, or `*.` and a domain for all names below it, or `*` for any. Compared without case."""

    text: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """The pattern in a text.

        Raises:
            ValueError: a URL, a port, or a star in another place.
        """
        name = text.strip().lower().rstrip(".")
        rest = name.removeprefix("*.") if name != "*" else "x"
        if not rest or text.strip() == "*." or any(character in rest for character in "*/:@?# "):
            raise ValueError(f"{text[:80]!r} is not a host name, *.domain or *")
        return cls(name)

    def __str__(self) -> str:
        return self.text

    def fits(self, host: str) -> bool:
        """Whether the host is meant."""
        host = host.lower().rstrip(".")
        if self.text == "*":
            return True
        if self.text.startswith("*."):
            return host.endswith(self.text[1:])
        return host == self.text


@dataclass(frozen=True, slots=True)
class PrivatePlace:
    """A network, an address or a name, and its port (None: any), that may be dialled although it is not public."""

    where: IPv4Network | IPv6Network | str
    port: int | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """`10.0.0.0/8`, `10.0.0.5:9000`, `[fd00::5]:9000`, `minio.lan:9000`; a name needs its port.

        Raises:
            ValueError: none of these.
        """
        text = text.strip()
        try:
            return cls(ip_network(text), None)
        except ValueError:
            pass
        try:
            parts = urlsplit(f"//{text}")
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        if not host or port is None or parts.path or parts.query or "@" in parts.netloc:
            raise ValueError(f"{text[:80]!r} is neither a network, as 10.0.0.0/8, nor host:port")
        if is_ip_literal(host):
            return cls(ip_network(host), port)
        return cls(host.lower(), port)

    @classmethod
    def of_url(cls, url: str) -> Self:
        """The place that the URL names, which its own scheme gives a port if it has none."""
        parts = urlsplit(url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        return cls.parse(f"{host}:{parts.port or (443 if parts.scheme == 'https' else 80)}")

    def __str__(self) -> str:
        if self.port is None:
            return str(self.where)
        host = self.where if isinstance(self.where, str) else str(self.where.network_address)
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    def holds(self, host: str, address: IPv4Address | IPv6Address, port: int) -> bool:
        """Whether this place is meant by an address that the name `host` has."""
        if self.port not in (None, port):
            return False
        if isinstance(self.where, str):
            return host.lower().rstrip(".") == self.where
        return address in self.where


def host_is_allowed(host: str, patterns: Sequence[HostPattern]) -> bool:
    """Whether one of the patterns fits."""
    return any(pattern.fits(host) for pattern in patterns)


def is_ip_literal(host: str) -> bool:
    """Whether the host is an address and not a name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
