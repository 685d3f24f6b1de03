"""The Docker executor: a hardened container per run, started by image ID, removed in the end.

Design notes
------------
* `spec` takes a container's powers away; `facts` knows what an engine can and cannot limit. An engine that cannot bound
  memory, processes or system calls runs nothing here.
* Where outputs are written is a `spaces.OutputSpace`: a place whose size the host enforces, if it can, else a directory that
  is watched. `probing` tries what this host can do instead of believing what it says.
* `handle` is one container that runs; `watching` follows it to its end, through an engine that is restarted meanwhile;
  `endings` says, from values alone, how it ended.
* What a program prints comes over an attached stream (cheap), and lies in the engine's own log too, which is read where
  the stream broke off: after a restart of the engine or of the sidecar (`streams`).
* Containers carry labels: whose they are, which execution, under which fencing token. A sidecar that starts again finds
  those it may go on with and removes the others.

A sidecar that runs as root starts containers as nobody, so its input volumes must be readable by all (not so above them).
"""

from __future__ import annotations

from sp_plugin.executors.base import EngineUnavailable
from sp_plugin.executors.docker.engine import probe_engine
from sp_plugin.executors.docker.executor import DockerExecutor
from sp_plugin.executors.docker.spec import LABEL

__all__ = ["LABEL", "DockerExecutor", "EngineUnavailable", "probe_engine"]
