"""`python -m benchmarks [NAME ...]`: what was aimed at beside what this machine does; all of them without a name."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Callable

import structlog

from benchmarks.measure import print_rows


def _rows_of(module: str) -> Callable[[], None]:
    return lambda: print_rows(importlib.import_module(f"benchmarks.{module}").rows())


def _kernels() -> None:
    importlib.import_module("benchmarks.kernels").kernel_rows()


def _data_plane() -> None:
    importlib.import_module("benchmarks.data_plane").data_rows()


def _pieces() -> None:
    importlib.import_module("benchmarks.pieces").piece_rows()


def _jobs() -> None:
    importlib.import_module("benchmarks.jobs").job_rows()


_ALL: dict[str, Callable[[], None]] = {
    "kernels": _kernels,
    "data": _data_plane,
    "pieces": _pieces,
    "chain": _rows_of("chain"),
    "devstack": _rows_of("devstack"),
    "following": _rows_of("following"),
    "claims": _rows_of("claims_stream"),
    "executors": _rows_of("executors"),
    "docker": _rows_of("docker_runs"),
    "jobs": _jobs,
}


def main(names: list[str]) -> int:
    """Run those of these names; 2 for an unknown one."""
    if unknown := [name for name in names if name not in _ALL]:
        sys.stderr.write(f"no benchmark {', '.join(unknown)}; there are {', '.join(_ALL)}\n")
        return 2
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    for name in names or _ALL:
        sys.stdout.write(f"{name}\n")
        _ALL[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
