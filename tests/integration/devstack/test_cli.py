"""`devstack up` as a program, and the commands that talk to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

RUN = [sys.executable, "-c", "from devstack.cli import app; app()"]


class Running:
    """A `devstack up` in its own process."""

    def __init__(self, data_dir: Path, *options: str) -> None:
        self.data_dir = data_dir
        self.process = subprocess.Popen(
            [*RUN, "up", "--data-dir", str(data_dir), "--api-port", "0", "--miner-port", "0", "--json",
             *options],
            stdout=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.info = json.loads(self.process.stdout.readline())

    def ask(self, *arguments: str) -> Any:
        done = self.try_(*arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def try_(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        clean = {name: value for name, value in os.environ.items() if name != "FULLNODE_API_INFO"}
        return subprocess.run(
            [*RUN, *arguments, "--data-dir", str(self.data_dir), "--json"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=clean | environment,
        )

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(30)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    running = Running(tmp_path / "data")
    yield running
    if running.process.poll() is None:
        running.stop()


def test_up_writes_a_lotus_repo_takes_commands_and_cleans_up(running: Running) -> None:
    repo = running.data_dir / "lotus"
    token, _, address = running.info["FULLNODE_API_INFO"].partition(":")
    assert (repo / "api").read_text() == address
    assert (repo / "token").read_text() == token
    assert (repo / "token").stat().st_mode & 0o777 == 0o600
    storage = json.loads((running.data_dir / "miner" / "storage.json").read_text())
    assert Path(storage["StoragePaths"][0]["Path"], "sectorstore.json").exists()

    assert running.ask("advance", "12")["height"] == 12
    moved = running.ask("reorg", "--depth", "2")
    assert (moved["reverted"], moved["applied"]) == (2, 3)
    status = running.ask("status")
    assert status["provider"] == running.info["provider"] == "t01001"
    assert status["power"]["t01001"] == {"raw": "0", "qap": "0"}
    won = running.ask("advance", "50", "--until-win", "t01000")
    assert won["height"] <= 20
    again = running.ask("advance", "--until-win", "t01000")
    assert again["height"] > won["height"]

    assert running.stop() == 0
    assert not (repo / "api").exists()
    refused = running.try_("status")
    assert (refused.returncode, refused.stdout) == (4, "")
    assert "devstack up" in refused.stderr


def test_a_refusal_is_one_clear_line_and_an_exit_code(running: Running) -> None:
    for arguments, code in (
        (("reorg", "--depth", "900"), 2),
        (("advance", "3", "--until-win", "t01001"), 1),
        (("advance", "3", "--until-provider-wins"), 1),
        (("advance",), 2),
        (("advance", "3", "--until-win", "nobody"), 2),
    ):
        done = running.try_(*arguments)
        assert done.returncode == code, done.stderr
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1


def test_tokens_stay_valid_over_a_restart_and_ports_can_be_taken(tmp_path: Path) -> None:
    first = Running(tmp_path)
    token = first.info["FULLNODE_API_INFO"].partition(":")[0]
    assert first.stop() == 0
    second = Running(tmp_path, "--block-time", "0.05")
    try:
        port = int((tmp_path / "lotus" / "api").read_text().split("/")[4])
        body = {"jsonrpc": "2.0", "id": 1, "method": "Filecoin.AuthVerify", "params": [token]}
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/rpc/v1", json.dumps(body).encode()
        )
        with urllib.request.urlopen(request) as response:
            assert json.load(response)["result"] == ["read", "write", "sign", "admin"]
        taken = subprocess.run(
            [*RUN, "up", "--data-dir", str(tmp_path / "b"), "--api-port", str(port)],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert taken.returncode == 1
        assert "cannot start" in taken.stderr
        assert second.ask("status")["height"] > 0  # the clock mines
    finally:
        second.stop()


def test_the_api_can_shut_the_node_down(running: Running) -> None:
    token, _, address = running.info["FULLNODE_API_INFO"].partition(":")
    port = address.split("/")[4]
    call = {"jsonrpc": "2.0", "id": 1, "method": "Filecoin.Shutdown", "params": []}
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/rpc/v1", json.dumps(call).encode(), headers
    )
    with urllib.request.urlopen(request) as response:
        assert json.load(response)["result"] is None
    assert running.process.wait(30) == 0
    assert running.process.stdout is not None
    running.process.stdout.close()
    assert not (running.data_dir / "lotus" / "api").exists()
