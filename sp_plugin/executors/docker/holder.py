"""A container that does nothing but hold a volume open: its image is one program of some bytes, made here.

A memory volume is mounted while a container uses it. The job's container ends before its outputs are read, so another one
must hold them, and nothing may be assumed to be in the job's own image.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import tarfile
from typing import Any, Final

import docker
from docker.errors import ImageNotFound

__all__ = ["holder_image", "waiting_program"]

_REPOSITORY: Final = "sp-plugin-holder"
# ELF-64, little endian, executable; e_machine 62 and 183 (System V ABI, elf(5)).
_MACHINES: Final = {"x86_64": 62, "amd64": 62, "aarch64": 183, "arm64": 183}
# pause() in a loop: system call 34 (Linux arch/x86/entry/syscalls/syscall_64.tbl).
_X86_64: Final = bytes.fromhex("b822000000 0f05 ebf7")
# ppoll(NULL, 0, NULL, NULL, 0) in a loop: system call 73 (Linux include/uapi/asm-generic/unistd.h).
_AARCH64: Final = b"".join(
    word.to_bytes(4, "little")
    for word in (
        0xD2800000, 0xD2800001, 0xD2800002, 0xD2800003, 0xD2800004, 0xD2800928, 0xD4000001, 0x17FFFFF9,
    )
)  # fmt: skip
_BASE: Final = 0x400000
_HEADER, _SEGMENT = 64, 56


def waiting_program(architecture: str) -> bytes:
    """A static Linux program that sleeps until it is killed.

    Raises:
        ValueError: not for this architecture (as `GET /info` names it).
    """
    machine = _MACHINES.get(architecture)
    if machine is None:
        raise ValueError(f"there is no holder for {architecture}")
    code = _X86_64 if machine == _MACHINES["x86_64"] else _AARCH64
    size = _HEADER + _SEGMENT + len(code)
    identity = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = struct.pack(
        "<HHIQQQIHHHHHH", 2, machine, 1, _BASE + _HEADER + _SEGMENT, _HEADER, 0, 0, _HEADER, _SEGMENT, 1, 0, 0, 0
    )  # fmt: skip
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    return identity + header + segment + code


def holder_image(client: docker.DockerClient, architecture: str) -> str:
    """The ID of the holder's image, made at the engine if it is not there.

    Raises:
        ValueError: not for this architecture.
        docker.errors.APIError: the engine refuses.
    """
    program = waiting_program(architecture)
    tag = hashlib.sha256(program).hexdigest()[:12]
    try:
        return str(client.images.get(f"{_REPOSITORY}:{tag}").id)
    except ImageNotFound:
        pass
    answer: str = client.api.import_image_from_data(
        _archive(program), repository=_REPOSITORY, tag=tag, changes=['ENTRYPOINT ["/hold"]']
    )
    found: Any = client.images.get(json.loads(answer.splitlines()[-1])["status"])
    found.tag(_REPOSITORY, tag)  # Podman names it `latest`, whatever it is told
    return str(found.id)


def _archive(program: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        entry = tarfile.TarInfo("hold")
        entry.size, entry.mode = len(program), 0o755
        tar.addfile(entry, io.BytesIO(program))
    return out.getvalue()
