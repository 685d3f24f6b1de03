"""The ML example: its image built from its Dockerfile, over images in a verified piece, its model trained anew."""

from __future__ import annotations

import asyncio
import csv
import io
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import docker
import pytest
import yaml
from docker.errors import ImageNotFound

from deals.unixfs_write import pack_car
from devstack.demo.docker_image import why_no_engine
from devstack.stack import Devstack
from sp_plugin.executors.base import (
    DockerProgram,
    ExecutionLimits,
    ExecutionOutcome,
    ExecutionRequest,
    ExecutorSettings,
    InputVolume,
    OutcomeKind,
    OutputVolume,
)
from sp_plugin.executors.docker import DockerExecutor
from tests.integration.examples.conftest import EXAMPLES, checked
from tests.integration.service.conftest import make_deal, running, write_config
from tests.integration.service.test_story import approve

BASE = "sp-plugin-test/python:3.11"  # made by .ci/python-image
EXAMPLE = EXAMPLES / "digits"
IMAGES = EXAMPLES / "data" / "digits"


@pytest.fixture(scope="module")
def image() -> str:
    """The image of the example; its base stands for python:3.11-slim, and has the libraries already."""
    if reason := why_no_engine():
        pytest.skip(f"needs a Docker engine: {reason}")
    client = docker.from_env()
    with closing(client):
        try:
            client.images.get(BASE)
        except ImageNotFound:
            pytest.skip(
                f"needs the Docker image {BASE}: .ci/python-image makes it of a Debian root"
            )
        built, _ = client.images.build(
            path=str(EXAMPLE), buildargs={"BASE": BASE}, rm=True, pull=False, network_mode="none"
        )
        return str(built.id)


async def run(image: str, images: Path, home: Path) -> ExecutionOutcome:
    results = home / "results"
    results.mkdir()
    executor = DockerExecutor(ExecutorSettings(cache_dir=home / "cache", owner=str(home)))
    try:
        return await executor.run(
            ExecutionRequest(
                execution_id=f"e-{home.name}"[:40],
                job_id="j-digits",
                program=DockerProgram(image),
                arguments=("/inputs", "/outputs/digits.csv"),
                inputs=(InputVolume(images, "/inputs"),),
                outputs=(OutputVolume("outputs", "/outputs"),),
                limits=ExecutionLimits(memory_bytes=512 << 20, wall_seconds=60),
                result_dir=results,
            )
        )
    finally:
        await executor.close()


@pytest.mark.docker
async def test_digits_are_told_from_the_images_of_a_verified_piece(
    devnet: Devstack, image: str, tmp_path: Path
) -> None:
    """The example's own job file, its three words filled in."""
    out = io.BytesIO()
    pack_car(IMAGES, out)
    await make_deal(devnet, out.getvalue())
    await devnet.advance(40)
    changes = {
        "  minimum_piece_bytes: 256": "  minimum_piece_bytes: 256\n  docker: {enabled: true}",
        "  - name: open": "  - name: digits",
    }
    async with running(write_config(devnet, tmp_path, **changes)) as sidecar:
        pieces = await sidecar.until(
            "/api/v1/sp/pieces", lambda found: [i["state"] for i in found["items"]] == ["verified"]
        )
        text = (EXAMPLE / "job.yaml").read_text()
        for word, value in (
            ("PIECE_CID", pieces["items"][0]["piece_cid"]),
            ("PAYEE", str(devnet.network.key("carol").address)),
            ("Image: IMAGE", f"Image: {image}"),
        ):
            text = text.replace(word, value, 1)
        put = await sidecar.call("PUT", "/api/v1/orchestrator/jobs", Job=yaml.safe_load(text))
        await approve(devnet, sidecar, put["JobID"], "ada", "ben")
        path = f"/api/v1/orchestrator/jobs/{put['JobID']}"
        over = await sidecar.until(
            path, lambda found: found["Job"]["State"]["StateType"] in ("Completed", "Failed"), 60
        )
        executions = await sidecar.call("GET", f"{path}/executions")
        (execution,) = executions["Items"]
        assert over["Job"]["State"]["StateType"] == "Completed", execution
        assert execution["RunOutput"]["Stdout"].startswith("100 images: 0×")
        (table,) = (tmp_path / "sp").rglob("digits.csv")
        assert checked("digits", IMAGES, table) == "96 of 100 images are right"


@pytest.mark.docker
@pytest.mark.parametrize(
    ("files", "code", "said"),
    [
        ({}, 66, "holds no PNG images"),
        ({"readme.txt": b"no image"}, 66, "holds no PNG images"),
        ({"a.png": b"no image"}, 65, "a.png: no image"),
        ({"a.png": (IMAGES / "000.png").read_bytes()[:-40]}, 65, "a.png: no image"),
    ],
    ids=["nothing", "other files", "no image", "cut short"],
)
async def test_bad_input_ends_with_the_documented_exit_code(
    image: str, tmp_path: Path, files: dict[str, bytes], code: int, said: str
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for name, data in files.items():
        (images / name).write_bytes(data)
    outcome = await run(image, images, tmp_path)
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.FINISHED, code), outcome.stderr
    assert said in outcome.stderr.head
    assert len(outcome.stderr.head.splitlines()) == 1, "what the libraries say of themselves"


async def test_the_model_and_the_images_can_be_made_anew(tmp_path: Path) -> None:
    if not (EXAMPLE / ".venv" / ".installed").exists():
        pytest.skip("needs scikit-learn and onnx: make -C examples/digits model")
    made = await asyncio.to_thread(
        subprocess.run,
        ["make", "-s", "model", f"MADE={tmp_path}"],
        cwd=EXAMPLE, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert made.stdout == "right on 96%\n"
    for path in IMAGES.glob("*.*"):
        if path.name != "README.txt":
            assert (tmp_path / "digits" / path.name).read_bytes() == path.read_bytes()
    assert (tmp_path / "model.onnx").stat().st_size == (EXAMPLE / "model.onnx").stat().st_size


def test_a_wrong_table_is_told_from_a_right_one(tmp_path: Path) -> None:
    with (IMAGES / "labels.csv").open(newline="") as lines:
        rows = list(csv.reader(lines))
    table = tmp_path / "digits.csv"
    for wrong, said in ((5, "95 of 100 images are right"), (6, "94 of 100 images are right")):
        text = "".join(
            f"{name},{digit if number > wrong else 'x'}\n"
            for number, (name, digit) in enumerate(rows)
        )
        table.write_text(text.replace("image,x", "image,digit"))
        done = subprocess.run(
            [sys.executable, EXAMPLE / "check.py", IMAGES, table],
            capture_output=True, text=True, check=False, env={**os.environ},
        )  # fmt: skip
        assert (done.returncode, done.stdout.strip()) == (int(wrong > 5), said)
    table.write_text("image,digit\n000.png,1\n")
    done = subprocess.run(
        [sys.executable, EXAMPLE / "check.py", IMAGES, table], capture_output=True, check=False
    )
    assert done.returncode == 1
