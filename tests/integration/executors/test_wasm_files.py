"""What a WASM program sees of files, arguments and environment, and what it may write."""

from __future__ import annotations

import pytest

from sp_plugin.executors.base import ExecutionLimits, InputVolume, OutcomeKind, OutputVolume
from tests.integration.executors.wasm_programs import (
    compile_c,
    has_wasi_clang,
    program,
    request_for,
    write_module,
)

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


@clang
@needs_clang
@pytest.mark.parametrize(
    ("blocks", "kind"),
    [(63, OutcomeKind.FINISHED), (64, OutcomeKind.FINISHED), (65, OutcomeKind.OUT_OF_DISK)],
)
async def test_one_file_that_was_cut_is_no_result(executor, tmp_path, blocks, kind):
    """Its program goes on as if all were written, and ends with 0."""
    program = """
    #include <stdio.h>
    static char block[65536];
    int main(void) {
        FILE *f = fopen("/out/all", "w");
        for (int i = 0; i < BLOCKS; i++) fwrite(block, 1, sizeof block, f);
        fclose(f);
    }
    """
    request = request_for(
        compile_c(tmp_path, program, f"-DBLOCKS={blocks}"),
        tmp_path,
        outputs=(OutputVolume("out", "/out"),),
        limits=ExecutionLimits(
            memory_bytes=16 << 20, wall_seconds=20, output_bytes=4 << 20, stream_bytes=65536
        ),
    )
    outcome = await executor.run(request)
    assert outcome.kind is kind, outcome.message


async def test_two_inputs_at_one_place_are_refused(executor, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    module = write_module(tmp_path, program(""))
    inputs = (InputVolume(tmp_path / "a", "/data"), InputVolume(tmp_path / "b", "/data/"))
    outcome = await executor.run(request_for(module, tmp_path, inputs=inputs))
    assert outcome.kind is OutcomeKind.INPUT_MISSING
    assert "/data" in outcome.message


@clang
@needs_clang
async def test_the_root_lists_what_is_there_and_manifests_list_the_inputs(executor, tmp_path):
    inputs = tmp_path / "data"
    (inputs / "sub").mkdir(parents=True)
    (inputs / "sub/b\tb\n.txt").write_text("beta")
    (inputs / "a.txt").write_text("alpha!")
    (inputs / "link").symlink_to("/etc/passwd")
    (tmp_path / "one").write_text("single")
    request = request_for(
        compile_c(tmp_path, MANIFEST_C),
        tmp_path,
        arguments=("/data/in.manifest",),
        inputs=(InputVolume(inputs, "/data/in"), InputVolume(tmp_path / "one", "/one.txt")),
        outputs=(OutputVolume("out", "/out"),),
    )
    outcome = await executor.run(request)
    assert outcome.kind is OutcomeKind.FINISHED, outcome.message
    assert outcome.stdout.path.read_text().splitlines() == [
        "data", "one.txt", "out", "6\ta.txt", "4\tsub/b\\tb\\n.txt",
    ]  # fmt: skip


MANIFEST_C = r"""
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static int order(const void *a, const void *b) { return strcmp(*(char **)a, *(char **)b); }
int main(int argc, char **argv) {
    DIR *d = opendir("/");
    struct dirent *e;
    char *names[64];
    int count = 0, c;
    while (d && (e = readdir(d))) if (e->d_name[0] != '.') names[count++] = strdup(e->d_name);
    qsort(names, count, sizeof *names, order);
    for (int i = 0; i < count; i++) puts(names[i]);
    FILE *f = fopen(argv[1], "r");
    if (!f) { puts("no manifest"); return 1; }
    while ((c = getc(f)) != EOF) putchar(c);
    return 0;
}
"""
LIST_C = r"""
#include <dirent.h>
#include <stdio.h>
int main(int argc, char **argv) {
    char line[4096];
    int count = 0;
    FILE *f = argc > 1 ? fopen("/in.manifest", "r") : NULL;
    DIR *d = argc > 1 ? NULL : opendir("/in");
    struct dirent *e;
    while (f && fgets(line, sizeof line, f)) count++;
    while (d && (e = readdir(d))) if (e->d_name[0] != '.') count++;
    printf("%d", count);
    return 0;
}
"""


@clang
@needs_clang
async def test_a_manifest_tells_in_no_time_what_listing_takes_seconds_for(executor, tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(5000):
        (tmp_path / "in" / f"{number:06}").touch()
    module = compile_c(tmp_path, LIST_C)
    seconds = {}
    for name, arguments in (("manifest", ("x",)), ("listing", ())):
        (tmp_path / name).mkdir()
        request = request_for(
            module,
            tmp_path / name,
            arguments=arguments,
            inputs=(InputVolume(tmp_path / "in", "/in"),),
        )
        outcome = await executor.run(request)
        assert outcome.stdout.path.read_text() == "5000"
        seconds[name] = outcome.usage.cpu_seconds
    assert seconds["manifest"] < 0.5
    assert seconds["listing"] < 20  # quadratic in wasmtime, and bounded by the run's own limits


@clang
@needs_clang
async def test_an_input_of_the_job_goes_before_a_manifest_of_ours(executor, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "own").write_text("own\n")
    request = request_for(
        compile_c(tmp_path, MANIFEST_C),
        tmp_path,
        arguments=("/in.manifest",),
        inputs=(InputVolume(tmp_path / "in", "/in"), InputVolume(tmp_path / "own", "/in.manifest")),
    )
    outcome = await executor.run(request)
    assert outcome.stdout.path.read_text().splitlines()[-1] == "own"


async def test_a_file_and_a_directory_at_one_place_are_refused(executor, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "own").write_text("own")
    inputs = (InputVolume(tmp_path / "in", "/a/b"), InputVolume(tmp_path / "own", "/a"))
    outcome = await executor.run(
        request_for(write_module(tmp_path, program("")), tmp_path, inputs=inputs)
    )
    assert outcome.kind is OutcomeKind.INPUT_MISSING
    assert "/a/b cannot be a directory" in outcome.message
