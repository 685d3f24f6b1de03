"""All kernels give the same bytes; the fastest is taken, and its fallbacks when it is not there."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import deals.kernels
from deals.commp import commp
from deals.kernels import (
    SUBTREE_PAYLOAD,
    KernelUnavailable,
    NotFr32,
    all_kernels,
    kernel_named,
)
from deals.kernels.native import NATIVE_NAMES, native_kernels
from deals.kernels.pure import PythonKernel
from deals.kernels.zeros import ZERO_ROOTS

KERNELS = all_kernels()
SOURCES = Path(deals.kernels.__file__).parent
PURE = PythonKernel()

each_kernel = pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)


def noise(size: int) -> bytes:
    return hashlib.shake_256(b"kernels").digest(size)


@each_kernel
@settings(max_examples=25)
@given(data=st.data())
def test_every_kernel_finds_the_same_root_with_zeros_anywhere(kernel, data):
    level = data.draw(st.integers(2, 13))
    room = 127 << (level - 2)
    head, hole, tail = (data.draw(st.integers(0, room // 3)) for _ in range(3))
    payload = noise(head) + bytes(hole) + noise(tail)
    assert kernel.payload_root(payload, level) == PURE.payload_root(payload, level)


@each_kernel
@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 8, 15, 16, 17, 31, 33, 64])
def test_every_kernel_makes_the_same_nodes_of_any_number(kernel, count):
    pairs = noise(64 * count)
    expected = b""
    for at in range(0, len(pairs), 64):
        digest = hashlib.sha256(pairs[at : at + 64]).digest()
        expected += digest[:31] + bytes([digest[31] & 0x3F])
    assert kernel.nodes(pairs) == expected


@each_kernel
@pytest.mark.parametrize("quads", [0, 1, 2, 63, 64, 65, 40_000])
def test_every_kernel_pads_and_unpads_alike(kernel, quads):
    payload = noise(127 * quads)
    padded = kernel.pad(payload)
    assert padded == PURE.pad(payload)
    assert kernel.unpad(padded) == payload
    dirty = bytes(byte | 0xC0 if at % 32 == 31 else byte for at, byte in enumerate(padded[:4096]))
    assert kernel.unpad(dirty) == payload[: len(dirty) // 128 * 127]


@each_kernel
def test_every_kernel_takes_any_buffer(kernel):
    payload = noise(127 * 8)
    expected = PURE.payload_root(payload, 5)
    for form in (bytearray(payload), memoryview(payload), memoryview(bytearray(payload))):
        assert kernel.payload_root(form, 5) == expected
        assert kernel.pad(form) == PURE.pad(payload)
        assert kernel.nodes(form[: 64 * 15]) == PURE.nodes(payload[: 64 * 15])


@pytest.mark.parametrize("kernel", KERNELS[:-1], ids=lambda kernel: kernel.name)
@pytest.mark.parametrize(("size", "level"), [(128, 2), (0, 1), (0, 18), (SUBTREE_PAYLOAD + 1, 17)])
def test_a_payload_that_does_not_fit_is_refused(kernel, size, level):
    with pytest.raises(ValueError, match="no payload of a tree"):
        kernel.payload_root(bytes(size), level)


@each_kernel
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_and_kernels_do_not_change_a_pieces_commitment(kernel, threads):
    size = 3 * SUBTREE_PAYLOAD + 12345
    if kernel.name == "hashlib":
        size = SUBTREE_PAYLOAD + 999
    found = commp(io.BytesIO(noise(size)), threads=threads, kernel=kernel)
    assert found == commp(io.BytesIO(noise(size)), threads=1, kernel=KERNELS[0])
    assert found.payload_size == size


class Drip(io.RawIOBase):
    """Gives at most 100,000 bytes at a time, as a pipe or a socket does."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        return self._data.readinto(memoryview(buffer)[:100_000])


def test_a_reader_that_answers_short_gives_the_same_commitment():
    data = noise(SUBTREE_PAYLOAD + 5)
    assert commp(Drip(data)) == commp(io.BytesIO(data))


def test_progress_is_heard_to_the_last_byte_and_may_stop_the_work():
    heard: list[int] = []
    commp(io.BytesIO(bytes(2 * SUBTREE_PAYLOAD + 1)), on_progress=heard.append)
    assert heard == [SUBTREE_PAYLOAD, 2 * SUBTREE_PAYLOAD, 2 * SUBTREE_PAYLOAD + 1]

    class Stop(Exception):
        pass

    def stop(_: int) -> None:
        raise Stop

    with pytest.raises(Stop):
        commp(io.BytesIO(bytes(20 * SUBTREE_PAYLOAD)), on_progress=stop)


def chosen(folder: Path, **environment: str) -> str:
    """The kernel's name and the root it finds, in a process of its own."""
    program = (
        "from deals.kernels import current_kernel as c\n"
        "print(c().name, c().payload_root(bytes(range(254)), 4).hex())"
    )
    kept = {key: value for key, value in os.environ.items() if key != "SP_PLUGIN_KERNEL"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder, env=kept | environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr == "" or done.returncode, done.stderr
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


@pytest.fixture
def without_extension(tmp_path: Path) -> Path:
    """The packages as an installation without a compiler has them."""
    root = SOURCES.parent.parent
    for package in ("deals", "fil_plus", "lotus_client"):
        shutil.copytree(root / package, tmp_path / package, ignore=shutil.ignore_patterns("*.so"))
    return tmp_path


ROOT = PURE.payload_root(bytes(range(254)), 4).hex()


def test_without_the_extension_the_wasm_kernel_takes_its_place(without_extension: Path):
    assert chosen(without_extension) == f"wasm {ROOT}"


def test_a_broken_extension_is_as_good_as_none(without_extension: Path):
    (without_extension / "deals/kernels/_piece.abi3.so").write_bytes(b"\x7fELF of something else")
    assert chosen(without_extension) == f"wasm {ROOT}"


def test_without_wasmtime_too_hashlib_does_it(without_extension: Path):
    (without_extension / "wasmtime.py").write_text("raise ImportError('not here')")
    assert chosen(without_extension) == f"hashlib {ROOT}"


def test_the_fastest_native_kernel_is_taken_and_can_be_overridden():
    here = Path.cwd()
    native = [kernel.name for kernel in native_kernels()]
    if native:
        assert chosen(here).split()[0] in native
    assert chosen(here, SP_PLUGIN_KERNEL="hashlib") == f"hashlib {ROOT}"
    assert "there is no kernel 'magic' on this machine; there are: " in chosen(
        here, SP_PLUGIN_KERNEL="magic"
    )
    with pytest.raises(KernelUnavailable, match="hashlib"):
        kernel_named("magic")


@pytest.mark.clang
def test_the_module_in_the_tree_is_what_its_makefile_builds(tmp_path: Path):
    if shutil.which("clang-14") is None:
        pytest.skip("needs Debian 12's clang, lld, wasi-libc and libclang-rt-14-dev-wasm32")
    for name in ("Makefile", "piece.c"):
        shutil.copy(SOURCES / name, tmp_path)
    subprocess.run(["make", "-s", "-C", tmp_path], check=True)
    assert (tmp_path / "piece.wasm").read_bytes() == (SOURCES / "piece.wasm").read_bytes()


def test_the_arm_kernel_agrees_under_an_emulator(tmp_path: Path):
    compiler, emulator = shutil.which("aarch64-linux-gnu-gcc"), shutil.which("qemu-aarch64")
    if compiler is None or emulator is None:
        pytest.skip(
            "needs aarch64-linux-gnu-gcc and qemu-aarch64 (Debian: gcc-aarch64-linux-gnu qemu-user)"
        )
    program, zeros = tmp_path / "kernels", tmp_path / "zeros"
    zeros.write_bytes(b"".join(ZERO_ROOTS[:18]))
    main = Path(__file__).with_name("kernel_main.c")
    subprocess.run(
        [compiler, "-O3", "-std=c11", "-static", SOURCES / "piece.c", main, "-o", program],
        check=True,
    )
    payload = noise(100_000) + bytes(5000) + noise(77)
    said = subprocess.run(
        [emulator, program, "13", zeros], input=payload, capture_output=True, check=True
    ).stdout.decode()
    root = PURE.payload_root(payload, 13).hex()
    lines = [line.split() for line in said.splitlines()]
    roots = {NATIVE_NAMES[int(number)]: set(found) for number, *found in lines}
    assert roots == {"portable": {root}, "vector4": {root}, "armv8": {root}}


@each_kernel
@pytest.mark.parametrize(("quads", "level"), [(0, 2), (1, 2), (3, 5), (256, 10), (700, 12)])
def test_data_that_is_padded_already_has_the_same_root(kernel, quads, level):
    payload = noise(127 * quads)
    assert kernel.padded_root(PURE.pad(payload), level) == PURE.payload_root(payload, level)


@each_kernel
@pytest.mark.parametrize("bit", [0x40, 0x80])
def test_padded_data_with_a_top_bit_set_is_refused_with_the_byte(kernel, bit):
    padded = bytearray(PURE.pad(noise(127 * 600)))
    padded[32 * 1500 + 31] |= bit
    with pytest.raises(NotFr32, match="padded byte 48031 has a bit") as caught:
        kernel.padded_root(padded, 12)
    assert caught.value.behind(1000).offset == 49031


@each_kernel
@given(quads=st.integers(0, 70))
def test_unpadding_may_overwrite_what_it_reads(kernel, quads):
    payload = noise(127 * quads)
    room = bytearray(PURE.pad(payload)) + b"behind"
    view = memoryview(room)
    kernel.unpad_into(view[: 128 * quads], view[: 128 * quads])
    assert room[: 127 * quads] == payload
    assert room[128 * quads :] == b"behind"
