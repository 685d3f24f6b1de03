"""The commands in the documentation, typed into a shell beside a local network with a running sidecar.

A fence marked `run` is executed; all such blocks of a page run in one shell, in order, and any failing command fails
the page. A `text output` fence behind such a block lists lines that must be printed; `…` stands for anything.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from devstack.demo.show import Show
from devstack.demo.story import Story
from devstack.demo.world import World, examples_dir
from tests.docs.pages import PAGES, ROOT, Block, all_blocks, blocks_of, name_of

SIDECAR_PAGES = [
    page
    for page in PAGES
    if any(b.language == "sh" and "run" in b.words for b in blocks_of(page))
    and page.name not in ("devstack.md", "lotus_client.md")
]
MARK = "@@ block "

# What `lotus wallet sign` does since Lotus 1.35: it signs its hexadecimal argument in the FRC-0102 envelope.
LOTUS = f"""\
#!{sys.executable}
import os, pathlib, sys
from lotus_client.crypto import Secp256k1Key, envelope
match sys.argv[1:]:
    case ["wallet", "sign", address, text]:
        for file in pathlib.Path(os.environ["KEYS"]).glob("*.key"):
            key = Secp256k1Key(bytes.fromhex(file.read_text()))
            if str(key.address) == address:
                print(key.sign(envelope(bytes.fromhex(text))).to_bytes().hex())
                sys.exit(0)
        sys.exit("no such key")
    case ["auth", "create-token", "--perm", "read" | "write"]:
        print("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJBbGxvdyI6WyJyZWFkIl19.AAAA")
    case _:
        sys.exit("this test knows no such lotus command")
"""
SP_PLUGIN = f"""\
#!{sys.executable}
import sys
from sp_plugin.cli import app, main
if sys.argv[1:2] == ["devstack"]:
    from devstack.cli import app as devstack_app
    app.add_typer(devstack_app, name="devstack")
    app()
else:
    main()
"""


def programs(folder: Path) -> Path:
    """A directory for PATH with `sp-plugin`, `python` and `lotus`."""
    folder.mkdir()
    python = f'#!/bin/sh\nexec {sys.executable} "$@"\n'
    for name, text in (("sp-plugin", SP_PLUGIN), ("lotus", LOTUS), ("python", python)):
        (folder / name).write_text(text)
        (folder / name).chmod(stat.S_IRWXU)
    return folder


def script_of(page: Path) -> str:
    """The page's run blocks as one script that prints a mark before each."""
    parts = ["set -euo pipefail"]
    for block in blocks_of(page):
        if "run" not in block.words:
            continue
        parts.append(f"echo '{MARK}{block.line}'")
        if block.language == "sh":
            parts.append(block.text)
        elif block.language == "python":
            parts.append(f"python - <<'END_OF_PYTHON'\n{block.text}END_OF_PYTHON")
    return "\n".join(parts) + "\n"


def expected_outputs(page: Path) -> dict[int, str]:
    """The `text output` block behind each run block, by the line of the latter."""
    found: dict[int, str] = {}
    before: Block | None = None
    for block in blocks_of(page):
        if block.language == "text" and "output" in block.words:
            assert before is not None, f"{block} stands behind no run block"
            found[before.line] = block.text
        before = block if "run" in block.words else None
    return found


def missing_lines(wanted: str, printed: str) -> list[str]:
    """The wanted lines that were not printed, whatever the white space; `…` stands for anything."""
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    missing = []
    for line in filter(None, (" ".join(line.split()) for line in wanted.splitlines())):
        pattern = ".*".join(re.escape(part.strip()) for part in line.split("…"))
        pattern = pattern.replace(r"\.\*", ".*")
        if not any(re.search(pattern, candidate) for candidate in lines):
            missing.append(line)
    return missing


async def run_page(page: Path, home: Path, environment: dict[str, str]) -> None:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("SP_PLUGIN")}
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-c",
        script_of(page),
        cwd=home,
        env=kept | environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    raw, _ = await process.communicate()
    printed = raw.decode()
    assert process.returncode == 0, (
        f"{name_of(page)} ended with {process.returncode}:\n{printed[-4000:]}"
    )
    found = re.findall(rf"{MARK}(\d+)\n(.*?)(?={MARK}|\Z)", printed, re.DOTALL)
    by_block = {int(number): text for number, text in found}
    for line, wanted in expected_outputs(page).items():
        missing = missing_lines(wanted, by_block[line])
        assert not missing, f"{name_of(page)}:{line} printed\n{by_block[line]}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def story(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Story]:
    """The demo's network with the client's dataset in a verified deal, and the sidecar beside it."""
    async with World(tmp_path_factory.mktemp("docs") / "world") as world:
        data = world.pack(examples_dir() / "data" / "earth", "earth")
        world.dataset_root = data.root
        story = Story(world, world.sidecar(), Show(), data)
        await story.make_deal()
        await story.sidecar.start()
        try:
            await story.see_piece()
            yield story
        finally:
            await story.sidecar.stop()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty directory with the repository's examples."""
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "examples").symlink_to(ROOT / "examples")
    return tmp_path / "here"


@pytest.mark.slow
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("page", SIDECAR_PAGES, ids=name_of)
async def test_the_commands_of_a_page_do_what_it_says(
    page: Path, story: Story, home: Path, tmp_path: Path
):
    keys = story.sidecar.config.parent
    keys_of = (("ada", "approver-1"), ("ben", "approver-2"), ("scientist", "scientist"))
    for name, key in keys_of:
        shutil.copy(keys / f"{key}.key", home / f"{name}.key")
    environment = {
        "PATH": f"{programs(tmp_path / 'bin')}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "SP_PLUGIN_CONFIG": str(story.sidecar.config),
        "PIECE_CID": str(story.data.commitment.piece_cid),
        "PAYEE": str(story.world.key("scientist").address),
        "BEN": str(story.world.key("approver-2").address),
        "KEYS": str(home),
        "SIDECAR": story.sidecar.url,
    }
    await run_page(page, home, environment)


def test_there_are_pages_to_run():
    names = {name_of(page) for page in SIDECAR_PAGES}
    docs = {f"docs/{name}.md" for name in ("jobs", "approving", "operating", "money")}
    assert names == docs | {"README.md", "examples/README.md"}


@pytest.mark.parametrize("name", ["devstack.md", "lotus_client.md"])
async def test_pages_of_the_devnet_run_without_anything_else(name: str, home: Path, tmp_path: Path):
    environment = {
        "PATH": f"{programs(tmp_path / 'bin')}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    await run_page(ROOT / "docs" / name, home, environment)


def test_the_pytest_example_of_the_devstack_page_passes(tmp_path: Path):
    files = [*all_blocks("python", "pytest"), *all_blocks("ini", "pytest")]
    assert len(files) == 3
    for block in files:
        name = block.text.splitlines()[0].removeprefix("# ")
        (tmp_path / name).write_text(block.text)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            ".",
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_the_check_of_outputs_sees_what_is_missing():
    assert missing_lines("a … c\n\nd", "a b  c\nd e\n") == []
    assert missing_lines("x\na …", "a b\n") == ["x"]
