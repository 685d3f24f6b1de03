"""The listener of version 2 hears of a counter's change and keeps it when the cgroup is gone; on any cgroup of that version."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from uuid import uuid4

import pytest

from sp_plugin.executors.docker.oom_listener import EventsListener

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="needs root to make a cgroup")
PLACES = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))


@pytest.fixture
def cgroup():
    place = next((place for place in PLACES if (place / "cgroup.controllers").exists()), None)
    if place is None:
        pytest.skip("needs a mount of cgroup version 2")
    made = place / f"sp-plugin-test-{uuid4().hex}"
    made.mkdir()
    yield made
    if made.exists():
        made.rmdir()


def test_a_counter_that_rose_and_was_removed_is_known(cgroup):
    """`cgroup.events` has `populated`, which is 1 while a process is in; the kernel wakes its readers as those of memory.events."""
    listener = EventsListener(cgroup / "cgroup.events", "populated")
    assert listener._highest == 0
    with subprocess.Popen(["sleep", "1000"]) as process:
        (cgroup / "cgroup.procs").write_text(str(process.pid))
        deadline = time.monotonic() + 5
        while not listener._highest and time.monotonic() < deadline:
            time.sleep(0.01)  # heard by the thread, not asked for
        process.kill()
    while (cgroup / "cgroup.procs").read_text():
        time.sleep(0.01)
    cgroup.rmdir()
    assert listener.kills() == 1
    listener.close()
    listener.close()


def test_one_that_is_closed_leaves_no_thread(cgroup):
    listener = EventsListener(cgroup / "cgroup.events", "populated")
    assert listener.kills() == 0
    thread = listener._thread
    listener.close()
    assert not thread.is_alive()
