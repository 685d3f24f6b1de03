"""The wheel that would be published: what is in it, and that doctor notices when something stands before it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from tests.docs.pages import all_blocks
from tests.integration.packaging.empty_venv import link_distributions, needed_distributions

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("lotus_client", "fil_plus", "deals", "sp_plugin", "devstack")
BUILD_NEEDS = ("pyproject.toml", "README.md", "LICENSE-APACHE", "LICENSE-MIT")


def run(words: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """A program in a directory, without what the environment says about Python or pytest."""
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PYTEST"))
    }
    return subprocess.run(words, cwd=cwd, env=kept, capture_output=True, text=True, check=False)


def documented_files(page: str) -> dict[str, str]:
    """The files that the page tells a reader to write for pytest, by the name in their first line."""
    blocks = [
        block
        for language in ("python", "ini")
        for block in all_blocks(language, "pytest")
        if block.page.name == page
    ]
    return {block.text.splitlines()[0].removeprefix("# "): block.text for block in blocks}


def _modules() -> set[str]:
    """Every Python file of the five packages, as it should stand in the wheel."""
    return {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
    }


def _setuptools_is_new_enough() -> bool:
    try:
        return int(version("setuptools").split(".")[0]) >= 77
    except PackageNotFoundError:
        return False


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the sources without the network."""
    if not _setuptools_is_new_enough():
        pytest.skip("needs setuptools 77 or newer, as `make test` installs it")
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in BUILD_NEEDS:
        shutil.copy(ROOT / name, source)
    for package in (*PACKAGES, "tests", "examples"):
        shutil.copytree(
            ROOT / package,
            source / package,
            ignore=shutil.ignore_patterns("__pycache__", "*.so", "node_modules"),
        )
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder), "."]
    built = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    (found,) = folder.glob("*.whl")
    return found


def test_the_listed_packages_are_those_of_the_tree():
    setup = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for package in PACKAGES
        for path in (ROOT / package).rglob("__init__.py")
    }
    assert sorted(setup["packages"]) == sorted(found)


def test_the_wheel_holds_the_five_packages_and_nothing_else(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    extra = {f"{package}/py.typed" for package in PACKAGES}
    extra |= {"sp_plugin/store/migrations/script.py.mako", "deals/kernels/piece.wasm"}
    extension = re.compile(r"deals/kernels/_piece\..*so")  # where there was a compiler
    assert {name for name in names if not extension.fullmatch(name)} == _modules() | extra
    assert any(re.match(r"sp_plugin/store/migrations/versions/\d{12}_", name) for name in names)


def test_the_wheel_names_its_licences_and_its_commands(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        (base,) = {name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name}
        metadata = archive.read(f"{base}/METADATA").decode()
        entries = archive.read(f"{base}/entry_points.txt").decode()
        licences = {name for name in archive.namelist() if "/licenses/" in name}
    assert "License-Expression: Apache-2.0 OR MIT" in metadata
    assert licences == {f"{base}/licenses/{name}" for name in ("LICENSE-APACHE", "LICENSE-MIT")}
    assert "sp-plugin = sp_plugin.cli:main" in entries
    assert "devstack = devstack.cli:app" in entries


def test_the_installed_wheel_runs_and_doctor_tells_when_a_name_is_shadowed(
    wheel: Path, tmp_path: Path
):
    # The dependencies are those of this environment; only sp-plugin comes from the wheel.
    home = tmp_path / "venv"
    venv.create(home, symlinks=True)
    (site,) = home.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    outer = [path for path in sys.path if path.endswith("site-packages")]
    (site / "dependencies.pth").write_text("\n".join(outer) + "\n")

    config = tmp_path / "sp-plugin.yaml"
    config.write_text(
        f"data_dir: {tmp_path / 'data'}\n"
        "node: {endpoint: /ip4/127.0.0.1/tcp/9/http, network: mainnet}\n"
        "provider: {actor: f01000}\n"
        "earnings: {basis: verified_extra, capital_cost_apr_bps: 0}\n"
    )

    def packages_line(**environment: str) -> str:
        words = [str(home / "bin" / "python"), "-m", "sp_plugin", "doctor", "-c", str(config)]
        kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        done = subprocess.run(
            words, cwd=tmp_path, env=kept | environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 1, done.stderr  # no node answers
        return next(line for line in done.stdout.splitlines() if "packages" in line)

    assert "ok" in packages_line()
    assert str(site) in packages_line()

    stranger = tmp_path / "stranger" / "deals"
    shutil.copytree(ROOT / "deals", stranger)  # somebody else's `deals` that stands before ours
    line = packages_line(PYTHONPATH=str(stranger.parent))
    assert "FAIL" in line
    assert f"deals comes from {stranger.parent}" in line


def test_the_wheel_installs_beside_nothing_else_and_runs_the_documented_pytest_example(
    wheel: Path, tmp_path: Path
):
    home = tmp_path / "venv"
    venv.create(home, symlinks=True)
    python = str(home / "bin" / "python")
    (site,) = home.glob("lib/python*/site-packages")
    needed = needed_distributions(wheel, "pytest", "pytest-asyncio")
    assert {"aiohttp", "pytest", "pytest-asyncio"} <= needed.keys()
    for absent in ("hypothesis", "pytest-socket", "ruff"):  # the test environment has them
        assert absent not in needed
    link_distributions(needed, site)

    # With its dependencies in place pip has nothing to fetch, and refuses if the wheel wants more than those.
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"]
    installed = run([*pip, "install", "--quiet", "--no-index", str(wheel)], tmp_path)
    assert installed.returncode == 0, installed.stderr
    assert run([*pip, "check"], tmp_path).returncode == 0

    elsewhere = tmp_path / "a project of somebody"
    elsewhere.mkdir()
    for name, text in documented_files("devstack.md").items():
        (elsewhere / name).write_text(text)
    tested = run([python, "-m", "pytest", "-q"], elsewhere)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "1 passed" in tested.stdout
    where = run([python, "-c", "import devstack; print(devstack.__file__)"], elsewhere)
    assert where.stdout.startswith(str(site))
