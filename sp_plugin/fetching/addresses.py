"""Which addresses are of the public internet, and which lead back into somebody's own network.

Sources: IANA IPv4 and IPv6 Special-Purpose Address Registries; RFC 6052 (NAT64), RFC 4291 §2.5.5 (IPv4-mapped); the metadata
services of the large clouds. The lists are written out here because `ipaddress.is_global` differs between Python's releases.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

__all__ = ["why_not_public"]

_V4: Final = tuple(
    (IPv4Network(network), why)
    for network, why in (
        ("0.0.0.0/8", "this network"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared by carriers (CGNAT)"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "a cloud's metadata service"),  # Azure; the others are link-local
        ("169.254.0.0/16", "link-local, where clouds have their metadata services"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved for protocols"),  # with 192.0.0.192, Oracle's metadata
        ("192.0.2.0/24", "for documentation"),
        ("192.31.196.0/24", "AS112"),
        ("192.52.193.0/24", "AMT"),
        ("192.88.99.0/24", "a 6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("192.175.48.0/24", "AS112"),
        ("198.18.0.0/15", "for benchmarks"),
        ("198.51.100.0/24", "for documentation"),
        ("203.0.113.0/24", "for documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
)
_V6: Final = tuple(
    (IPv6Network(network), why)
    for network, why in (
        ("::1/128", "loopback"),
        ("fe80::/10", "link-local"),
        ("fc00::/7", "private"),  # with fd00:ec2::254, AWS's metadata
        ("fec0::/10", "private (site-local)"),
        ("ff00::/8", "multicast"),
        ("64:ff9b:1::/48", "a NAT64 of its own network"),
        ("2001::/23", "reserved for protocols"),  # Teredo, ORCHID, benchmarks …
        ("2001:db8::/32", "for documentation"),
        ("2002::/16", "6to4, which can lead to any IPv4 address"),
        ("3fff::/20", "for documentation"),
        ("2620:4f:8000::/48", "AS112"),
    )
)
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
_NAT64: Final = IPv6Network("64:ff9b::/96")


def why_not_public(address: IPv4Address | IPv6Address) -> str | None:
    """Why the address is not one of the public internet, in a few words; None if it is one.

    An IPv4 address inside an IPv6 one (mapped, or behind the well-known NAT64 prefix) is judged as the IPv4 address.
    """
    if isinstance(address, IPv4Address):
        return next((why for network, why in _V4 if address in network), None)
    if address.ipv4_mapped is not None:
        return why_not_public(address.ipv4_mapped)
    if address in _NAT64:
        return why_not_public(IPv4Address(int(address) & 0xFFFFFFFF))
    for network, why in _V6:
        if address in network:
            return why
    return None if address in _GLOBAL_UNICAST else "reserved"
