"""The waiting process: it forks a child for each run, tells how each ended, and kills on request.

Lines on standard input: `run <id> <plan file>`, `kill <id>`, `stop <id>`, `continue <id>`. Lines on standard output: `ready`, `started <id> <pid>`,
`failed <id> <why>`, `ended <id> <wait status> <CPU milliseconds>`. At the end of its input it kills what runs and exits.
It has one thread and checks that before each fork.
"""

from __future__ import annotations

import gc
import json
import os
import selectors
import signal
import sys
from pathlib import Path
from typing import Final

from sp_plugin.wasm_runtime.engines import FLAVOURS
from sp_plugin.wasm_runtime.guest import Runtime, run_plan
from sp_plugin.wasm_runtime.sandbox import (
    close_inherited_files,
    die_with,
    limit_process,
    step_back,
    wall_in,
)
from sp_plugin.wasm_runtime.streams import write_all

__all__ = ["main"]

_TASKS: Final = Path("/proc/self/task")
_CHUNK: Final = 1 << 16
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


class _Zygote:
    def __init__(self) -> None:
        self._runtimes = {flavour: Runtime(flavour) for flavour in FLAVOURS}
        self._children: dict[int, str] = {}  # run by process
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
            for pid, run in self._children.items():
                if run == rest:  # not reaped yet, so the number is still its own
                    os.kill(pid, _SIGNALS[verb])

    def _fork(self, run: str, plan: str) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._be_child(parent, plan)
        self._children[pid] = run
        self._say(f"started {run} {pid}")

    def _be_child(self, parent: int, path: str) -> None:
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            die_with(parent)
            os.setsid()
            with open(path, "rb") as file:  # noqa: PTH123  the child imports as little as it can
                plan = json.load(file)
            close_inherited_files(plan["log"])
            limit_process(plan)
            step_back()
            wall_in()
            report = run_plan(plan, self._runtimes[plan["flavour"]])
            fd = os.open(plan["report"], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            write_all(fd, json.dumps(report).encode())
            os._exit(0)
        except BaseException as error:  # noqa: BLE001  a forked child must not return into the zygote's loop
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
            run = self._children.pop(pid, None)
            if run is not None:
                used = round((usage.ru_utime + usage.ru_stime) * 1000)
                self._say(f"ended {run} {status} {used}")

    def _kill_all(self) -> None:
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)
        for pid in self._children:
            os.waitpid(pid, 0)

    def _say(self, line: str) -> None:
        write_all(1, line.replace("\n", " ").encode("utf-8", "replace") + b"\n")


def _check_threads() -> None:
    """Raises RuntimeError if a fork would be unsafe."""
    if sys.platform == "linux" and (count := len(list(_TASKS.iterdir()))) != 1:
        raise RuntimeError(f"the process that starts WASM programs has {count} threads, not one")
