from __future__ import annotations

import pytest

from sp_plugin.executors.docker.engine import candidate_urls
from sp_plugin.executors.docker.facts import read_facts

INFO = {
    "Driver": "overlay2",
    "CgroupVersion": "1",
    "MemoryLimit": True,
    "CpuCfsQuota": True,
    "PidsLimit": True,
    "LiveRestoreEnabled": True,
    "MemTotal": 1 << 34,
    "DockerRootDir": "/var/lib/docker",
    "SecurityOptions": ["name=seccomp,profile=default"],
    "Runtimes": {"runc": {}},
    "Plugins": {"Log": ["json-file", "local"]},
}
VERSION = {"Version": "20.10.24", "Components": [{"Name": "Engine"}]}


def test_a_usual_engine():
    facts = read_facts(INFO, VERSION)
    assert facts.title == "docker 20.10.24"
    assert facts.why_unfit() is None
    assert (facts.is_mapped, facts.lives_on, facts.log_driver) == (False, True, "local")
    assert facts.user(0, 0) == (65534, 65534)
    assert facts.user(1000, 100) == (1000, 100)
    assert facts.on_host(1000) == 1000


def test_an_engine_with_remapped_users_says_by_how_much():
    security = ["name=seccomp,profile=default", "name=userns"]
    changes = {"SecurityOptions": security, "DockerRootDir": "/var/lib/docker/100000.100000"}
    facts = read_facts(INFO | changes, VERSION)
    assert (facts.id_offset, facts.is_rootless) == (100000, False)
    assert facts.user(1000, 1000) == (65534, 65534)  # our own ID means another user there
    assert facts.on_host(65534) == 165534


def test_a_rootless_engine_maps_in_a_way_we_cannot_know():
    security = ["name=seccomp,profile=default", "name=rootless", "name=cgroupns"]
    facts = read_facts(INFO | {"SecurityOptions": security, "CgroupVersion": "2"}, VERSION)
    assert (facts.is_rootless, facts.cgroup_version, facts.on_host(0)) == (True, 2, None)
    assert facts.user(1000, 1000) == (65534, 65534)


def test_podman_is_recognised_and_logs_where_it_can():
    version = {"Version": "4.3.1", "Components": [{"Name": "Podman Engine"}]}
    facts = read_facts(INFO | {"Plugins": {"Log": ["k8s-file", "none", "journald"]}}, version)
    assert (facts.title, facts.log_driver) == ("podman 4.3.1", "json-file")


# Parts of what Podman 4.3.1 says without root on cgroup version 2 with all controllers delegated.
PODMAN = {"Version": "4.3.1", "Components": [{"Name": "Podman Engine"}]}
ROOTLESS_PODMAN = INFO | {"CgroupVersion": "2", "CpuCfsQuota": False, "Rootless": True}


def test_podman_without_root_can_limit_what_its_controllers_can():
    libpod = {"host": {"cgroupControllers": ["cpuset", "cpu", "io", "memory", "pids"]}}
    facts = read_facts(ROOTLESS_PODMAN, PODMAN, libpod)
    assert (facts.is_rootless, facts.why_unfit()) == (True, None)
    libpod = {"host": {"cgroupControllers": ["memory", "pids"]}}  # systemd's own delegation
    assert "CPU time" in (read_facts(ROOTLESS_PODMAN, PODMAN, libpod).why_unfit() or "")
    libpod = {"host": {"cgroupControllers": []}}  # cgroup version 1
    unfit = read_facts(ROOTLESS_PODMAN, PODMAN, libpod).why_unfit() or ""
    assert "memory, CPU time, the number of processes" in unfit


@pytest.mark.parametrize(
    "libpod", [None, {}, [], {"host": None}, {"host": {"cgroupControllers": 5}}]
)
def test_a_podman_that_does_not_name_its_controllers_is_believed_as_docker_is(libpod):
    assert "CPU time" in (read_facts(ROOTLESS_PODMAN, PODMAN, libpod).why_unfit() or "")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"MemoryLimit": False}, "cannot limit memory"),
        ({"PidsLimit": False, "CpuCfsQuota": False}, "CPU time, the number of processes"),
        ({"SecurityOptions": []}, "seccomp is off"),
        ({"SecurityOptions": ["name=seccomp,profile=unconfined"]}, "seccomp is off"),
        ({"SecurityOptions": None, "MemoryLimit": None}, "cannot limit memory"),
    ],
)
def test_an_engine_that_cannot_contain_programs_runs_none(changes, said):
    assert said in (read_facts(INFO | changes, VERSION).why_unfit() or "")


def test_a_runtime_that_the_engine_does_not_have_is_named_with_those_it_has():
    reason = read_facts(INFO, VERSION).why_unfit("runsc") or ""
    assert "no runtime 'runsc'" in reason
    assert "it has runc" in reason


@pytest.mark.parametrize(
    ("warnings", "weight", "rate"),
    [
        (None, True, True),
        (["WARNING: No blkio weight support"], False, True),
        (["WARNING: No blkio throttle.read_bps_device support"], True, False),
        (["WARNING: No io.weight support", "WARNING: No io.max (wbps) support"], False, False),
    ],
)
def test_io_limits_are_taken_for_there_unless_the_engine_warns(warnings, weight, rate):
    facts = read_facts(INFO | {"Warnings": warnings}, VERSION)
    assert (facts.has_io_weight, facts.has_io_rate) == (weight, rate)


def test_a_rootless_engine_is_looked_for_before_the_usual_one(tmp_path):
    (tmp_path / "docker.sock").touch()
    rootless = f"unix://{tmp_path}/docker.sock"
    environment = {"XDG_RUNTIME_DIR": str(tmp_path)}
    usual = "unix:///var/run/docker.sock"
    assert list(candidate_urls(None, environment, 1000)) == [rootless, usual]
    assert list(candidate_urls(None, environment | {"DOCKER_HOST": "tcp://x"}, 0)) == ["tcp://x"]
    assert list(candidate_urls("unix:///mine", {"DOCKER_HOST": "tcp://x"}, 0)) == ["unix:///mine"]
    assert list(candidate_urls(None, {"XDG_RUNTIME_DIR": "/nowhere"}, 0)) == [usual]
