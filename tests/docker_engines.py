"""A Docker engine of a test's own, that may be killed and started again: containerd and dockerd with all their places below one directory."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

import docker
import pytest
import requests

from sp_plugin.executors.docker import probe_engine

__all__ = ["OwnEngine"]

_WAIT_SECONDS = 60


class OwnEngine:
    """Both daemons, and where they listen. `options` are added to dockerd's command line.

    `subordinate` is a directory with the `subuid` and `subgid` that dockerd shall see in place of those in /etc.
    """

    def __init__(self, home: Path, *options: str, subordinate: Path | None = None) -> None:
        if not (shutil.which("dockerd") and shutil.which("containerd")):
            pytest.skip("needs dockerd and containerd (Debian: docker.io), and root")
        self.home = home
        self.url = f"unix://{home}/docker.sock"
        self._options = options
        self._subordinate = subordinate
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        home.mkdir(parents=True)
        (home / "containerd.toml").write_text(
            f"""version = 2
root = "{home}/containerd"
state = "{home}/containerd-state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "{home}/containerd.sock"
"""
        )
        (home / "daemon.json").write_text(json.dumps({}))

    def start(self) -> None:
        """Start what does not run, and wait until it answers."""
        if "containerd" not in self._processes:
            self._run("containerd", "--config", f"{self.home}/containerd.toml")
            self._until((self.home / "containerd.sock").exists)
        if "dockerd" not in self._processes:
            # In a network namespace of its own: without a bridge it would take down that of the host's engine.
            self._run(
                "dockerd",
                f"--config-file={self.home}/daemon.json",
                f"--host={self.url}",
                f"--containerd={self.home}/containerd.sock",
                f"--data-root={self.home}/data",
                f"--exec-root={self.home}/exec",
                f"--pidfile={self.home}/docker.pid",
                "--bridge=none",
                "--iptables=false",
                *self._options,
            )
        self._until(self._answers)

    def kill(self, name: str = "dockerd") -> None:
        """End one daemon with SIGKILL."""
        process = self._processes.pop(name)
        process.kill()
        process.wait()
        (self.home / "docker.pid").unlink(missing_ok=True)

    def stop(self, name: str = "dockerd") -> None:
        """End one daemon as a service manager does."""
        process = self._processes.pop(name)
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=_WAIT_SECONDS)

    def close(self) -> None:
        """Remove all containers, and end both."""
        if "dockerd" in self._processes:
            client = self.client()
            for container in client.containers.list(all=True, ignore_removed=True):
                container.remove(force=True)
            client.close()
        for name in ("dockerd", "containerd"):
            if name in self._processes:
                self.stop(name)
        for line in Path("/proc/self/mountinfo").read_text().splitlines()[::-1]:
            place = line.split(" ")[4]
            if Path(place).is_relative_to(self.home):
                subprocess.run(["umount", "-l", place], check=False)

    def client(self) -> docker.DockerClient:
        """A client of it."""
        return docker.DockerClient(base_url=self.url, version="1.41", timeout=20)

    def log(self) -> str:
        """What its daemons said last."""
        return "\n".join(
            (self.home / f"{name}.log").read_text()[-2000:] for name in ("containerd", "dockerd")
        )

    def _run(self, *command: str) -> None:
        with (self.home / f"{command[0]}.log").open("ab") as log:
            own = ("unshare", "--net", *self._with_subordinate(command))
            self._processes[command[0]] = subprocess.Popen(own, stdout=log, stderr=log)

    def _with_subordinate(self, command: tuple[str, ...]) -> tuple[str, ...]:
        if self._subordinate is None:
            return command
        if command[0] == "dockerd":  # it must see what containerd mounts, and the other way round
            pid = self._processes["containerd"].pid
            return ("nsenter", f"--mount=/proc/{pid}/ns/mnt", *command)
        binds = " && ".join(
            f"mount --bind {self._subordinate}/{name} /etc/{name}" for name in ("subuid", "subgid")
        )
        # Mounts made on the host still arrive there.
        space = ("--mount", "--propagation=slave", "sh", "-c", f'{binds} && exec "$@"', "sh")
        return (*space, *command)

    def _answers(self) -> bool:
        try:
            probe_engine(self.url)  # docker-py leaves its socket open when nobody listens
            client = self.client()
        except (docker.errors.DockerException, OSError):
            return False
        try:
            return bool(client.ping())
        except (docker.errors.DockerException, requests.RequestException):
            return False
        finally:
            client.close()

    def _until(self, condition) -> None:
        deadline = time.monotonic() + _WAIT_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"the engine does not start: {self.log()}")
            time.sleep(0.1)
