"""API info strings, repository files, tokens, and what never shows in text."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotus_client.api_info import ApiInfo, ApiInfoError, discover_api_info, token_permissions
from lotus_client.secrets import Secret, redact


def jwt(payload: object) -> str:
    parts = [json.dumps({"alg": "HS256"}), json.dumps(payload), "signature"]
    return ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts)


TOKEN = jwt({"Allow": ["read", "write"]})


@pytest.mark.parametrize(
    ("text", "http", "ws"),
    [
        ("/ip4/127.0.0.1/tcp/1234/http", "http://127.0.0.1:1234/rpc/v1", "ws://127.0.0.1:1234/rpc/v1"),
        ("/ip6/::1/tcp/1234/http", "http://[::1]:1234/rpc/v1", "ws://[::1]:1234/rpc/v1"),
        ("/dns/lotus/tcp/443/wss", "https://lotus:443/rpc/v1", "wss://lotus:443/rpc/v1"),
        ("/dns4/lotus/tcp/443/tls/http", "https://lotus:443/rpc/v1", "wss://lotus:443/rpc/v1"),
        ("http://lotus:1234", "http://lotus:1234/rpc/v1", "ws://lotus:1234/rpc/v1"),
        ("ws://lotus:1234/", "http://lotus:1234/rpc/v1", "ws://lotus:1234/rpc/v1"),
        ("https://api.example/rpc/v0", "https://api.example/rpc/v1", "wss://api.example/rpc/v1"),
        ("https://proxy.example/lotus", "https://proxy.example/lotus/rpc/v1", "wss://proxy.example/lotus/rpc/v1"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("token", [None, TOKEN])
def test_an_api_info_gives_its_urls_and_its_token(
    text: str, http: str, ws: str, token: str | None
) -> None:
    info = ApiInfo.parse(f"{token}:{text}" if token else text)
    assert (info.http_url("v1"), info.ws_url("v1")) == (http, ws)
    assert (info.token.reveal() if info.token else None) == token
    assert TOKEN not in f"{info} {info!r}"


def test_another_version_is_another_path() -> None:
    assert ApiInfo.parse("http://h:1").http_url("v2") == "http://h:1/rpc/v2"


def test_a_token_in_the_query_is_the_token_and_leaves_the_url() -> None:
    info = ApiInfo.parse(f"http://h:1/?token={TOKEN}")
    assert info.http_url() == "http://h:1/rpc/v1"
    assert info.token == Secret(TOKEN)


def test_several_nodes_are_a_list() -> None:
    infos = ApiInfo.parse_many("a:/ip4/10.0.0.1/tcp/1/http, http://b:2")
    assert [info.address for info in infos] == ["http://10.0.0.1:1", "http://b:2"]
    with pytest.raises(ApiInfoError, match="names 2"):
        ApiInfo.parse("http://a:1,http://b:2")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        (",", "empty entry"),
        ("hello", "neither"),
        ("token:hello", "neither"),
        ("ftp://h:1", "neither"),
        ("http://", "no host"),
        ("http://h:99999", "not a URL"),
        ("http://user:secretpw@h:1", "user name"),
        ("http://h:1/?x=1", "query"),
        ("/ip4/300.0.0.1/tcp/1/http", "no ip4"),
        ("/ip4/::1/tcp/1/http", "no ip4"),
        ("/ip4/127.0.0.1/udp/1/quic", "form"),
        ("/ip4/127.0.0.1/tcp/0/http", "port"),
        ("/ip4/127.0.0.1/tcp/1234/p2p", "/p2p"),
        ("/dns/a b/tcp/1/http", "expected"),
        ("to ken:/ip4/127.0.0.1/tcp/1/http", "token"),
        ("x" * 9000, "longer"),
    ],
)
def test_a_wrong_api_info_says_what_is_wrong(text: str, why: str) -> None:
    with pytest.raises(ApiInfoError, match=why) as caught:
        ApiInfo.parse(text)
    assert "secretpw" not in str(caught.value)
    assert len(str(caught.value)) < 400


@given(st.text(max_size=60))
def test_any_text_is_an_api_info_or_an_api_info_error(text: str) -> None:
    try:
        ApiInfo.parse_many(text)
    except ApiInfoError:
        return


def test_the_environment_comes_before_the_repository(tmp_path: Path) -> None:
    (tmp_path / ".lotus").mkdir()
    (tmp_path / ".lotus" / "api").write_text("/ip4/127.0.0.1/tcp/1234/http\n")
    (tmp_path / ".lotus" / "token").write_text(TOKEN + "\n")
    found = discover_api_info("fullnode", {}, tmp_path)
    assert (found.address, found.token) == ("http://127.0.0.1:1234", Secret(TOKEN))
    named = discover_api_info("fullnode", {"FULLNODE_API_INFO": "http://b:2"}, tmp_path)
    assert named.address == "http://b:2"
    elsewhere = tmp_path / "other"
    elsewhere.mkdir()
    (elsewhere / "api").write_text("/ip4/127.0.0.1/tcp/2345/http")
    miner = discover_api_info("miner", {"LOTUS_MINER_PATH": str(elsewhere)}, tmp_path)
    assert (miner.address, miner.token) == ("http://127.0.0.1:2345", None)


def test_a_missing_or_broken_repository_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ApiInfoError, match="FULLNODE_API_INFO or"):
        discover_api_info("fullnode", {}, tmp_path)
    (tmp_path / ".lotus").mkdir()
    (tmp_path / ".lotus" / "api").write_bytes(b"\xff\xfe")
    with pytest.raises(ApiInfoError, match="cannot be read"):
        discover_api_info("fullnode", {}, tmp_path)
    with pytest.raises(ApiInfoError, match=r"\$MINER_API_INFO"):
        discover_api_info("miner", {"MINER_API_INFO": "nonsense"}, tmp_path)


def test_a_token_tells_its_permissions() -> None:
    assert token_permissions(TOKEN) == ("read", "write")


@pytest.mark.parametrize(
    "token",
    ["", "abc", "a.b.c", "a.!!.c", jwt([]), jwt({"Allow": "read"}), jwt({"Allow": [1]}), jwt({}),
     jwt({"Allow": ["x"] * 1000}), "a." + base64.urlsafe_b64encode(b"[" * 6000).decode() + ".c", "x" * 10**6],
)  # fmt: skip
def test_what_is_no_token_is_refused_plainly(token: str) -> None:
    with pytest.raises(ApiInfoError):
        token_permissions(token)


@given(st.text(max_size=80), st.binary(max_size=40))
def test_any_text_is_a_token_or_an_api_info_error(text: str, payload: bytes) -> None:
    for token in (text, f"a.{base64.urlsafe_b64encode(payload).decode()}.c"):
        try:
            token_permissions(token)
        except ApiInfoError:
            continue


def test_secrets_do_not_print() -> None:
    secret = Secret("hidden")
    assert "hidden" not in f"{secret} {secret!r} {[secret]} {secret!s:>20}"


@pytest.mark.parametrize(
    "text",
    [f"GET http://h/?token={TOKEN}", f"Bearer {TOKEN}", "http://u:hidden@h/x", "x?a=1&token=hidden&b"],
)  # fmt: skip
def test_tokens_are_redacted_in_texts(text: str) -> None:
    shown = redact(text)
    assert "***" in shown
    assert TOKEN not in shown
    assert "hidden" not in shown
