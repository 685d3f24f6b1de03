from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from docker.types import HostConfig, Mount

from sp_plugin.executors.base import (
    DockerOptions,
    DockerProgram,
    ExecutionLimits,
    ExecutionRequest,
    InputVolume,
    OutputVolume,
)
from sp_plugin.executors.docker.facts import read_facts
from sp_plugin.executors.docker.spec import Place, container_spec
from tests.unit.executors.test_docker_facts import INFO, VERSION

FACTS = read_facts(INFO, VERSION)
PROGRAM = DockerProgram("sha256:" + "ab" * 32)
REQUEST = ExecutionRequest(
    execution_id="e-1",
    job_id="j-1",
    token=3,
    program=PROGRAM,
    result_dir=Path("/results"),
    inputs=(InputVolume(Path("/data/a"), "/in"),),
    outputs=(OutputVolume("out", "/out"),),
    limits=ExecutionLimits(memory_bytes=1 << 20, output_bytes=5000, processes=7, cpu_millis=250),
)
PLACE = Place(facts=FACTS, user=(65534, 65534), owner="own", options=DockerOptions())


def test_a_container_has_no_powers_no_network_and_hard_limits():
    spec = container_spec(REQUEST, PROGRAM, (), PLACE)
    assert spec["user"] == "65534:65534"
    assert (spec["read_only"], spec["privileged"], spec["network_mode"]) == (True, False, "none")
    assert (spec["cap_drop"], spec["security_opt"]) == (["ALL"], ["no-new-privileges"])
    assert (spec["mem_limit"], spec["memswap_limit"]) == (1 << 20, 1 << 20)
    assert (spec["pids_limit"], spec["nano_cpus"]) == (7, 250_000_000)
    limits = {limit["Name"]: limit["Hard"] for limit in spec["ulimits"]}
    assert limits == {"core": 0, "nofile": 1024, "fsize": 5001, "memlock": 65536, "msgqueue": 0}
    assert spec["labels"]["sp-plugin.token"] == "3"


def test_inputs_are_read_only_and_volumes_of_the_image_are_small_memory():
    spec = container_spec(REQUEST, PROGRAM, ("/scratch", "/out"), PLACE)
    inputs, scratch = spec["mounts"]
    assert (inputs["Source"], inputs["ReadOnly"]) == ("/data/a", True)
    assert (scratch["Target"], scratch["Type"]) == ("/scratch", "tmpfs")  # /out is an output


def test_outputs_in_memory_are_added_to_the_memory_limit():
    place = replace(PLACE, output_memory=5000, outputs=(Mount("/out", "v", type="volume"),))
    assert container_spec(REQUEST, PROGRAM, (), place)["mem_limit"] == (1 << 20) + 5000


def test_the_runtime_reaches_the_engine_as_it_was_configured():
    place = replace(PLACE, options=DockerOptions(runtime="runsc"))
    spec = container_spec(REQUEST, PROGRAM, (), place)
    assert HostConfig(version="1.41", runtime=spec["runtime"])["Runtime"] == "runsc"


def test_what_a_runtime_takes_itself_is_added_to_what_a_job_may():
    options = DockerOptions(runtime="runsc", runtime_memory_bytes=7000, runtime_processes=60)
    spec = container_spec(REQUEST, PROGRAM, (), replace(PLACE, options=options))
    plain = container_spec(REQUEST, PROGRAM, (), PLACE)
    assert spec["mem_limit"] == spec["memswap_limit"] == plain["mem_limit"] + 7000
    assert spec["pids_limit"] == plain["pids_limit"] + 60


def test_disk_bandwidth_is_bounded_where_the_engine_can_and_the_disk_is_known():
    options = DockerOptions(io_bytes_per_second=1000)
    place = replace(PLACE, options=options, disk="/dev/sda")
    spec = container_spec(REQUEST, PROGRAM, (), place)
    assert spec["device_write_bps"] == [{"Path": "/dev/sda", "Rate": 1000}]
    assert spec["blkio_weight"] == 10
    warnings = ["WARNING: No io.weight support", "WARNING: No io.max (rbps) support"]
    unable = replace(place, facts=read_facts(INFO | {"Warnings": warnings}, VERSION))
    spec = container_spec(REQUEST, PROGRAM, (), unable)
    assert not {"device_write_bps", "device_read_bps", "blkio_weight"} & spec.keys()
    assert "device_read_bps" not in container_spec(REQUEST, PROGRAM, (), replace(place, disk=None))


def test_gpus_are_asked_of_the_engine_as_docker_run_does_and_only_where_the_job_has_some():
    assert "device_requests" not in container_spec(REQUEST, PROGRAM, (), PLACE)
    request = replace(REQUEST, limits=replace(REQUEST.limits, gpus=2))
    (asked,) = container_spec(request, PROGRAM, (), PLACE)["device_requests"]
    assert asked == {
        "Driver": "",
        "Count": 2,
        "DeviceIDs": [],
        "Capabilities": [["gpu"]],
        "Options": {},
    }
