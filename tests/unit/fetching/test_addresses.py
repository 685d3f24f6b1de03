"""What is public, by the registries of special addresses, and what an operator can name beside it."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sp_plugin.fetching.addresses import why_not_public
from sp_plugin.fetching.places import HostPattern, PrivatePlace


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("0.0.0.0", "this network"),
        ("10.255.0.1", "private"),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.168.1.1", "private"),
        ("169.254.169.254", "metadata"),
        ("168.63.129.16", "metadata"),
        ("100.64.0.1", "CGNAT"),
        ("100.100.100.200", "CGNAT"),  # Alibaba's metadata
        ("192.0.0.192", "protocols"),  # Oracle's
        ("192.88.99.1", "6to4"),
        ("198.18.0.1", "benchmarks"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.250", "multicast"),
        ("255.255.255.255", "reserved"),
        ("::", "reserved"),
        ("::1", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:169.254.169.254", "metadata"),
        ("::127.0.0.1", "reserved"),  # IPv4-compatible
        ("64:ff9b::7f00:1", "loopback"),
        ("64:ff9b::a9fe:a9fe", "metadata"),
        ("64:ff9b:1::1", "NAT64"),
        ("2002:7f00:1::", "6to4"),
        ("2001::1", "protocols"),  # Teredo
        ("2001:db8::1", "documentation"),
        ("fc00::1", "private"),
        ("fd00:ec2::254", "private"),  # AWS's metadata
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("fec0::1", "site-local"),
        ("ff02::1", "multicast"),
        ("4000::1", "reserved"),
    ],
)
def test_addresses_that_lead_inside_are_told_with_the_reason(text: str, why: str):
    assert why in (why_not_public(ip_address(text)) or "")


@pytest.mark.parametrize(
    "text",
    ["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "192.0.1.1", "169.253.0.1",
     "2606:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8", "64:ff9b::808:808"],
)  # fmt: skip
def test_addresses_of_the_internet_are_public(text: str):
    assert why_not_public(ip_address(text)) is None


@given(st.ip_addresses(v=4))
def test_an_address_is_judged_alike_in_each_of_its_forms(address: IPv4Address):
    mapped = IPv6Address(0xFFFF_0000_0000 | int(address))
    translated = IPv6Address((0x64FF9B << 96) | int(address))
    assert why_not_public(mapped) == why_not_public(translated) == why_not_public(address)


@given(st.ip_addresses())
def test_nothing_that_python_calls_private_is_public_here(address: IPv4Address | IPv6Address):
    if address.is_private or address.is_multicast or address.is_loopback or address.is_link_local:
        assert why_not_public(address) is not None or getattr(address, "ipv4_mapped", None)


@pytest.mark.parametrize(
    ("text", "host", "fits"),
    [
        ("*", "a.example", True),
        ("Data.Example.org", "data.example.org", True),
        ("data.example.org", "data.example.org.", True),
        ("data.example.org", "xdata.example.org", False),
        ("*.example.org", "a.b.example.org", True),
        ("*.example.org", "example.org", False),
        ("*.example.org", "evilexample.org", False),
    ],
)
def test_a_host_pattern_means_names_and_what_is_below_a_domain(text: str, host: str, fits: bool):
    assert HostPattern.parse(text).fits(host) is fits


@pytest.mark.parametrize("text", ["", "https://x.org", "x.org:80", "a*b", "*.", "x/y", "u@x"])
def test_what_is_no_host_pattern_is_refused(text: str):
    with pytest.raises(ValueError, match="host name"):
        HostPattern.parse(text)


def test_private_places_are_networks_addresses_and_names_with_ports():
    ten, address = PrivatePlace.parse("10.0.0.0/8"), ip_address("10.2.3.4")
    assert ten.holds("x", address, 1)
    assert not ten.holds("x", ip_address("11.0.0.1"), 1)
    one = PrivatePlace.parse("10.2.3.4:9000")
    assert one.holds("x", address, 9000)
    assert not one.holds("x", address, 9001)
    name = PrivatePlace.parse("MinIO.lan:9000")
    assert name.holds("minio.lan", address, 9000)
    assert not name.holds("other.lan", address, 9000)
    assert PrivatePlace.parse("[fd00::1]:80").holds("x", ip_address("fd00::1"), 80)
    assert [
        str(PrivatePlace.parse(text)) for text in ("[fd00::1]:80", "a.lan:1", "10.0.0.0/8")
    ] == [
        "[fd00::1]:80",
        "a.lan:1",
        "10.0.0.0/8",
    ]


@pytest.mark.parametrize("text", ["", "minio.lan", "http://x:1", "10.0.0.1/8", "x:99999", "a:1/b"])
def test_what_is_no_place_is_refused(text: str):
    with pytest.raises(ValueError, match="neither a network"):
        PrivatePlace.parse(text)
