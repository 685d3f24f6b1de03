"""`devstack up --lotus docker`: the compose file, the scripts with stand-ins for Lotus, and the drive of a stand-in docker.

No container of Lotus is run here.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from devstack.real_lotus.compose import (
    Containers,
    compose_text,
    image_name,
    miner_script,
    node_script,
)
from tests.integration.devstack.lotus_parts import Lotus

CONTAINERS = Containers(
    tag="v1.36.2", data_dir="/home/alice/my net", api_port=11234, miner_port=12345, user="1000:1000"
)


def compose_command() -> list[str] | None:
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]):
            asked = subprocess.run([*command, "version"], capture_output=True, check=False)
            if asked.returncode == 0:
                return command
    return None


def test_the_image_is_the_2k_build_of_the_tag() -> None:
    assert image_name("v1.36.2") == "filecoin/lotus-all-in-one:v1.36.2-2k"
    assert image_name("stable-2k") == "filecoin/lotus-all-in-one:stable-2k"


def test_compose_itself_accepts_the_file(tmp_path: Path) -> None:
    command = compose_command()
    if command is None:
        pytest.skip("needs docker compose or docker-compose (apt-get install docker-compose)")
    file = tmp_path / "compose.yaml"
    file.write_text(compose_text(CONTAINERS))
    done = subprocess.run(
        [*command, "-f", str(file), "config"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    services = yaml.safe_load(done.stdout)["services"]
    assert services["miner"]["depends_on"]["node"]["condition"] == "service_healthy"
    assert "11234" in str(services["node"]["ports"])


def test_services_differ_only_where_they_should_and_listen_on_this_machine_only() -> None:
    services = yaml.safe_load(compose_text(CONTAINERS))["services"]
    node, miner = services["node"], services["miner"]
    assert node["ports"] == ["127.0.0.1:11234:1234"]
    assert miner["ports"] == ["127.0.0.1:12345:2345"]
    assert node["volumes"] == miner["volumes"]
    assert node["volumes"][0]["source"] == "/home/alice/my net"
    assert node["environment"]["LOTUS_API_LISTENADDRESS"] == "/ip4/0.0.0.0/tcp/1234/http"
    assert node["environment"]["LOTUS_PATH"] == "/devnet/lotus"
    assert {service["user"] for service in services.values()} == {"1000:1000"}


class Inside:
    """The scripts run outside of a container, with the data directory in another place and stand-ins on PATH."""

    def __init__(self, tmp_path: Path) -> None:
        self.lotus = Lotus(tmp_path, "docker")
        self.root = self.lotus.data
        self.root.mkdir()
        services = yaml.safe_load(compose_text(CONTAINERS))["services"]
        self.environment = {
            name: {
                key: str(value).replace("/devnet", str(self.root)).replace("0.0.0.0", "127.0.0.1")
                for key, value in service["environment"].items()
            }
            for name, service in services.items()
        }

    def run(self, service: str, script: str, stop_at: str) -> subprocess.CompletedProcess[str]:
        """Run a script with the daemon's program replaced by one that ends at once."""
        text = script.replace("/devnet", str(self.root)).replace(
            f"exec {stop_at}", f"echo {stop_at}"
        )
        return subprocess.run(
            ["/bin/sh"], input=text, cwd=self.root, capture_output=True, text=True, check=False,
            env=self.lotus.environment | self.environment[service],
        )  # fmt: skip


def test_the_nodes_script_makes_what_the_programs_make_and_resumes(tmp_path: Path) -> None:
    inside = Inside(tmp_path)
    script = node_script("localnet-1")
    failed_once = inside.lotus.environment
    failed_once["FAKE_LOTUS_FAIL"] = "set-signers"
    assert inside.run("node", script, "lotus daemon").returncode == 3
    first = inside.run("node", script, "lotus daemon")
    assert first.returncode == 0, first.stderr
    started = inside.lotus.started()
    assert [call for call in started if "pre-seal" in call and "genesis" not in call] == [
        "lotus-seed pre-seal"
    ]
    template = json.loads((inside.root / "genesis" / "localnet.json").read_text())
    addresses = [
        (inside.root / "genesis" / f"root-{index}.address").read_text().strip() for index in (0, 1)
    ]
    assert template["VerifregRootKey"]["Meta"] == {"Signers": addresses, "Threshold": 2}
    assert len(template["Miners"]) == 1
    assert "--lotus-make-genesis=" in first.stdout
    (inside.root / "genesis" / "done" / "genesis").touch()
    again = inside.run("node", script, "lotus daemon")
    assert "--genesis=" in again.stdout
    assert inside.lotus.started() == started


def test_the_miners_script_asks_the_node_by_its_name(tmp_path: Path) -> None:
    inside = Inside(tmp_path)
    assert inside.run("node", node_script("localnet-1"), "lotus daemon").returncode == 0
    (inside.root / "lotus").mkdir()
    (inside.root / "lotus" / "token").write_text("secret")
    before = len(inside.lotus.calls())
    done = inside.run("miner", miner_script(), "lotus-miner run")
    assert done.returncode == 0, done.stderr
    calls = inside.lotus.calls()[before:]
    assert [call["program"] for call in calls] == ["lotus", "lotus", "lotus", "lotus-miner"]
    assert {call["env"]["FULLNODE_API_INFO"] for call in calls} == {
        "secret:/dns/node/tcp/1234/http"
    }
    assert "lotus-miner run --nosync" in done.stdout
    assert (inside.root / "genesis" / "done" / "genesis").exists()


def test_up_writes_the_files_starts_compose_and_takes_it_down(tmp_path: Path) -> None:
    lotus = Lotus(tmp_path, "docker")
    lotus.install("docker")
    api = lotus.ports[0]

    def check(info: dict[str, str]) -> None:
        assert info["FULLNODE_API_INFO"] == f"token-of-lotus:/ip4/127.0.0.1/tcp/{api}/http"

    lotus.up("--lotus-tag", "v1.36.1", then=check)
    file = lotus.data / "docker" / "compose.yaml"
    words = [call["words"] for call in lotus.calls() if call["program"] == "docker"]
    up = ["compose", "-f", str(file), "up", "--abort-on-container-exit"]
    assert words == [["compose", "version"], up, up, ["compose", "-f", str(file), "down"]]
    services = yaml.safe_load(file.read_text())["services"]
    assert services["node"]["image"] == "filecoin/lotus-all-in-one:v1.36.1-2k"
    assert (lotus.data / "docker" / "node.sh").exists()


def test_without_any_compose_the_error_says_so(tmp_path: Path) -> None:
    lotus = Lotus(tmp_path, "docker")
    lotus.environment["PATH"] = str(lotus.bin)
    failed = lotus.refused()
    assert failed.returncode == 1
    assert "needs `docker compose` or docker-compose" in failed.stderr
