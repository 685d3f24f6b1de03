from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from sp_plugin.executors.base import (
    ExecutionLimits,
    ExecutorSettings,
    InputVolume,
    OutcomeKind,
    OutputVolume,
)
from sp_plugin.executors.wasm import WasmExecutor
from tests.integration.executors.wasm_programs import (
    as_program,
    compile_c,
    has_wasi_clang,
    program,
    request_for,
    write_module,
)

LIMITS = ExecutionLimits(memory_bytes=16 << 20, wall_seconds=20)
FOREVER = "(loop $l (br $l))"
SLEEP = """
(i64.store (i32.const 24) (i64.const 30000000000)) (i32.store (i32.const 16) (i32.const 1))
(drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))
"""
PRINT = """
(i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const {size}))
(loop $l (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))) {again})
"""


@pytest.fixture
def executor(tmp_path: Path) -> WasmExecutor:
    return WasmExecutor(ExecutorSettings(cache_dir=tmp_path / "cache"))


async def test_a_program_that_returns_finished_with_0(executor, tmp_path):
    outcome = await executor.run(request_for(write_module(tmp_path, program("")), tmp_path))
    assert outcome.kind is OutcomeKind.FINISHED
    assert outcome.exit_code == 0
    assert (tmp_path / "results/exitCode").read_text() == "0"
    assert outcome.executor_version.startswith("wasmtime 50.")


@pytest.mark.parametrize("code", [0, 1, 125, 126, 130, 255, 4096, -1])
async def test_the_exit_code_is_the_programs_own(executor, tmp_path, code):
    module = write_module(tmp_path, program(f"(call $exit (i32.const {code}))"))
    outcome = await executor.run(request_for(module, tmp_path))
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.FINISHED, code)
    assert (tmp_path / "results/exitCode").read_text() == str(code)


async def test_an_endless_loop_is_killed_at_its_wall_time(executor, tmp_path):
    module = write_module(tmp_path, program(FOREVER))
    limits = ExecutionLimits(memory_bytes=1 << 20, wall_seconds=0.8)
    outcome = await executor.run(request_for(module, tmp_path, limits=limits))
    assert outcome.kind is OutcomeKind.OUT_OF_TIME
    assert "0.8 s" in outcome.message
    assert outcome.usage.wall_seconds < 5


async def test_a_sleeping_guest_is_killed_at_its_wall_time(executor, tmp_path):
    module = write_module(tmp_path, program(SLEEP))
    limits = ExecutionLimits(memory_bytes=1 << 20, wall_seconds=0.8)
    outcome = await executor.run(request_for(module, tmp_path, limits=limits))
    assert outcome.kind is OutcomeKind.OUT_OF_TIME
    assert outcome.usage.wall_seconds < 5


async def test_cpu_time_is_limited_apart_from_wall_time(executor, tmp_path):
    module = write_module(tmp_path, program(FOREVER))
    limits = ExecutionLimits(memory_bytes=1 << 20, wall_seconds=30, cpu_seconds=1)
    outcome = await executor.run(request_for(module, tmp_path, limits=limits))
    assert outcome.kind is OutcomeKind.OUT_OF_TIME
    assert "CPU" in outcome.message


async def test_fuel_ends_a_loop_and_is_counted(executor, tmp_path):
    module = write_module(tmp_path, program(FOREVER))
    limits = ExecutionLimits(memory_bytes=1 << 20, wall_seconds=30, fuel=100_000)
    outcome = await executor.run(request_for(module, tmp_path, limits=limits))
    assert outcome.kind is OutcomeKind.OUT_OF_TIME
    assert "fuel" in outcome.message
    assert outcome.usage.fuel == pytest.approx(100_000, abs=100)


async def test_a_program_that_crashes_in_a_full_memory_is_out_of_memory(executor, tmp_path):
    eat = "(loop $l (br_if $l (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable"
    outcome = await executor.run(request_for(write_module(tmp_path, program(eat)), tmp_path))
    assert outcome.kind is OutcomeKind.OUT_OF_MEMORY
    assert outcome.usage.memory_bytes == 16 << 20


async def test_a_module_that_starts_larger_than_its_limit_is_told_so(executor, tmp_path):
    module = write_module(tmp_path, program("", '(memory (export "memory") 17)'))
    limits = ExecutionLimits(memory_bytes=1 << 20, wall_seconds=20)
    outcome = await executor.run(request_for(module, tmp_path, limits=limits))
    assert outcome.kind is OutcomeKind.OUT_OF_MEMORY
    assert "17 pages" in outcome.message


async def test_a_trap_is_told_apart_from_an_exit(executor, tmp_path):
    module = write_module(tmp_path, program("unreachable"))
    outcome = await executor.run(request_for(module, tmp_path))
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.TRAPPED, None)
    assert "unreachable" in outcome.message
    assert (tmp_path / "results/exitCode").read_text() == "-1"


async def test_a_flooded_stream_is_cut_with_a_marker_while_the_program_goes_on(executor, tmp_path):
    again = """(i32.store (i32.const 12) (i32.add (i32.load (i32.const 12)) (i32.const 1)))
               (br_if $l (i32.lt_u (i32.load (i32.const 12)) (i32.const 2000)))"""
    body = PRINT.format(size=60_000, again=again) + "(call $exit (i32.const 7))"
    module = write_module(tmp_path, program(body))
    limits = ExecutionLimits(memory_bytes=1 << 20, wall_seconds=30, stream_bytes=100_000)
    outcome = await executor.run(request_for(module, tmp_path, limits=limits))
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.FINISHED, 7)
    assert outcome.stdout.truncated
    assert not outcome.stderr.truncated
    kept = (tmp_path / "results/stdout").read_bytes()
    assert kept.endswith(b"only the first 100000 bytes are kept]\n")
    assert 100_000 < len(kept) < 100_100


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (b"not wasm", "not a WASM module"),
        (b"", "not a WASM module"),
        (b"\0asm\x01\0\0\0", "exports no function '_start'"),
    ],
)
async def test_what_is_no_program_is_refused_with_a_reason(executor, tmp_path, code, said):
    outcome = await executor.run(request_for(as_program(tmp_path / "m", code), tmp_path))
    assert outcome.kind is OutcomeKind.INVALID_PROGRAM
    assert said in outcome.message


async def test_an_unknown_import_is_named(executor, tmp_path):
    text = '(module (import "env" "open_socket" (func)) (func (export "_start")))'
    outcome = await executor.run(request_for(write_module(tmp_path, text), tmp_path))
    assert outcome.kind is OutcomeKind.INVALID_PROGRAM
    assert "open_socket" in outcome.message


async def test_a_module_with_other_bytes_than_approved_is_not_run_nor_cached(executor, tmp_path):
    module = write_module(tmp_path, program("(call $exit (i32.const 3))"))
    module.module.write_bytes(b"\0asm\x01\0\0\0")
    outcome = await executor.run(request_for(module, tmp_path))
    assert outcome.kind is OutcomeKind.INPUT_MISSING
    assert not list((tmp_path / "cache/wasm").glob("*.cwasm"))


async def test_a_module_is_compiled_once(executor, tmp_path):
    module = write_module(tmp_path, program("(call $exit (i32.const 3))"))
    await executor.run(request_for(module, tmp_path))
    (cached,) = (tmp_path / "cache/wasm").glob("*.cwasm")
    module.module.unlink()  # so that only the cache can answer
    (tmp_path / "second").mkdir()
    outcome = await executor.run(request_for(module, tmp_path / "second"))
    assert outcome.exit_code == 3
    cached.write_bytes(b"damaged")
    (tmp_path / "third").mkdir()
    outcome = await executor.run(request_for(module, tmp_path / "third"))
    assert outcome.kind is OutcomeKind.INPUT_MISSING


async def test_cancelling_ends_a_run_at_once(executor, tmp_path):
    cancel = asyncio.Event()
    run = asyncio.create_task(
        executor.run(request_for(write_module(tmp_path, program(SLEEP)), tmp_path), cancel)
    )
    await asyncio.sleep(0.4)
    cancel.set()
    outcome = await asyncio.wait_for(run, 5)
    assert outcome.kind is OutcomeKind.CANCELLED
    assert _children() == []


async def test_a_cancelled_task_leaves_no_process_behind(executor, tmp_path):
    run = asyncio.create_task(
        executor.run(request_for(write_module(tmp_path, program(SLEEP)), tmp_path))
    )
    await asyncio.sleep(0.4)
    assert len(_children()) == 1
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert _children() == []


@pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_PDEATHSIG (Linux)")
async def test_a_guest_dies_with_a_killed_sidecar(executor, tmp_path):
    module = write_module(tmp_path, program(SLEEP))
    (tmp_path / "results").mkdir()
    script = f"""
import asyncio, sys
from pathlib import Path
from sp_plugin.executors.base import *
from sp_plugin.executors.wasm import WasmExecutor
request = ExecutionRequest(execution_id="e", job_id="j", result_dir=Path({str(tmp_path / "results")!r}),
    program=WasmProgram(Path({str(module.module)!r}), {module.sha256!r}))
asyncio.run(WasmExecutor(ExecutorSettings(cache_dir=Path({str(tmp_path / "cache")!r}))).run(request))
"""
    sidecar = await asyncio.create_subprocess_exec(sys.executable, "-c", script)
    guests: list[int] = []
    for _ in range(100):
        await asyncio.sleep(0.05)
        guests = _children(sidecar.pid)
        if guests and (tmp_path / "results/stdout").exists():
            break
    assert len(guests) == 1
    sidecar.kill()
    await sidecar.wait()
    for _ in range(250):
        if not _is_running(guests[0]):
            break
        await asyncio.sleep(0.02)
    assert not _is_running(guests[0])


def _children(parent: int | None = None) -> list[int]:
    """Running children (not zombies) of a process that run a guest."""
    parent = parent or os.getpid()
    found = []
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            command = (entry / "cmdline").read_bytes()
        except (OSError, NotADirectoryError):
            continue
        if int(fields[1]) == parent and fields[0] != "Z" and b"wasm_child" in command:
            found.append(int(entry.name))
    return found


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# -- programs in C: files ---------------------------------------------------------------------------

clang = pytest.mark.clang
needs_clang = pytest.mark.skipif(
    not has_wasi_clang(), reason="needs clang with wasi-libc (Debian: clang lld wasi-libc)"
)

FILES_C = r"""
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void try_read(const char *path) {
    FILE *f = fopen(path, "r");
    char line[64] = "";
    if (!f) { printf("read %s: no (%d)\n", path, errno != 0); return; }
    fgets(line, sizeof line, f);
    printf("read %s: %s\n", path, line);
    fclose(f);
}
static void try_write(const char *path) {
    FILE *f = fopen(path, "w");
    if (!f) { printf("write %s: no\n", path); return; }
    fputs("written", f);
    printf("write %s: yes\n", path);
    fclose(f);
}
int main(int argc, char **argv) {
    DIR *d = opendir("/inputs");
    struct dirent *e;
    int count = 0;
    while (d && (e = readdir(d))) if (e->d_name[0] != '.') count++;
    printf("listed %d\n", count);
    printf("args %d [%s] [%s]\n", argc, argv[0], argc > 1 ? argv[1] : "");
    printf("env %s %d\n", getenv("GREETING"), getenv("PATH") != NULL);
    try_read("/inputs/a.txt");
    try_read("inputs/a.txt");
    try_read("/single/one.txt");
    try_read("/inputs/../../../../etc/passwd");
    try_read("/inputs/link");
    try_read("/etc/passwd");
    try_write("/inputs/a.txt");
    try_write("/inputs/new.txt");
    try_write("/single/one.txt");
    printf("unlink %d\n", unlink("/inputs/a.txt"));
    printf("link %d\n", link("/inputs/a.txt", "/out/deep/linked"));
    printf("rename %d\n", rename("/inputs/a.txt", "/out/deep/moved"));
    try_write("/out/deep/result.txt");
    return 0;
}
"""


@clang
@needs_clang
async def test_files_arguments_and_environment_are_those_of_the_job(executor, tmp_path):
    inputs = tmp_path / "data"
    inputs.mkdir()
    (inputs / "a.txt").write_text("alpha")
    (inputs / "b.txt").write_text("beta")
    (inputs / "link").symlink_to("/etc/passwd")
    (tmp_path / "one").write_text("single")
    request = request_for(
        compile_c(tmp_path, FILES_C),
        tmp_path,
        arguments=("first",),
        environment={"GREETING": "hello"},
        inputs=(InputVolume(inputs, "/inputs"), InputVolume(tmp_path / "one", "/single/one.txt")),
        outputs=(OutputVolume("results", "/out/deep"),),
    )
    outcome = await executor.run(request)
    assert outcome.kind is OutcomeKind.FINISHED, outcome.message
    assert (tmp_path / "results/stdout").read_text().splitlines() == [
        "listed 3",
        "args 2 [] [first]",
        "env hello 0",
        "read /inputs/a.txt: alpha",
        "read inputs/a.txt: alpha",
        "read /single/one.txt: single",
        "read /inputs/../../../../etc/passwd: no (1)",
        "read /inputs/link: no (1)",
        "read /etc/passwd: no (1)",
        "write /inputs/a.txt: no",
        "write /inputs/new.txt: no",
        "write /single/one.txt: no",
        "unlink -1",
        "link -1",
        "rename -1",
        "write /out/deep/result.txt: yes",
    ]
    assert (inputs / "a.txt").read_text() == "alpha"
    assert (tmp_path / "results/results/result.txt").read_text() == "written"


BIG_C = r"""
#include <stdio.h>
#include <unistd.h>
static char block[1 << 16];
int main(void) {
    for (int i = 0; ; i++) {
        char name[32];
        sprintf(name, "/out/%d", i);
        FILE *f = fopen(name, "w");
        for (int j = 0; f && j < BLOCKS; j++) fwrite(block, 1, sizeof block, f);
        if (f) fclose(f);
        usleep(1000);
    }
}
"""


@clang
@needs_clang
@pytest.mark.parametrize(
    ("flag", "limits", "said"),
    [
        ("-DBLOCKS=16", {"output_bytes": 4 << 20}, "4194304 bytes"),
        ("-DBLOCKS=0", {"output_files": 50}, "50 files"),
    ],
)
async def test_too_many_outputs_end_a_run_early(executor, tmp_path, flag, limits, said):
    request = request_for(
        compile_c(tmp_path, BIG_C, flag),
        tmp_path,
        outputs=(OutputVolume("out", "/out"),),
        limits=ExecutionLimits(memory_bytes=16 << 20, wall_seconds=20, **limits),
    )
    outcome = await executor.run(request)
    assert outcome.kind is OutcomeKind.OUT_OF_DISK
    assert said in outcome.message
    assert outcome.usage.wall_seconds < 10


async def test_two_inputs_at_one_place_are_refused(executor, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    module = write_module(tmp_path, program(""))
    inputs = (InputVolume(tmp_path / "a", "/data"), InputVolume(tmp_path / "b", "/data/"))
    outcome = await executor.run(request_for(module, tmp_path, inputs=inputs))
    assert outcome.kind is OutcomeKind.INPUT_MISSING
    assert "/data" in outcome.message
