"""What needs an outside engine: fixtures that skip with a reason where it is missing."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from pathlib import Path

import docker
import pytest

from sp_plugin.executors.docker import probe_engine

# Several workers of one run share the engine, and each removes its image in the end.
IMAGE_TAG = f"busybox-{os.getpid()}"
IMAGE = f"sp-plugin-test:{IMAGE_TAG}"
_COMMANDS = (
    "sh", "cat", "echo", "sleep", "dd", "id", "touch", "ls", "head", "yes", "tail",
)  # fmt: skip
_BUSYBOX = shutil.which("busybox") or "/bin/busybox"


def _engine():
    try:
        probe_engine(os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock"))
        client = docker.from_env(timeout=20)
        client.ping()
    except (docker.errors.DockerException, OSError) as error:
        pytest.skip(f"needs a running Docker engine: {error}")
    return client


@pytest.fixture(scope="session")
def image():
    """An image with nothing but a static busybox, and a VOLUME that no run may write to for long."""
    client = _engine()
    try:
        yield import_busybox(client)
    finally:
        client.images.remove(IMAGE, force=True)
        client.close()


def import_busybox(client: docker.DockerClient) -> str:
    """The ID of that image, made at an engine."""
    if not Path(_BUSYBOX).exists():
        pytest.skip("needs a static busybox (Debian: busybox-static)")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        folder = tarfile.TarInfo("bin")  # else an engine that remaps users makes it root's alone
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(folder)
        tar.add(_BUSYBOX, "bin/busybox")
        for name in _COMMANDS:
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    changes = ["ENV PATH=/bin", "VOLUME /scratch"]
    return import_image(client, archive.getvalue(), "sp-plugin-test", IMAGE_TAG, changes)


def import_image(
    client: docker.DockerClient, archive: bytes, name: str, tag: str, changes: list[str]
) -> str:
    """The ID of an image made of a root file system; Podman's engine would give it a tag of its own choice."""
    answer = client.api.import_image_from_data(archive, repository=name, tag=tag, changes=changes)
    made = json.loads(answer.splitlines()[-1])["status"]
    client.images.get(made).tag(name, tag)
    return client.images.get(f"{name}:{tag}").id
