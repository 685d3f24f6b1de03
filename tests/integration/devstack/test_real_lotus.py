"""`devstack up --lotus binary` with stand-ins for Lotus' programs: order, environment, files, resuming, stopping.

Lotus itself is not run here; the stand-ins take the command lines that its sources define.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from devstack.real_lotus.plan import NEVER
from tests.integration.devstack.lotus_parts import RUN, Lotus


@pytest.fixture
def lotus(tmp_path: Path) -> Lotus:
    return Lotus(tmp_path)


def test_the_first_start_follows_lotus_instructions_in_order(lotus: Lotus) -> None:
    said = lotus.up(then=lambda info: _check_connections(lotus, info))
    root, genesis = lotus.data, lotus.data / "genesis"
    assert lotus.started() == [
        "lotus fetch-params 8MiB",
        "lotus-shed keyinfo new bls",
        "lotus-shed keyinfo new bls",
        "lotus-seed pre-seal",
        f"lotus-seed genesis new {genesis}/localnet.json",
        f"lotus-seed genesis set-signers {genesis}/localnet.json",
        f"lotus-seed genesis add-miner {genesis}/localnet.json",
        "lotus daemon",
        f"lotus wallet import {genesis}/sectors/pre-seal-t01000.key",
        f"lotus wallet import {genesis}/root-0.keyinfo",
        f"lotus wallet import {genesis}/root-1.keyinfo",
        "lotus-miner init",
        "lotus-miner run",
    ]
    assert [call["program"] for call in lotus.calls() if "stopped" in call] == [
        "lotus-miner",
        "lotus",
    ]
    for words in ("Lotus 1.36.2+2k", "pre-sealing", "starting the miner", "stopping lotus-miner"):
        assert words in said
    assert {path.name for path in root.iterdir()} >= {"genesis", "logs", "lotus", "miner"}
    assert (root / "logs" / "pre-seal.log").read_text().startswith("$ lotus-seed --sector-dir=")


def _check_connections(lotus: Lotus, info: dict[str, Any]) -> None:
    api, miner = lotus.ports
    assert info["FULLNODE_API_INFO"] == f"token-of-lotus:/ip4/127.0.0.1/tcp/{api}/http"
    assert info["MINER_API_INFO"] == f"token-of-miner:/ip4/127.0.0.1/tcp/{miner}/http"


def test_command_lines_and_environment_are_those_of_a_private_2k_network(lotus: Lotus) -> None:
    lotus.up()
    calls = {
        " ".join([c["program"], *c["words"][:1]]): c for c in lotus.calls() if "stopped" not in c
    }
    daemon, run, init = calls["lotus daemon"], calls["lotus-miner run"], calls["lotus-miner init"]
    genesis = lotus.data / "genesis"
    assert daemon["words"] == [
        "daemon", f"--lotus-make-genesis={genesis}/devgen.car",
        f"--genesis-template={genesis}/localnet.json", "--bootstrap=false",
    ]  # fmt: skip
    assert init["words"] == [
        "init", "--genesis-miner", "--actor=t01000", "--sector-size=8MiB",
        f"--pre-sealed-sectors={genesis}/sectors",
        f"--pre-sealed-metadata={genesis}/sectors/pre-seal-t01000.json", "--nosync",
    ]  # fmt: skip
    assert run["words"] == ["run", "--nosync"]
    for call in lotus.calls():
        environment = call["env"]
        assert environment["LOTUS_PATH"] == str(lotus.data / "lotus")
        assert environment["LOTUS_MINER_PATH"] == str(lotus.data / "miner")
        assert environment["LOTUS_SKIP_GENESIS_CHECK"] == "_yes_"
        assert environment["LOTUS_SOLSTICE_HEIGHT"] == str(NEVER)
        assert environment["LOTUS_XX_HEIGHT"] == str(NEVER)
        assert environment["FIL_PROOFS_PARAMETER_CACHE"] == str(lotus.data / "proof-parameters")
    assert daemon["env"]["LOTUS_EVENTS_ENABLEACTOREVENTSAPI"] == "true"
    assert daemon["env"]["LOTUS_CHAININDEXER_ENABLEINDEXER"] == "true"
    assert run["env"]["LOTUS_SEALING_BATCHPRECOMMITS"] == "false"
    assert run["env"]["LOTUS_API_LISTENADDRESS"] == f"/ip4/127.0.0.1/tcp/{lotus.ports[1]}/http"


def test_the_genesis_template_names_both_root_keys_and_the_funded_miner(lotus: Lotus) -> None:
    lotus.up("--nv29-epoch", "500")
    template = json.loads((lotus.data / "genesis" / "localnet.json").read_text())
    assert len(set(template["VerifregRootKey"]["Meta"]["Signers"])) == 2
    assert template["Miners"][0]["SectorSize"] == 8 << 20
    assert template["NetworkName"].startswith("localnet-")
    assert {call["env"]["LOTUS_SOLSTICE_HEIGHT"] for call in lotus.calls()} == {"500"}


def test_a_second_start_goes_on_with_the_same_chain(lotus: Lotus) -> None:
    lotus.up()
    before = len(lotus.started())
    lotus.up()
    assert lotus.started()[before:] == ["lotus daemon", "lotus-miner run"]
    daemon = [call for call in lotus.calls() if call["words"][:1] == ["daemon"]][-2]
    assert daemon["words"] == [
        "daemon", f"--genesis={lotus.data}/genesis/devgen.car", "--bootstrap=false",
    ]  # fmt: skip


@pytest.mark.parametrize("step", ["fetch-params", "pre-seal", "add-miner", "import", "init"])
def test_a_step_that_failed_is_done_again_and_no_other(lotus: Lotus, step: str) -> None:
    failed = lotus.refused(FAKE_LOTUS_FAIL=step)
    assert failed.returncode == 1
    assert "no space left on device" in failed.stderr
    assert "ended with code 3" in failed.stderr
    assert "the whole log: " in failed.stderr
    before = lotus.started()
    lotus.up()
    again = lotus.started()[len(before) :]
    assert any(step in call for call in again)
    assert sum("fetch-params" in call for call in [*before, *again]) <= 2
    finished = before[: next(i for i, call in enumerate(before) if step in call)]
    assert not {c for c in finished if "pre-seal" in c and c.endswith("pre-seal")} & set(again)


def test_a_daemon_that_ends_is_told_with_the_end_of_its_log(lotus: Lotus) -> None:
    failed = lotus.refused(FAKE_LOTUS_FAIL="daemon")
    assert failed.returncode == 1
    assert "lotus ended with code 3" in failed.stderr
    assert "no space left on device" in failed.stderr
    assert "genesis" not in json.loads((lotus.data / "real-lotus.json").read_text())


def test_missing_programs_are_named_before_anything_is_made(lotus: Lotus) -> None:
    (lotus.bin / "lotus-seed").unlink()
    (lotus.bin / "lotus-shed").unlink()
    failed = lotus.refused()
    assert failed.returncode == 1
    assert "not found on PATH: lotus-seed, lotus-shed" in failed.stderr
    assert "make 2k" in failed.stderr
    assert not lotus.data.exists()


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        ("1.36.2+mainnet+git.b835fab7", "not a 2k build"),
        ("1.28.1+2k+git.1", "too old"),
        ("unknown", "does not print a Lotus version"),
    ],
)
def test_programs_of_the_wrong_build_are_refused(lotus: Lotus, version: str, reason: str) -> None:
    failed = lotus.refused(FAKE_LOTUS_VERSION=version)
    assert (failed.returncode, lotus.data.exists()) == (1, False)
    assert reason in failed.stderr


def test_programs_of_different_versions_are_refused(lotus: Lotus) -> None:
    (lotus.bin / "lotus-shed").write_text("#!/bin/sh\necho lotus-shed version 1.36.1+2k\n")
    failed = lotus.refused()
    assert "lotus is 1.36.2+2k+git.b835fab7 but lotus-shed is 1.36.1+2k" in failed.stderr


def test_options_and_directories_of_the_other_kind_are_refused(lotus: Lotus) -> None:
    assert "embedded devnet only" in lotus.refused("--flavour", "boost").stderr
    assert "embedded devnet only" in lotus.refused("--block-time", "4").stderr
    (lotus.data / "lotus").mkdir(parents=True)
    (lotus.data / "lotus" / "jwt-secret").touch()
    assert "belongs to an embedded devnet" in lotus.refused().stderr
    (lotus.data / "real-lotus.json").write_text("{}")
    command = [*RUN, "up", "--data-dir", str(lotus.data)]
    embedded = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert embedded.returncode == 2
    assert "belongs to a devnet of real Lotus" in embedded.stderr
