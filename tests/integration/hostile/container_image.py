"""An image written to do harm: one static program with a mode for each attempt, and a copy of it that is setuid root."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import docker
import pytest

from tests.integration.conftest import import_image

__all__ = ["HOSTILE_C", "build_image"]

# Each attempt that succeeds is printed; a program to which nothing was allowed ends with 0.
HOSTILE_C = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <unistd.h>

static int allowed = 0;
static void attempt(const char *what, int got) {
    if (got >= 0) { printf("allowed: %s\n", what); allowed++; }
}
static void powers(void) {
    attempt("raw socket", socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
    attempt("packet socket", socket(AF_PACKET, SOCK_RAW, 0x300));
    attempt("mount", mount("none", "/tmp", "tmpfs", 0, ""));
    attempt("unshare user", unshare(CLONE_NEWUSER));
    attempt("bpf", syscall(SYS_bpf, 0, 0, 0));
    attempt("keyring", syscall(SYS_add_key, "user", "a", "b", 1, -3));
    attempt("kernel log", syscall(SYS_syslog, 3, malloc(99), 99));
    attempt("device", mknod("/tmp/disk", S_IFBLK | 0600, 0xfe00));
    attempt("priority", syscall(SYS_setpriority, 0, 0, -20));
    attempt("clock", syscall(SYS_settimeofday, (long[]){0, 0}, 0));
    attempt("reboot", syscall(SYS_reboot, 0xfee1dead, 672274793, 0x1234567, 0));
    attempt("become root", setuid(0));
    attempt("chroot", chroot("/tmp"));
}
static void network(void) {
    const char *addresses[] = {"169.254.169.254", "127.0.0.1", "10.0.0.1", "172.17.0.1", "1.1.1.1"};
    for (int i = 0; i < 5; i++) {
        int s = socket(AF_INET, SOCK_STREAM, 0);
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(80)};
        inet_pton(AF_INET, addresses[i], &to.sin_addr);
        attempt(addresses[i], connect(s, (void *)&to, sizeof to));
    }
}
static void paths(void) {
    attempt("write an input", open("/in/a.txt", O_WRONLY));
    attempt("remove an input", unlink("/in/a.txt"));
    attempt("add to inputs", open("/in/b.txt", O_WRONLY | O_CREAT, 0600));
    attempt("write the root", open("/b", O_WRONLY | O_CREAT, 0600));
    attempt("above the root", open("/../../../../b", O_WRONLY | O_CREAT, 0600));
    attempt("above outputs", open("/out/../../../b", O_WRONLY | O_CREAT, 0600));
    attempt("engine socket", open("/var/run/docker.sock", O_RDWR));
    attempt("kernel setting", open("/proc/sys/kernel/core_pattern", O_WRONLY));
    attempt("trigger", open("/proc/sysrq-trigger", O_WRONLY));
    attempt("memory", open("/dev/mem", O_RDWR));
    attempt("disk", open("/dev/vda", O_RDWR));
    attempt("cgroup", open("/sys/fs/cgroup/cgroup.procs", O_WRONLY));
    symlink("/in/a.txt", "/out/link");
    attempt("input by a link", open("/out/link", O_WRONLY));
    unlink("/out/link");
}
static void eat(void) { for (;;) memset(malloc(1 << 20), 1, 1 << 20); }
static void bomb(void) { for (;;) fork(); }
static void deaf(void) { for (int i = 1; i < 32; i++) signal(i, SIG_IGN); for (;;) pause(); }
static void sparse(void) {
    signal(SIGXFSZ, SIG_IGN);
    attempt("a terabyte", ftruncate(open("/out/big", O_CREAT | O_WRONLY, 0600), 1L << 40));
}
static void files(void) {
    char name[64];
    for (long i = 0; i < 10000000; i++) {
        sprintf(name, "/out/%ld", i);
        int f = open(name, O_WRONLY | O_CREAT, 0600);
        if (f < 0) { printf("stopped: %s\n", strerror(errno)); exit(4); }
        close(f);
    }
}
static void fill(void) {
    int f = open("/out/a", O_WRONLY | O_CREAT, 0600), n = 0;
    char block[65536];
    memset(block, 1, sizeof block);
    signal(SIGXFSZ, SIG_IGN);
    for (;;) {
        if (write(f, block, sizeof block) == sizeof block) continue;
        char name[32];
        sprintf(name, "/out/b%d", n++);
        if ((f = open(name, O_WRONLY | O_CREAT, 0600)) < 0 || n > 100) exit(5);
    }
}
static void strange(const char *what) {
    if (!strcmp(what, "link")) symlink("/etc/passwd", "/out/passwd");
    if (!strcmp(what, "fifo")) mkfifo("/out/pipe", 0666);
    if (!strcmp(what, "hard")) { close(creat("/out/one", 0600)); link("/out/one", "/out/two"); }
    if (!strcmp(what, "name")) close(creat("/out/\xff\xfe", 0600));
    if (!strcmp(what, "modes")) { mkdir("/out/d", 0700); close(creat("/out/d/f", 0)); chmod("/out/d", 0); }
    if (!strcmp(what, "deep")) for (int i = 0; i < 500; i++) { if (chdir(i ? "d" : "/out") || mkdir("d", 0700)) break; }
}
int main(int argc, char **argv) {
    setvbuf(stdout, 0, _IONBF, 0);
    const char *mode = argc > 1 ? argv[1] : "";
    if (geteuid() == 0) { printf("allowed: root\n"); allowed++; }
    if (!strcmp(mode, "powers")) powers();
    if (!strcmp(mode, "network")) network();
    if (!strcmp(mode, "paths")) paths();
    if (!strcmp(mode, "eat")) eat();
    if (!strcmp(mode, "bomb")) bomb();
    if (!strcmp(mode, "deaf")) deaf();
    if (!strcmp(mode, "sparse")) sparse();
    if (!strcmp(mode, "files")) files();
    if (!strcmp(mode, "fill")) fill();
    if (argc > 2) strange(argv[2]);
    return allowed;
}
"""


def build_image(client: docker.DockerClient, folder: Path, tag: str) -> str:
    """The ID of the image, imported under `sp-plugin-hostile:<tag>`."""
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc with a static C library (Debian: gcc, libc6-dev)")
    source, program = folder / "hostile.c", folder / "hostile"
    source.write_text(HOSTILE_C)
    subprocess.run(["gcc", "-O1", "-static", "-w", "-o", program, source], check=True)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, mode in (("hostile", 0o755), ("setuid", 0o4755)):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = program.stat().st_size, mode
            with program.open("rb") as file:
                tar.addfile(entry, file)
    changes = ['ENTRYPOINT ["/hostile"]']
    return import_image(client, archive.getvalue(), "sp-plugin-hostile", tag, changes)
