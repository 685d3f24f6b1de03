"""The configuration: every problem at once, each at its line, and the example says what the code knows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lotus_client.types import AttoFil
from sp_plugin.config import Config, load_config, parse_config
from sp_plugin.config.example import example_config, first_config, plain_values
from sp_plugin.config.fields import Section
from sp_plugin.config.loading import models_in
from sp_plugin.config.notes import config_notes
from sp_plugin.config.yaml_lines import read_yaml
from sp_plugin.errors import ConfigError
from sp_plugin.workshop import executor_settings

GOOD = """\
data_dir: /tmp/sp
node:
  endpoint: http://127.0.0.1:1234
  network: mainnet
provider:
  actor: f01000
earnings:
  capital_cost_apr_bps: 800
"""


def problems_of(text: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "sp.yaml", environ)
    return [str(problem) for problem in caught.value.problems]


def test_a_short_configuration_gets_the_defaults():
    config = parse_config(GOOD)
    assert config.provider.actor == 1000
    assert config.payouts.dry_run
    assert not config.payouts.enabled
    assert config.database_url == "sqlite+aiosqlite:////tmp/sp/sp-plugin.db"


def test_the_example_in_the_repository_is_the_one_in_the_code_and_loads():
    path = Path(__file__).parents[3] / "config.example.yaml"
    assert path.read_text("utf-8") == example_config()
    assert load_config(path, {}).payouts.minimum_payout_fil == AttoFil(10**17)


def _keys(model: type[Section]) -> dict[str, Any]:
    return {
        name: _keys(inner) if (inner := next(models_in(field.annotation), None)) else None
        for name, field in model.model_fields.items()
    }


def _shape(value: Any) -> Any:
    if isinstance(value, list):
        return _shape(value[0]) if value and isinstance(value[0], dict) else None
    return {key: _shape(item) for key, item in value.items()} if isinstance(value, dict) else None


def test_the_example_has_exactly_the_keys_of_the_models():
    found = _shape(yaml.safe_load(example_config()))
    assert found["provider"]["sources"].pop("options") is not None  # each kind has its own
    wanted = _keys(Config)
    del wanted["provider"]["sources"]["options"]
    assert found == wanted


def test_every_problem_is_shown_at_once_with_its_line():
    text = GOOD.replace("  network: mainnet\n", "  netwrk: mainnet\n  allow_admin_token: no\n")
    text = "data_dir: /other\n" + text.replace("bps: 800", 'bps: "800"')
    assert problems_of(text) == [
        "sp.yaml:2: data_dir: the key stands twice (first in line 1); keep one of them",
        (
            "sp.yaml:3: node.network: is required: name the node must answer to StateNetworkName: "
            "money must not go to another network"
        ),
        "sp.yaml:5: node.netwrk: unknown key; did you mean network?",
        "sp.yaml:6: node.allow_admin_token: must be true or false, got 'no'",
        "sp.yaml:10: earnings.capital_cost_apr_bps: must be a whole number, got '800'",
    ]


def test_problems_inside_lists_name_their_place():
    text = GOOD + (
        "datasets:\n  - name: a\n    licence: CC0-1.0\n    steward: S\n    consent: maybe\n"
        "    selector: {clients: [f01x]}\n"
    )
    assert problems_of(text) == [
        "sp.yaml:13: datasets[0].consent: must be one of 'public', 'owner-signed' or 'none', got 'maybe'",
        "sp.yaml:14: datasets[0].selector.clients[0]: 'f01x' has no plain decimal actor id up to 2**63-1",
    ]


def test_verified_extra_needs_the_cost_of_capital():
    (problem,) = problems_of(GOOD.replace("capital_cost_apr_bps: 800", "output_bps: 500"))
    assert problem.startswith("sp.yaml:7: earnings.capital_cost_apr_bps: is required for basis")


def test_payouts_cannot_be_on_without_a_wallet_and_a_signer():
    (problem,) = problems_of(GOOD + "payouts:\n  enabled: true\n")
    assert problem.startswith("sp.yaml:9: payouts.wallet: is required when payouts are enabled")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a:\n\tb: 1\n", "sp.yaml:2: a tab stands in the indentation"),
        ("a: &x 1\nb: *x\n", "sp.yaml:1: anchors (&) and aliases (*) are not used here"),
        ("a: !!python/name:os.system x\n", "sp.yaml:1: tags (!) are not used here"),
        ("a: 1\n---\nb: 2\n", "sp.yaml:2: a second document begins"),
        ("[" * 1000, "sp.yaml:1: is nested deeper than 32"),
        ("? [a, b]\n: 1\n", "sp.yaml:1: a key must be text"),
        ("# " + "x" * (1 << 20), "sp.yaml: is larger than 1048576 bytes"),
        ("", "sp.yaml: is empty"),
        ("- 1\n", "sp.yaml: must be keys and values"),
        ("a: \x01\n", "sp.yaml: is not YAML text"),
    ],
)
def test_yaml_that_is_no_plain_configuration_is_refused_with_its_line(text: str, message: str):
    assert problems_of(text)[0].startswith(message)


def test_an_alias_bomb_is_refused_before_it_is_unfolded():
    rows = ["a0: &a0 [x,x,x,x,x,x,x,x,x]"]
    rows += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    assert "anchors" in problems_of("\n".join(rows))[0]


@given(st.text(max_size=200))
def test_no_text_whatever_makes_the_reader_fail(text: str):
    document = read_yaml(text, "x")
    assert document.problems or document.value is None or isinstance(document.value, object)


def test_the_environment_overrides_and_is_named_in_errors():
    config = parse_config(GOOD, environ={"SP_PLUGIN__HTTP__PORT": "9000"})
    assert config.http.port == 9000
    (problem,) = problems_of(GOOD, SP_PLUGIN__HTTP__PORT="many")
    assert problem == "SP_PLUGIN__HTTP__PORT: must be a whole number, got 'many'"
    (problem,) = problems_of(GOOD, SP_PLUGIN__NODE__NETWORK__X="1")
    assert problem == "SP_PLUGIN__NODE__NETWORK__X: names a key inside something that has no keys"


def test_a_token_does_not_belong_in_the_file_but_may_come_from_the_environment():
    text = GOOD.replace("endpoint: http://127.0.0.1:1234", "api_info: eyJx.y.z:/ip4/1.2.3.4/tcp/1")
    assert "does not belong in this file" in problems_of(text)[0]
    assert "eyJx" not in problems_of(text)[0]
    config = parse_config(
        GOOD.replace("  endpoint: http://127.0.0.1:1234\n", ""),
        environ={"SP_PLUGIN__NODE__API_INFO": "eyJx.y.z:/ip4/1.2.3.4/tcp/1"},
    )
    assert "eyJ" not in repr(config)
    assert plain_values(config)["node"]["api_info"] == "***"


def _secret_config(tmp_path: Path, mode: int, text: str = "secret") -> Path:
    token = tmp_path / "token"
    token.write_text(text)
    token.chmod(mode)
    path = tmp_path / "sp.yaml"
    path.write_text(GOOD.replace("  network:", "  token_file: token\n  network:"))
    return path


def test_a_secret_file_that_others_can_read_is_refused_with_the_command_that_mends_it(
    tmp_path: Path,
):
    path = _secret_config(tmp_path, 0o644)
    with pytest.raises(ConfigError) as caught:
        load_config(path, {})
    assert f"{path}:4: node.token_file" in str(caught.value)
    assert f"run: chmod 600 {tmp_path / 'token'}" in str(caught.value)


def test_a_secret_file_is_found_beside_the_configuration_and_read(tmp_path: Path):
    config = load_config(_secret_config(tmp_path, 0o600), {})
    assert config.node.token_file is not None
    assert config.node.token_file.read().reveal() == "secret"


def test_amounts_are_exact_and_fractions_of_an_attofil_are_refused():
    text = GOOD + "payouts:\n  minimum_payout_fil: 0.000000000000000001\n  max_fee_fil: 0.1\n"
    payouts = parse_config(text).payouts
    assert (payouts.minimum_payout_fil, payouts.max_fee_fil) == (AttoFil(1), AttoFil(10**17))
    assert (
        "finer than one attoFIL" in problems_of(text.replace("0.1\n", "0.0000000000000000001\n"))[0]
    )
    assert "must not be negative" in problems_of(text.replace("fee_fil: 0.1", "fee_fil: -1"))[0]


def test_what_init_writes_is_a_valid_configuration():
    text = first_config(
        actor="f01234",
        data_dir="/var/lib/x: y",
        network="mainnet",
        endpoint="/ip4/127.0.0.1/tcp/1234/http",
        token_file=None,
    )
    config = parse_config(text)
    assert (config.provider.actor, str(config.data_dir)) == (1234, "/var/lib/x: y")


def test_a_host_without_a_role_is_taken_for_the_prover_and_that_is_said():
    from sp_plugin.config import HostRole
    from sp_plugin.config.notes import config_notes

    config = parse_config(GOOD)
    assert (config.guard.host_role, config.guard.role) == (None, HostRole.PROVER)
    assert any("guard.host_role is not given" in note for note in config_notes(config))
    for text in ("guard:\n  host_role: storage\n", "jobs:\n  enabled: false\n"):
        assert not any("guard." in note for note in config_notes(parse_config(GOOD + text)))


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("host_role: miner", "guard.host_role"),
        ("curio_metrics_url: 127.0.0.1:12300", "guard.curio_metrics_url"),
        ("max_io_wait_percent: 101", "guard.max_io_wait_percent"),
        ("max_load_percent: 0", "guard.max_load_percent"),
        ("lead_epochs: -1", "guard.lead_epochs"),
    ],
)
def test_a_wrong_key_of_the_guard_is_named(line, key):
    (problem,) = problems_of(f"{GOOD}guard:\n  {line}\n")
    assert key in problem


def _descriptions(model: type[Section]) -> Iterator[str | None]:
    for field in model.model_fields.values():
        yield field.description
        for inner in models_in(field.annotation):
            yield from _descriptions(inner)


def test_every_key_says_why_it_exists():
    assert all(_descriptions(Config))


def _leaves(model: type[Section]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        inner = next(models_in(field.annotation), None)
        if inner is None:
            yield name
        else:
            yield from _leaves(inner)


def test_every_key_is_read_by_something_outside_the_configuration():
    package = Path(__file__).parents[3] / "sp_plugin"
    text = "".join(
        path.read_text("utf-8")
        for path in package.rglob("*.py")
        if path.relative_to(package).as_posix() not in {"config/sections.py", "config/notes.py"}
    )
    shown = {"licence", "steward"}  # words for people, listed whole with the dataset
    unread = {key for key in _leaves(Config) if not re.search(rf"\.{key}\b", text)}
    assert unread == shown


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("fetch: {allowed_hosts: ['http://x.org']}", "is not a host name, *.domain or *"),
        (
            "fetch: {allowed_private: [minio.lan]}",
            "is neither a network, as 10.0.0.0/8, nor host:port",
        ),
        ("fetch: {gateways: ['ftp://x']}", "is not an http or https URL"),
        ("fetch: {gateways: ['https://u:p@x.org']}", "must not have credentials"),
        ("publish: {kubo: {authorization_file: x}}", "goes with api"),
        ("publish: {s3: [{bucket: a}, {bucket: a}]}", "stands twice among the buckets"),
        ("publish: {s3: [{bucket: a, endpoint: 'x'}]}", "is not an http or https URL"),
    ],
)
def test_places_to_fetch_from_and_publish_to_are_checked(section: str, said: str):
    (problem,) = problems_of(GOOD + f"jobs:\n  {section}\n")
    assert said in problem


def test_a_wide_door_for_downloads_is_noted():
    open_to_all = GOOD + (
        "policy: {allowed_sources: [urlDownload]}\njobs: {fetch: {allowed_private: [10.0.0.0/8]}}\n"
    )
    notes = list(config_notes(parse_config(open_to_all)))
    assert (
        "jobs.fetch.allowed_hosts has *: jobs may have files fetched from any public host" in notes
    )
    assert any(note.startswith("jobs.fetch.allowed_private 10.0.0.0/8: ") for note in notes)
    assert not any("jobs.fetch" in note for note in config_notes(parse_config(GOOD)))


@pytest.mark.parametrize(
    ("docker", "memory", "processes"),
    [
        ("{}", 0, 0),
        ("{runtime: runsc}", 64 << 20, 64),
        ("{runtime: runsc, runtime_memory_bytes: 0, runtime_pids: 5}", 0, 5),
    ],
)
def test_a_runtime_is_given_what_it_takes_itself(docker, memory, processes, tmp_path):
    config = parse_config(f"{GOOD}\njobs: {{docker: {docker}}}\n")
    settings = executor_settings(config, cache_dir=tmp_path, runs_dir=None, owner="us")
    given = settings.docker
    assert (given.runtime_memory_bytes, given.runtime_processes) == (memory, processes)
