"""A second wall around a guest: system calls that no WASM program needs fail with EACCES (Linux, x86-64 and AArch64).

WASI already gives a guest no sockets and no processes. This is for the day when the runtime has a hole: the process then
still cannot connect, execute, trace or signal others. Numbers: Linux `arch/x86/entry/syscalls/syscall_64.tbl` and
`include/uapi/asm-generic/unistd.h`; the program's form: `linux/filter.h`, `linux/seccomp.h`.
"""

from __future__ import annotations

import ctypes
import platform
import struct
import sys
from typing import Any, Final

__all__ = ["deny_system_calls"]

_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_SET_SECCOMP: Final = 22
_SECCOMP_MODE_FILTER: Final = 2
_LOAD_WORD, _JUMP_IF_EQUAL, _JUMP_IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW: Final = 0x7FFF0000
_EACCES: Final = 0x00050000 | 13
_OFFSET_NUMBER, _OFFSET_ARCHITECTURE = 0, 4
_X32_BIT: Final = 0x40000000  # the other numbering of x86-64

# socket, connect, accept, bind, listen, accept4, execve, execveat, ptrace, process_vm_readv and _writev, kill,
# pidfd_send_signal, io_uring_setup, mount, unshare, setns, bpf, keyctl; x86-64 also has fork and vfork
_DENIED: Final = {
    "x86_64": (
        0xC000003E,
        (41, 42, 43, 49, 50, 288, 59, 322, 101, 310, 311, 62, 424, 425, 165, 272, 308, 321, 250, 57, 58),
    ),
    "aarch64": (
        0xC00000B7,
        (198, 203, 202, 200, 201, 242, 221, 281, 117, 270, 271, 129, 424, 425, 40, 97, 268, 280, 219),
    ),
}  # fmt: skip


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def deny_system_calls(libc: Any) -> bool:
    """Switch the filter on for this process and all its threads to come; False where the system has none."""
    known = _DENIED.get(platform.machine())
    if sys.platform != "linux" or known is None:
        return False
    code = _filter(*known)
    program = _Program(len(code) // 8, code)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    done: int = libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0)
    return done == 0


def _filter(architecture: int, denied: tuple[int, ...]) -> bytes:
    count = len(denied)
    steps = [
        (_LOAD_WORD, 0, 0, _OFFSET_ARCHITECTURE),
        (
            _JUMP_IF_EQUAL,
            0,
            count + 3,
            architecture,
        ),  # another one is refused: nothing of ours has it
        (_LOAD_WORD, 0, 0, _OFFSET_NUMBER),
        (_JUMP_IF_AT_LEAST, count + 1, 0, _X32_BIT),
    ]
    steps += [(_JUMP_IF_EQUAL, count - i, 0, number) for i, number in enumerate(denied)]
    steps += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _EACCES)]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)
