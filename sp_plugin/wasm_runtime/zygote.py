"""The waiting process: it forks a child for each run, tells how each ended, and kills on request.

Lines on standard input: `run <id> <plan>`, `kill <id>`, `stop <id>`, `continue <id>`. Lines on standard output: `ready`,
`started <id> <pid>`, `failed <id> <why>`, `ended <id> <wait status> <CPU milliseconds> <said> <report>`. At the end of its
input it kills what runs and exits. It has one thread and checks that before each fork.

Plan and report are JSON in one line (`guest`), and what the runtime itself wrote to standard error is hexadecimal, or `-`. A child
gives its report back through a pipe: files of their own would take longer to make than a small program runs.
"""

from __future__ import annotations

import gc
import json
import os
import selectors
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

from sp_plugin.wasm_runtime.engines import FLAVOURS
from sp_plugin.wasm_runtime.guest import Runtime, run_plan
from sp_plugin.wasm_runtime.sandbox import (
    REPORT_FD,
    die_with,
    keep_files,
    limit_process,
    step_back,
    wall_in,
)
from sp_plugin.wasm_runtime.streams import write_all

__all__ = ["main"]

_TASKS: Final = Path("/proc/self/task")
_CHUNK: Final = 1 << 16
_MOST_MESSAGE: Final = 4000  # characters: with all else a report fits into a pipe
_MOST_SAID: Final = 1000  # bytes, the last ones
_SIGNALS: Final = {
    "kill": signal.SIGKILL,
    "stop": signal.SIGSTOP,
    "continue": signal.SIGCONT,
}


def main(parent: int) -> None:
    """Serve the sidecar with this process ID until it is gone."""
    die_with(parent)
    os.umask(0o077)
    zygote = _Zygote()
    gc.collect()
    gc.freeze()  # so that a child's collector does not copy the parent's pages
    zygote.serve()


class _Child(NamedTuple):
    run: str
    said: int  # pipes to read, once it has ended
    report: int


class _Zygote:
    def __init__(self) -> None:
        self._runtimes = {flavour: Runtime(flavour) for flavour in FLAVOURS}
        self._children: dict[int, _Child] = {}  # by process
        self._wake_read, wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(wake_write, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(
            signal.SIGINT, signal.SIG_IGN
        )  # a terminal's Ctrl-C is the sidecar's to handle
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)

    def serve(self) -> None:
        _check_threads()
        self._say("ready")
        rest = b""
        with selectors.DefaultSelector() as selector:
            selector.register(0, selectors.EVENT_READ)
            selector.register(self._wake_read, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fd == self._wake_read:
                        os.read(self._wake_read, _CHUNK)
                        continue
                    chunk = os.read(0, _CHUNK)
                    if not chunk:
                        self._kill_all()
                        return
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        self._obey(line.decode())
                self._reap()

    def _obey(self, line: str) -> None:
        verb, _, rest = line.partition(" ")
        if verb == "run":
            run, _, plan = rest.partition(" ")
            try:
                _check_threads()
                self._fork(run, plan)
            except (OSError, RuntimeError) as error:
                self._say(f"failed {run} {error}")
        elif verb in _SIGNALS:
            for pid, child in self._children.items():
                if child.run == rest:  # not reaped yet, so the number is still its own
                    os.kill(pid, _SIGNALS[verb])

    def _fork(self, run: str, plan: str) -> None:
        parent = os.getpid()
        said, said_end = _pipe()
        report, report_end = _pipe()
        try:
            pid = os.fork()
            if pid == 0:
                self._be_child(parent, plan, said_end, report_end)
        except OSError:
            os.close(said)
            os.close(report)
            raise
        finally:
            os.close(said_end)
            os.close(report_end)
        self._children[pid] = _Child(run, said, report)
        self._say(f"started {run} {pid}")

    def _be_child(self, parent: int, text: str, said: int, reported: int) -> NoReturn:
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            die_with(parent)
            os.setsid()
            keep_files(said, reported)
            plan = json.loads(text)
            limit_process(plan)
            step_back()
            wall_in()
            report = run_plan(plan, self._runtimes[plan["flavour"]])
            report["message"] = report["message"][:_MOST_MESSAGE]
            write_all(REPORT_FD, json.dumps(report).encode())
            os._exit(0)
        except BaseException as error:  # noqa: BLE001  a forked child must not return into the zygote's loop
            with suppress(OSError):  # it takes no more
                os.write(2, f"{type(error).__name__}: {error}\n".encode("utf-8", "replace")[:2000])
            os._exit(70)

    def _reap(self) -> None:
        while self._children:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            child = self._children.pop(pid, None)
            if child is not None:
                used = round((usage.ru_utime + usage.ru_stime) * 1000)
                said = _drain(child.said)[-_MOST_SAID:].hex() or "-"
                report = _drain(child.report).decode("utf-8", "replace")
                self._say(f"ended {child.run} {status} {used} {said} {report}")

    def _kill_all(self) -> None:
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)
        for pid in self._children:
            os.waitpid(pid, 0)

    def _say(self, line: str) -> None:
        write_all(1, line.replace("\n", " ").encode("utf-8", "replace") + b"\n")


def _pipe() -> tuple[int, int]:
    """Its ends, to read and to write, neither of which waits: what no longer fits is lost."""
    ends = os.pipe()
    for end in ends:
        os.set_blocking(end, False)
    return ends


def _drain(pipe: int) -> bytes:
    """All that was written into it by a process that is gone; it is closed then."""
    try:
        return os.read(pipe, _CHUNK)  # as much as a pipe holds
    except BlockingIOError:  # something of that process still has its other end
        return b""
    finally:
        os.close(pipe)


def _check_threads() -> None:
    """Raises RuntimeError if a fork would be unsafe."""
    if sys.platform == "linux" and (count := len(list(_TASKS.iterdir()))) != 1:
        raise RuntimeError(f"the process that starts WASM programs has {count} threads, not one")
