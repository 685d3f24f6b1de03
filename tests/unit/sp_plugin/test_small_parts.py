"""Logs without tokens, label selectors, execution numbers, health."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime

import pytest
import structlog

from sp_plugin.errors import BadInput
from sp_plugin.health import Health
from sp_plugin.http.client_version import version_of
from sp_plugin.http.labels import parse_selector
from sp_plugin.logs import configure_logs, redact

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJBbGxvdyI6WyJyZWFkIl19.c2lnbmF0dXJl"
OURS = "spt_" + "a" * 43


@pytest.mark.parametrize(
    "text", [f"{JWT}:/ip4/1.2.3.4/tcp/1", f"Bearer {OURS}", f"http://x/?token={JWT}", OURS]
)
def test_tokens_are_blacked_out_wherever_they_stand(text: str):
    for value in (text, {"a": [text]}, {"nested": {"x": (text,)}}, ValueError(text)):
        assert JWT not in str(redact(value))
        assert OURS not in str(redact(value))


def test_a_log_line_is_json_with_its_fields_and_no_secret():
    out = io.StringIO()
    configure_logs("info", "json", out)
    try:
        structlog.get_logger().info(
            "node_called", url=f"http://x/?token={JWT}", epoch=7, token="x" * 9
        )
    finally:
        structlog.reset_defaults()
    line = json.loads(out.getvalue())
    assert (line["event"], line["epoch"], line["token"]) == ("node_called", 7, "***")
    assert JWT not in out.getvalue()


@pytest.mark.parametrize(
    ("selector", "labels", "fits"),
    [
        ("", {}, True),
        ("bacalhau_canary!=true", {}, True),
        ("bacalhau_canary!=true", {"bacalhau_canary": "true"}, False),
        ("a=1,b==2", {"a": "1", "b": "2"}, True),
        ("a in (x, y)", {"a": "y"}, True),
        ("a notin (x,y)", {}, True),
        ("a notin (x,y)", {"a": "x"}, False),
        ("a,!b", {"a": ""}, True),
        ("a,!b", {"a": "", "b": ""}, False),
    ],
)
def test_label_selectors_match_as_in_kubernetes(selector: str, labels, fits: bool):
    assert all(term.fits(labels) for term in parse_selector(selector)) is fits


@pytest.mark.parametrize("selector", ["a b", "=1", "a in x", "a,,,(", "a=" + "=" * 50])
def test_a_bad_selector_is_named(selector: str):
    with pytest.raises(BadInput, match="labels"):
        parse_selector(selector)


@pytest.mark.parametrize(
    ("version", "old"),
    [("v1.5.0", True), ("v1.4.2", True), ("v1.6.0", False), ("v1.10.0", False), ("", False),
     ("v0.0.0-abcdefg", False), ("nonsense", False)],
)  # fmt: skip
def test_execution_states_are_numbered_as_the_client_knows_them(version: str, old: bool):
    known = version_of(version)
    assert (known is not None and known < (1, 6)) is old


def test_health_says_since_when_and_why():
    early, late = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    health = Health(("follow", "send"), early)
    assert not health.is_ready
    health.well("follow", early)
    health.well("send", early)
    health.unwell("send", "the node cannot be reached", late)
    health.unwell("send", "still not", datetime(2026, 1, 3, tzinfo=UTC))
    assert not health.is_ready
    state = health.states[1]
    assert (state.reason, state.since) == ("still not", late)


def test_a_note_stands_beside_a_part_that_works_and_is_news_once():
    now = datetime(2026, 1, 1, tzinfo=UTC)
    health = Health(("float",), now)
    health.well("float", now)
    assert health.note("float", "holds too much")
    assert not health.note("float", "holds too much")
    health.well("float", now)
    assert (health.is_ready, health.states[0].note) == (True, "holds too much")
    assert health.note("float", "")
