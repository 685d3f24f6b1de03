"""The processes in which WASM programs are compiled and run. Started by path with `python -I`; the sidecar imports nothing here.

Design notes
------------
* `zygote` is one long-lived process with one thread that has imported wasmtime and waits. For each run it forks; the child
  walls itself in (`sandbox`, `seccomp`), loads code that was compiled before, and runs it (`guest`).
* Compiling starts threads, and a fork of a process with threads is unsafe, so it happens in a process of its own
  (`compiler`), under its own limits, and its product lies in a cache that the sidecar keeps.
* Nothing here imports the rest of the project, asyncio, a database or a network library: what a child inherits is what
  these few modules hold.
* A child dies with the zygote, and the zygote with the sidecar (PR_SET_PDEATHSIG, or the end of its standard input).
"""

from __future__ import annotations

__all__: list[str] = []
