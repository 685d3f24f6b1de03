"""Fetching from strangers: what is refused is refused before anything is dialled, and no more comes than allowed."""

from __future__ import annotations

import gzip
import ssl
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from yarl import URL

from sp_plugin.fetching.client import Fetcher, FetchFailed, FetchRefused, _next
from sp_plugin.fetching.places import HostPattern, PrivatePlace
from tests.integration.fetching.web import PUBLIC, Net, endless, redirects, sends, serving


async def body_of(fetcher: Fetcher, url: str, **options: Any) -> bytes:
    async with fetcher.session() as session, session.get(url, **options) as answer:
        return b"".join([chunk async for chunk in answer.chunks()])


async def test_a_file_is_fetched_and_the_name_is_asked_for_once():
    net = Net()
    async with serving(net, file=sends(b"hello")) as url:
        assert await body_of(net.fetcher(), f"{url}/file") == b"hello"
    assert (net.asked, net.dialled) == (["data.example"], [PUBLIC])


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
     "::1", "fe80::1", "fd00:ec2::254", "::ffff:10.0.0.1", "64:ff9b::a9fe:a9fe", "2002:a00:1::"],
)  # fmt: skip
async def test_a_name_that_leads_inside_is_refused_and_nothing_is_dialled(address: str):
    net = Net({"evil.example": [address]})
    async with serving(net, any=sends(b"secret")):
        with pytest.raises(FetchRefused, match="a public address"):
            await body_of(net.fetcher(), "http://evil.example/latest/meta-data")
    assert net.dialled == []


async def test_one_inner_address_among_public_ones_refuses_the_name():
    net = Net({"evil.example": [PUBLIC, "10.0.0.1"]})
    async with serving(net, any=sends(b"secret")):
        with pytest.raises(
            FetchRefused,
            match=r"evil\.example does not lead to a public address .private.*allowed_private",
        ):
            await body_of(net.fetcher(), "http://evil.example/")
    assert net.dialled == []


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://169.254.169.254/latest/meta-data/iam",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.0.0.1/",
        "http://017700000001/",
        "http://127.0.0.1./",
        "http://user:word@data.example/",
        "http://user@data.example/",
        "ftp://data.example/x",
        "file:///etc/passwd",
        "gopher://data.example/",
        "//data.example/x",
        "data.example/x",
        "http:///x",
        "http://data.example:99999/",
        "http://data.example/" + "x" * 5000,
        "",
    ],
)
async def test_urls_that_are_no_public_web_address_are_refused_without_a_look(url: str):
    net = Net()
    async with serving(net, any=sends(b"secret")):
        with pytest.raises(FetchRefused):
            await body_of(net.fetcher(), url)
    assert (net.asked, net.dialled) == ([], [])


async def test_a_name_that_answers_otherwise_the_second_time_leads_nowhere_else():
    class Rebinding(Net):
        async def resolve(self, host: str, port: int):
            await super().resolve(host, port)
            return [PUBLIC] if len(self.asked) == 1 else ["169.254.169.254"]

    net = Rebinding({"evil.example": []})
    async with serving(net, file=sends(b"x"), again=redirects("http://evil.example/file")):
        fetcher = net.fetcher()
        async with fetcher.session() as session:
            for path in ("file", "again"):
                async with session.get(f"http://evil.example/{path}") as answer:
                    assert [chunk async for chunk in answer.chunks()] == [b"x"]
    assert set(net.dialled) == {PUBLIC}
    assert net.asked == ["evil.example"]


@pytest.mark.parametrize(
    "to",
    [
        "http://inner.example/",
        "http://169.254.169.254/latest",
        "http://[::1]:80/",
        "//inner.example/x",
        "http://user:word@other.example/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "",
    ],
)
async def test_each_redirect_is_checked_as_the_first_url_was(to: str):
    net = Net({"inner.example": ["10.0.0.1"], "other.example": [PUBLIC]})
    async with serving(net, go=redirects(to)) as url:
        with pytest.raises(FetchRefused):
            await body_of(net.fetcher(), f"{url}/go")
    assert net.dialled == [PUBLIC]


async def test_redirects_are_followed_relative_and_to_other_hosts_but_not_for_ever():
    net = Net({"other.example": ["1.1.1.1"]})
    handlers = {
        "a": redirects("b", 301),
        "b": redirects("http://other.example/c", 307),
        "c": redirects("/file", 308),
        "file": sends(b"found"),
        "loop": redirects("/loop", 303),
    }
    async with serving(net, **handlers) as url:
        assert await body_of(net.fetcher(), f"{url}/a") == b"found"
        assert net.dialled == [PUBLIC, "1.1.1.1"] or set(net.dialled) == {PUBLIC, "1.1.1.1"}
        with pytest.raises(FetchRefused, match="more than 5 redirects"):
            await body_of(net.fetcher(), f"{url}/loop")


async def test_only_hosts_on_the_list_are_asked_also_by_redirects():
    net = Net({"other.example": [PUBLIC]})
    hosts = (HostPattern("data.example"),)
    async with serving(net, go=redirects("http://other.example/x"), file=sends(b"x")) as url:
        assert await body_of(net.fetcher(), f"{url}/file", hosts=hosts) == b"x"
        with pytest.raises(FetchRefused, match=r"other.example is not among.*allowed_hosts"):
            await body_of(net.fetcher(), f"{url}/go", hosts=hosts)
    assert "other.example" not in net.asked


async def test_a_private_place_that_the_operator_named_is_dialled_and_its_neighbour_is_not():
    net = Net({"minio.lan": ["10.0.0.5"]})
    async with serving(net, any=sends(b"mine")):
        fetcher = net.fetcher(private=(PrivatePlace.parse("minio.lan:9000"),))
        assert await body_of(fetcher, "http://minio.lan:9000/x") == b"mine"
        with pytest.raises(FetchRefused, match="a public address"):
            await body_of(fetcher, "http://minio.lan:9001/x")
    assert net.dialled == ["10.0.0.5"]


async def test_a_length_above_the_limit_is_refused_before_the_body():
    net = Net()
    async with serving(net, file=sends(bytes(2000))) as url:
        with pytest.raises(FetchRefused, match=r"more than the 1000 bytes.*2000 are announced"):
            await body_of(net.fetcher(max_bytes=1000), f"{url}/file")
        assert len(await body_of(net.fetcher(max_bytes=2000), f"{url}/file")) == 2000


async def test_a_body_without_a_length_is_cut_off_at_the_limit():
    net = Net()
    async with serving(net, file=endless()) as url:
        with pytest.raises(FetchRefused, match="more than the 1000000 bytes"):
            await body_of(net.fetcher(max_bytes=1_000_000), f"{url}/file")


async def test_a_body_that_trickles_is_given_up_after_its_time():
    net = Net()
    async with serving(net, file=endless(b"x", 0.05)) as url:
        with pytest.raises(FetchFailed, match=r"more than 0\.5 seconds"):
            await body_of(net.fetcher(timeout_seconds=0.5), f"{url}/file")


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "zstd", "identity, gzip"])
async def test_a_coded_body_is_refused_and_never_unpacked(coding: str):
    net = Net()
    bomb = gzip.compress(bytes(50_000_000), mtime=0)
    async with serving(net, bomb=sends(bomb, Content_Encoding=coding)) as url:
        with pytest.raises(FetchRefused, match="although identity was asked for"):
            await body_of(net.fetcher(max_bytes=1 << 20), f"{url}/bomb")


async def test_a_gzip_file_comes_as_it_lies_there():
    net = Net()
    packed = gzip.compress(bytes(1_000_000), mtime=0)
    async with serving(net, any=sends(packed, Content_Type="application/gzip")) as url:
        assert await body_of(net.fetcher(max_bytes=len(packed)), f"{url}/file.gz") == packed


@pytest.mark.parametrize(("status", "kind"), [(404, FetchRefused), (403, FetchRefused), (206, FetchRefused),
                                              (429, FetchFailed), (500, FetchFailed), (503, FetchFailed)])  # fmt: skip
async def test_other_answers_are_final_or_worth_another_try(status: int, kind: type[Exception]):
    from aiohttp import web

    async def handler(_request: web.Request) -> web.Response:
        return web.Response(status=status)

    net = Net()
    async with serving(net, x=handler) as url:
        with pytest.raises(kind, match=f"HTTP {status}"):
            await body_of(net.fetcher(), f"{url}/x")


async def test_what_cannot_be_reached_says_so(monkeypatch: pytest.MonkeyPatch):
    net = Net({"data.example": [PUBLIC]})
    net.port = 1  # nobody listens there
    with pytest.raises(FetchFailed, match=r"data\.example"):
        await body_of(net.fetcher(), "http://data.example/x")
    with pytest.raises(FetchFailed, match="cannot be resolved"):
        await body_of(net.fetcher(), "http://nowhere.example/x")


async def test_proxies_and_netrc_of_the_environment_have_no_say(
    monkeypatch: pytest.MonkeyPatch, tmp_path
):
    (tmp_path / "netrc").write_text("machine data.example login me password word\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    seen = {}

    async def handler(request):
        from aiohttp import web

        seen.update(request.headers)
        return web.Response(body=b"x")

    net = Net()
    async with serving(net, x=handler) as url:
        assert await body_of(net.fetcher(), f"{url}/x") == b"x"
    assert "Authorization" not in seen
    assert "Cookie" not in seen
    assert seen["Accept-Encoding"] == "identity"


async def test_a_name_in_any_script_is_asked_for_in_its_ascii_form():
    net = Net({"xn--bcher-kva.example": [PUBLIC]})
    async with serving(net, any=sends(b"x")):
        hosts = (HostPattern("xn--bcher-kva.example"),)
        assert await body_of(net.fetcher(), "http://bücher.example/a", hosts=hosts) == b"x"
    assert net.asked == ["xn--bcher-kva.example"]


@pytest.fixture
def nobodys_certificate(tmp_path: Path) -> ssl.SSLContext:
    """A server's side of TLS with a certificate for data.example that it signed itself."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=data.example",
         "-addext", "subjectAltName=DNS:data.example", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


async def test_a_certificate_that_nobody_vouches_for_is_not_accepted(nobodys_certificate):
    net = Net()
    async with serving(net, nobodys_certificate, any=sends(b"x")):
        with pytest.raises(FetchFailed, match="certificate"):
            await body_of(net.fetcher(), "https://data.example/x")


def test_a_redirect_from_https_to_http_is_refused():
    response = SimpleNamespace(status=302, headers={"Location": "http://data.example/x"})
    with pytest.raises(FetchRefused, match="from https to http"):
        _next(URL("https://data.example/a"), response)
    to = _next(
        URL("https://data.example/a"), SimpleNamespace(status=302, headers={"Location": "/b"})
    )
    assert str(to) == "https://data.example/b"
