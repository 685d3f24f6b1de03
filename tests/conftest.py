"""Rules for all tests: unit tests open no socket, the others stay on this machine; CI fails on a skip."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings
from pytest_socket import disable_socket, enable_socket, socket_allow_hosts

pytest_plugins = ["devstack.pytest_plugin"]

# A shared machine may stall at any moment, so no example has a deadline of its own; the whole test has one.
settings.register_profile("default", deadline=None)
settings.load_profile("default")

_UNIT = Path(__file__).parent / "unit"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fail-on-skip", action="store_true", help="a skipped test fails: CI has everything"
    )


@pytest.fixture(autouse=True)
def _network_rules(request: pytest.FixtureRequest):
    if request.path.is_relative_to(_UNIT):
        disable_socket(allow_unix_socket=True)  # asyncio's own wake-up pair is a unix socket
    else:
        socket_allow_hosts(["127.0.0.1", "::1"], allow_unix_socket=True)
    yield
    enable_socket()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    if (
        report.skipped
        and item.config.getoption("--fail-on-skip")
        and not hasattr(report, "wasxfail")
    ):
        report.outcome = "failed"
        report.longrepr = f"skipped where nothing may skip: {report.longrepr}"
    return report
