"""Programs that try to leave their directories or to fill the disk, through WASI's own calls."""

from __future__ import annotations

import pytest

from sp_plugin.executors.base import ExecutionLimits, InputVolume, OutcomeKind, OutputVolume
from sp_plugin.jobs.outputs import OutputRefused, check_outputs
from tests.integration.executors.wasm_programs import compile_c, has_wasi_clang, request_for

pytestmark = [
    pytest.mark.clang,
    pytest.mark.skipif(not has_wasi_clang(), reason="needs clang with wasi-libc"),
]

ESCAPE_C = r"""
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
static void reach(const char *path) {
    int fd = open(path, O_RDONLY);
    char text[64];
    int size = fd < 0 ? -1 : (int)read(fd, text, sizeof text);
    printf("%s %s\n", path, size > 0 ? "READ" : "no");
}
int main(void) {
    const char *plain[] = {
        "/etc/passwd", "/proc/self/environ", "../etc/passwd", "/out/../../../../etc/passwd",
        "/inputs/../secret", "/../../../../../../etc/passwd", "/inputs/out", "/root.txt",
    };
    for (int i = 0; i < 8; i++) reach(plain[i]);
    const char *targets[] = {"/etc/passwd", "../../../../../../../../etc/passwd", "..", "/"};
    for (int i = 0; i < 4; i++) {
        char name[32], through[64];
        sprintf(name, "/out/link%d", i);
        sprintf(through, i < 2 ? "%s" : "%s/etc/passwd", name);
        int made = symlink(targets[i], name);
        reach(through);
        if (!made) unlink(name);
    }
    printf("write %d\n", open("/inputs/a.txt", O_WRONLY | O_TRUNC));
    printf("create %d\n", open("/new", O_WRONLY | O_CREAT, 0644));
    printf("mkdir %d\n", mkdir("/inputs/sub", 0755));
    printf("chain %d\n", rename("/out/x", "/inputs/x"));
    return 0;
}
"""


async def test_no_path_and_no_link_leads_out_of_the_volumes(executor, tmp_path):
    (tmp_path / "inputs").mkdir()
    (tmp_path / "inputs/a.txt").write_text("alpha")
    (tmp_path / "inputs/out").symlink_to("/etc/passwd")
    (tmp_path / "secret").write_text("secret")
    request = request_for(
        compile_c(tmp_path, ESCAPE_C),
        tmp_path,
        inputs=(InputVolume(tmp_path / "inputs", "/inputs"),),
        outputs=(OutputVolume("out", "/out"),),
    )
    outcome = await executor.run(request)
    assert outcome.kind is OutcomeKind.FINISHED, outcome.message
    said = outcome.stdout.path.read_text()
    assert "READ" not in said
    assert said.count(" no\n") == 12
    assert said.splitlines()[-4:] == ["write -1", "create -1", "mkdir -1", "chain -1"]
    assert (tmp_path / "inputs/a.txt").read_text() == "alpha"


LINKS_C = r"""
#include <unistd.h>
#include <stdio.h>
int main(void) { printf("%d", symlink("a.txt", "/out/link")); fclose(fopen("/out/a.txt", "w")); return 0; }
"""


async def test_a_link_among_the_outputs_refuses_them(executor, tmp_path):
    request = request_for(
        compile_c(tmp_path, LINKS_C), tmp_path, outputs=(OutputVolume("out", "/out"),)
    )
    outcome = await executor.run(request)
    assert outcome.stdout.path.read_text() == "0"
    with pytest.raises(OutputRefused, match="symbolic link"):
        check_outputs([tmp_path / "results/out"], request.limits)


FILL_C = r"""
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
static void sparse(void) {
    int fd = open("/out/sparse", O_WRONLY | O_CREAT, 0644);
    printf("truncate %d\n", ftruncate(fd, 1LL << 40));
    printf("write %d\n", pwrite(fd, "x", 1, 1LL << 40) == 1);
}
static void tiny(void) {
    for (int i = 0; ; i++) {
        char name[32];
        sprintf(name, "/out/%d", i);
        int fd = open(name, O_WRONLY | O_CREAT, 0644);
        if (fd >= 0) close(fd);
        if (i % 100 == 0) usleep(1000);
    }
}
static void deep(void) {
    int at = 3;
    for (int i = 0; i < 64; i++) {
        char name[4096] = "/out";
        for (int j = 0; j <= i * 10; j++) sprintf(name + 4 + 2 * j, "/d");
        mkdir(name, 0755);
    }
    char name[4096] = "/out";
    for (int j = 0; j < 100; j++) { sprintf(name + 4 + 2 * j, "/d"); mkdir(name, 0755); }
}
static void descriptors(void) {
    int count = 0;
    while (count < 100000 && open("/out/one", O_WRONLY | O_CREAT, 0644) >= 0) count++;
    printf("%s\n", count < 1100 ? "stopped" : "many");
}
int main(void) { MODE(); return 0; }
"""


@pytest.mark.parametrize(
    ("mode", "kind", "said"),
    [
        ("tiny", OutcomeKind.OUT_OF_DISK, "500 files"),
        ("deep", OutcomeKind.OUT_OF_DISK, "nested deeper"),
    ],
)
async def test_outputs_of_too_many_or_too_deep_entries_end_the_run(
    executor, tmp_path, mode, kind, said
):
    outcome = await run_filling(executor, tmp_path, mode)
    assert outcome.kind is kind
    assert said in outcome.message


async def test_a_sparse_file_beyond_the_limit_cannot_be_made(executor, tmp_path):
    outcome = await run_filling(executor, tmp_path, "sparse")
    assert outcome.kind is OutcomeKind.FINISHED
    assert outcome.stdout.path.read_text() == "truncate -1\nwrite 0\n"


async def test_open_files_are_limited_and_the_program_goes_on(executor, tmp_path):
    outcome = await run_filling(executor, tmp_path, "descriptors")
    assert outcome.kind is OutcomeKind.FINISHED
    assert outcome.stdout.path.read_text() == "stopped\n"


async def run_filling(executor, tmp_path, mode):
    limits = ExecutionLimits(
        memory_bytes=16 << 20, wall_seconds=20, output_bytes=4 << 20, output_files=500
    )
    module = compile_c(tmp_path, FILL_C, f"-DMODE={mode}")
    request = request_for(module, tmp_path, outputs=(OutputVolume("out", "/out"),), limits=limits)
    return await executor.run(request)
