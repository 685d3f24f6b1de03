"""The command line: exit codes, no tracebacks for bad input, JSON where asked for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sp_plugin.cli import main
from tests.unit.sp_plugin.test_config import GOOD


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main([*arguments])
    out, err = capsys.readouterr()
    code = caught.value.code
    return (code if isinstance(code, int) else 0), out, err


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "sp.yaml"
    path.write_text(GOOD.replace("/tmp/sp", str(tmp_path / "data")).replace("1234", "1"))
    return path


def test_a_good_configuration_exits_0_and_says_what_is_still_open(capsys, config: Path):
    code, out, _ = run(capsys, "config", "check", "-c", str(config))
    assert code == 0
    assert "datasets is empty: no piece can be computed over" in out


def test_a_bad_configuration_exits_2_with_every_problem(capsys, config: Path):
    config.write_text(config.read_text() + "nonsense: 1\nlog: {level: loud}\n")
    code, out, err = run(capsys, "config", "check", "-c", str(config))
    assert (code, out) == (2, "")
    assert "unknown key" in err
    assert "log.level: must be one of" in err
    assert "Traceback" not in err


def test_problems_come_as_json_too(capsys, config: Path):
    config.write_text(config.read_text() + "nonsense: 1\n")
    code, out, _ = run(capsys, "config", "check", "-c", str(config), "--json")
    assert code == 2
    (problem,) = json.loads(out)["problems"]
    assert problem["where"] == f"{config}:9: nonsense"


def test_a_missing_configuration_says_how_to_make_one(capsys, tmp_path: Path):
    code, _, err = run(capsys, "config", "check", "-c", str(tmp_path / "none.yaml"))
    assert code == 2
    assert "sp-plugin init" in err


def test_an_unknown_command_exits_2(capsys):
    assert run(capsys, "frobnicate")[0] == 2


def test_init_writes_a_configuration_once_and_never_over_another(capsys, tmp_path: Path):
    path = tmp_path / "sp.yaml"
    given = ["init", "--actor", "f01234", "--data-dir", str(tmp_path / "d"), str(path)]
    assert run(capsys, *given)[0] == 0
    assert path.stat().st_mode & 0o777 == 0o600
    assert run(capsys, "config", "check", "-c", str(path))[0] == 0
    before = path.read_text()
    code, _, err = run(capsys, *given)
    assert code == 1
    assert "was not changed" in err
    assert path.read_text() == before


def test_init_refuses_an_actor_that_is_none(capsys, tmp_path: Path):
    code, _, err = run(
        capsys, "init", "--actor", "1234", "--data-dir", str(tmp_path), str(tmp_path / "x.yaml")
    )
    assert code == 2
    assert "provider.actor" in err
    assert not (tmp_path / "x.yaml").exists()


def test_init_takes_the_hosts_role_and_refuses_one_that_is_none(capsys, tmp_path: Path):
    given = ["init", "--actor", "f01234", "--data-dir", str(tmp_path / "d"), "--host-role"]
    path = tmp_path / "sp.yaml"
    assert run(capsys, *given, "sealer", str(path))[0] == 0
    assert "  host_role: sealer\n" in path.read_text()
    code, _, err = run(capsys, *given, "miner", str(tmp_path / "x.yaml"))
    assert (code, "prover, sealer, storage, compute" in err) == (2, True)
    assert not (tmp_path / "x.yaml").exists()


def test_init_asks_for_the_role_on_a_terminal_only(capsys, tmp_path: Path, monkeypatch):
    given = ["init", "--actor", "f01234", "--data-dir", str(tmp_path / "d")]
    assert run(capsys, *given, str(tmp_path / "a.yaml"))[0] == 0
    assert "  host_role: null\n" in (tmp_path / "a.yaml").read_text()
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.prompt", lambda *_, **options: options["default"])
    code, out, _ = run(capsys, *given, str(tmp_path / "b.yaml"))
    assert (code, "What else does this host do" in out) == (0, True)
    assert "  host_role: prover\n" in (tmp_path / "b.yaml").read_text()


def test_commp_gives_the_documented_json(capsys, tmp_path: Path):
    (tmp_path / "payload").write_bytes(bytes(127 * 4))
    code, out, _ = run(capsys, "commp", str(tmp_path / "payload"), "--json")
    answer = json.loads(out)
    assert code == 0
    assert list(answer) == [
        "piece_cid", "piece_cid_v2", "payload_size", "padded_size", "kernel", "seconds",
    ]  # fmt: skip
    assert (answer["payload_size"], answer["padded_size"]) == (508, 512)


def test_commp_of_a_missing_file_exits_2(capsys, tmp_path: Path):
    code, _, err = run(capsys, "commp", str(tmp_path / "none"))
    assert (code, err) == (
        2,
        f"error: {tmp_path / 'none'} cannot be read: No such file or directory\n",
    )


def test_a_car_is_packed_listed_verified_and_its_damage_seen(capsys, tmp_path: Path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("hello")
    car = tmp_path / "a.car"
    code, out, _ = run(capsys, "car", "pack", str(tmp_path / "in"), str(car), "--json")
    root = json.loads(out)["root"]
    code, out, _ = run(capsys, "car", "verify", str(car), "--json")
    assert (code, json.loads(out)["roots"]) == (0, [root])
    code, out, _ = run(capsys, "car", "ls", str(car), "--json")
    assert [row["path"] for row in json.loads(out)] == [root, f"{root}/a.txt"]
    damaged = bytearray(car.read_bytes())
    damaged[damaged.index(b"hello")] ^= 1
    car.write_bytes(damaged)
    code, _, err = run(capsys, "car", "verify", str(car))
    assert code == 2
    assert err.startswith("error: ")


def test_a_car_without_its_blocks_is_said_to_be_so_by_every_command(capsys, tmp_path: Path):
    for number in range(3):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{number}.txt").write_text(f"hello {number}")
    car, damaged, short = (tmp_path / name for name in ("a.car", "damaged.car", "short.car"))
    run(capsys, "car", "pack", str(tmp_path / "in"), str(car))
    raw = car.read_bytes()
    damaged.write_bytes(raw.replace(b"hello 1", b"hellO 1"))
    short.write_bytes(raw[: raw.index(b"hello 2") + 2])
    for broken in (damaged, short, tmp_path / "in" / "0.txt", tmp_path / "in", tmp_path / "none"):
        for command in (["verify"], ["ls"], ["unpack"]):
            into = [str(tmp_path / "out")] if command == ["unpack"] else []
            code, _, err = run(capsys, "car", *command, str(broken), *into)
            if broken == damaged and command == ["ls"]:
                continue  # listing reads no file contents
            assert (code, err[:7]) == (2, "error: "), (broken, command)
            assert not (tmp_path / "out").exists()
    assert run(capsys, "car", "unpack", str(car), str(tmp_path / "out"))[0] == 0
    assert (tmp_path / "out" / "2.txt").read_text() == "hello 2"
    code, _, err = run(capsys, "car", "unpack", str(car), str(tmp_path / "out"))
    assert (code, "exists already" in err) == (2, True)


def test_a_command_that_needs_the_sidecar_exits_4_without_one(capsys, monkeypatch):
    monkeypatch.setenv("SP_PLUGIN_URL", "http://127.0.0.1:9")

    def refuse(*_arguments: object, **_options: object) -> None:
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    code, _, err = run(capsys, "job", "list")
    assert code == 4
    assert "sp-plugin run" in err


def test_a_job_file_with_a_repeated_key_exits_2_at_its_line(capsys, monkeypatch, tmp_path: Path):
    monkeypatch.setenv("SP_PLUGIN_URL", "http://127.0.0.1:9")
    (tmp_path / "job.yaml").write_text("Type: batch\nName: a\nType: ops\n")
    code, _, err = run(capsys, "job", "submit", str(tmp_path / "job.yaml"))
    assert code == 2
    assert f"{tmp_path / 'job.yaml'}:3: Type: the key stands twice" in err


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from sp_plugin.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'aiohttp','sqlalchemy','pydantic','web3','wasmtime','yaml'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr.strip() == "[]"
