"""Which nodes a configuration names, and what is refused before any of them is asked."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from sp_plugin.config import NodeConfig, parse_config
from sp_plugin.errors import ConfigError
from sp_plugin.node import api_infos_of, connect_node, nodes_agree

HEAD = (
    "data_dir: /tmp/sp\nprovider:\n  actor: f01000\nearnings:\n  capital_cost_apr_bps: 0\n"
    "node:\n  network: mainnet\n"
)


def token(*permissions: str) -> str:
    payload = base64.urlsafe_b64encode(json.dumps({"Allow": permissions}).encode()).decode()
    return f"eyJhbGciOiJIUzI1NiJ9.{payload.rstrip('=')}.c2ln"


def node_config(tmp_path: Path, text: str, **secrets: str) -> NodeConfig:
    for name, secret in secrets.items():
        file = tmp_path / name
        file.write_text(secret)
        file.chmod(0o600)
    return parse_config(HEAD + text.format(folder=tmp_path)).node


SECOND = (
    "  endpoints:\n    - {{endpoint: 'https://b.example:1234', token_file: '{folder}/second'}}\n"
)
FIRST = "  endpoint: http://a.example:1234\n"


def test_nodes_come_in_the_order_of_preference_each_with_its_token(tmp_path: Path) -> None:
    config = node_config(tmp_path, FIRST + SECOND, second=token("read"))
    first, second = api_infos_of(config)
    assert (first.address, first.token) == ("http://a.example:1234", None)
    assert second.address == "https://b.example:1234"
    assert second.token is not None
    assert second.token.reveal() == token("read")


def test_an_api_info_may_name_several_as_lotus_does(tmp_path: Path) -> None:
    text = "  api_info_file: '{folder}/info'\n" + SECOND
    info = f"{token('read')}:/ip4/10.0.0.1/tcp/1234/http,http://c.example"
    config = node_config(tmp_path, text, info=info, second=token("read"))
    found = [info.address for info in api_infos_of(config)]
    assert found == ["http://10.0.0.1:1234", "http://c.example", "https://b.example:1234"]


def test_a_node_cannot_stand_in_for_itself(tmp_path: Path) -> None:
    text = "  endpoint: https://b.example:1234/rpc/v1\n" + SECOND
    config = node_config(tmp_path, text, second=token("read"))
    with pytest.raises(ConfigError, match="named twice"):
        api_infos_of(config)


def test_a_broken_further_endpoint_is_named(tmp_path: Path) -> None:
    config = node_config(tmp_path, FIRST + "  endpoints:\n    - {{endpoint: 'ftp://x'}}\n")
    with pytest.raises(ConfigError, match=r"node\.endpoints\.0"):
        api_infos_of(config)


async def test_an_admin_token_of_a_node_that_only_helps_out_is_refused_without_asking_it(
    tmp_path: Path,
) -> None:
    admin = token("read", "write", "sign", "admin")
    config = node_config(tmp_path, FIRST + SECOND, second=admin)
    with pytest.raises(ConfigError, match="allow_admin_token") as caught:
        connect_node(config)
    assert admin not in str(caught.value)
    allowed = node_config(tmp_path, FIRST + SECOND + "  allow_admin_token: true\n", second=admin)
    await connect_node(allowed).close()


async def test_two_nodes_must_agree_unless_told_otherwise_and_one_has_nobody_to_agree_with(
    tmp_path: Path,
) -> None:
    secret = token("read")
    two = node_config(tmp_path, FIRST + SECOND, second=secret)
    client = connect_node(two)
    agreement = nodes_agree(two, client)
    assert agreement is not None
    await agreement.close()
    lax = node_config(tmp_path, FIRST + SECOND + "  require_agreement: false\n", second=secret)
    assert nodes_agree(lax, client) is None
    assert nodes_agree(node_config(tmp_path, FIRST), client) is None
    await client.close()
