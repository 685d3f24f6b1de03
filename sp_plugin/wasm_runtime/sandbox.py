"""What a child does before it touches a stranger's program: its own session, no inherited files, hard limits."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import sys
from collections.abc import Mapping
from typing import Any, Final

from sp_plugin.wasm_runtime.seccomp import deny_system_calls

__all__ = ["REPORT_FD", "die_with", "keep_files", "limit_process", "step_back", "wall_in"]

REPORT_FD: Final = 3
_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
_FILES: Final = 1024
# Beside the guest's memory: the interpreter, the runtime, its threads' stacks and the loaded code.
_DATA_BYTES: Final = 768 << 20
_NICE: Final = 10  # about a tenth of the CPU time of an ordinary process beside it
# linux/ioprio.h; the system call's numbers as in `seccomp`
_IOPRIO_SET: Final = {"x86_64": 251, "aarch64": 30}
_IOPRIO_WHO_PROCESS, _IOPRIO_CLASS_IDLE = 1, 3 << 13
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def die_with(parent: int) -> None:
    """Be killed when the thread of `parent` that started this process ends; exit if that has happened already."""
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def keep_files(errors: int, report: int) -> None:
    """Standard input and output become /dev/null, standard error and `REPORT_FD` these two; all else is closed."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.dup2(errors, 2)
    os.dup2(report, REPORT_FD)
    os.closerange(REPORT_FD + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def limit_process(plan: Mapping[str, Any]) -> None:
    """Limits that the kernel keeps: core files, file size, open files, CPU seconds, writable memory."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # A write beyond it fails with EFBIG in the guest (Python ignores SIGXFSZ).
    _lower(resource.RLIMIT_FSIZE, plan["file_bytes"])
    _lower(resource.RLIMIT_NOFILE, _FILES)
    if sys.platform == "linux":  # counts what is writable, not the reserved address space
        _lower(resource.RLIMIT_DATA, plan["memory_bytes"] + _DATA_BYTES)
    if plan["cpu_seconds"] is not None:
        seconds = max(1, int(plan["cpu_seconds"] + 0.999))
        used = resource.getrusage(resource.RUSAGE_SELF)
        spent = int(used.ru_utime + used.ru_stime)
        resource.setrlimit(resource.RLIMIT_CPU, (spent + seconds, spent + seconds + 1))


def _lower(kind: int, most: int) -> None:
    _, hard = resource.getrlimit(kind)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(kind, (most, most))


def step_back() -> None:
    """Let everything else on this host go first, CPU and disk: a miner may be sealing or proving beside us."""
    os.nice(_NICE)
    number = _IOPRIO_SET.get(platform.machine())
    if sys.platform == "linux" and number is not None:
        _LIBC.syscall(number, _IOPRIO_WHO_PROCESS, 0, _IOPRIO_CLASS_IDLE)


def wall_in() -> None:
    """The last step: from here on no new program, process or connection."""
    deny_system_calls(_LIBC)
