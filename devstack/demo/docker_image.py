"""The demo's Docker image: one static program and nothing else, so that nothing has to be pulled."""

from __future__ import annotations

import io
import os
import platform
import tarfile
from pathlib import Path
from typing import Any, Final

__all__ = ["build_image", "why_no_engine"]

_PROGRAM: Final = "co2-x86_64"
_TAG: Final = "sp-plugin-demo-co2"


def why_no_engine() -> str | None:
    """Why no container can run here, or None if one can."""
    if platform.machine() != "x86_64":
        return f"the example image holds an x86-64 program and this is {platform.machine()}"
    where = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    import docker
    from docker.errors import DockerException

    from sp_plugin.executors.docker import probe_engine

    try:
        probe_engine(where)
        client = docker.from_env()
        try:
            client.ping()
        finally:
            client.close()
    except (DockerException, OSError):
        return f"no Docker engine answers at {where}"
    return None


def build_image(folder: Path) -> str:
    """Build `folder/Dockerfile` (FROM scratch) and return the image ID, `sha256:…`."""
    import docker

    client = docker.from_env()
    try:
        image: Any = client.images.build(
            fileobj=io.BytesIO(_context(folder)), custom_context=True, tag=_TAG, rm=True, pull=False
        )[0]
        return str(image.id)
    finally:
        client.close()


def _context(folder: Path) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name in ("Dockerfile", _PROGRAM):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = (folder / name).stat().st_size, 0o755
            with (folder / name).open("rb") as file:
                archive.addfile(entry, file)
    return out.getvalue()
