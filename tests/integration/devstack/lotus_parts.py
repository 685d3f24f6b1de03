"""Stand-ins for Lotus' programs on PATH, and `devstack up --lotus …` with them."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

RUN = [sys.executable, "-c", "from devstack.cli import app; app()"]
PROGRAM = Path(__file__).parent / "fake_lotus" / "program.py"
PROGRAMS = ("lotus", "lotus-miner", "lotus-seed", "lotus-shed")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Lotus:
    """Stand-ins on PATH, and `devstack up` with them."""

    def __init__(self, tmp_path: Path, kind: str = "binary") -> None:
        self.kind = kind
        self.bin = tmp_path / "bin"
        self.bin.mkdir()
        for name in PROGRAMS:
            self.install(name)
        self.log = tmp_path / "calls.jsonl"
        self.data = tmp_path / "net"
        self.ports = (free_port(), free_port())
        self.environment = {
            "PATH": f"{self.bin}:/usr/bin:/bin",
            "FAKE_LOTUS_LOG": str(self.log),
            "PYTHONPATH": str(Path.cwd()),
            "HOME": str(tmp_path),
        }

    def install(self, name: str) -> None:
        file = self.bin / name
        file.write_text(f"#!{sys.executable} -IS\n{PROGRAM.read_text()}")
        file.chmod(0o755)

    def command(self, *options: str) -> list[str]:
        api, miner = map(str, self.ports)
        return [*RUN, "up", "--lotus", self.kind, "--data-dir", str(self.data), "--api-port", api,
                "--miner-port", miner, *options]  # fmt: skip

    def refused(self, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*options), env=self.environment | environment,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def up(self, *options: str, then: Callable[[dict[str, Any]], None] = lambda _: None) -> str:
        """Start, do something with the connections, Ctrl-C; what was said meanwhile."""
        process = subprocess.Popen(
            self.command("--json", *options), env=self.environment,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        then(json.loads(line))
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
        return said

    def calls(self) -> list[dict[str, Any]]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [json.loads(line) for line in lines]

    def started(self) -> list[str]:
        """Program and first telling words of each call, in order."""
        return [
            " ".join([call["program"], *(w for w in call["words"] if not w.startswith("-"))][:4])
            for call in self.calls()
            if "stopped" not in call
        ]
