from __future__ import annotations

import json
import sys

import pytest
from pydantic import Field

from sp_plugin.jobs.params import Params
from sp_plugin.jobs.reading import JobSpecError, Kinds, params_of, read_job, read_job_values
from sp_plugin.jobs.spec import DockerParams, WasmParams


class PieceParams(Params):
    piece_cid: str = Field(alias="PieceCID", min_length=3)


class InlineParams(Params):
    url: str = Field(alias="URL")


KINDS = Kinds(
    engines={"wasm": WasmParams, "docker": DockerParams},
    sources={"filecoin": PieceParams, "inline": InlineParams},
    publishers={"local": Params},
)

GOOD = """
Name: quakes
Type: Batch
Meta:
  filecoin.max_output_bytes: 1000
Tasks:
  - Name: main
    Engine:
      Type: wasm
      Params:
        EntryModule: main.wasm
        Parameters: ["/inputs"]
    InputSources:
      - Source: {Type: inline, Params: {URL: "data:,x"}}
        Target: main.wasm
      - Source: {Type: filecoin, Params: {PieceCID: baga6}}
        Target: /inputs
    ResultPaths:
      - {Name: outputs, Path: /outputs}
    Publisher: {Type: local}
    Resources: {CPU: 0.5, Memory: 64 MiB}
    Timeouts: {ExecutionTimeout: 60}
"""


def problems_of(text: str) -> dict[str, str]:
    with pytest.raises(JobSpecError) as caught:
        read_job(text, KINDS)
    return {problem.where: problem.message for problem in caught.value.problems}


def test_a_job_in_yaml_becomes_values():
    job = read_job(GOOD, KINDS)
    task = job.spec.task
    assert job.warnings == ()
    assert job.spec.type == "batch"
    assert job.spec.max_output_bytes == 1000
    assert (task.resources.cpu_millis, task.resources.memory_bytes) == (500, 64 << 20)
    assert [item.target for item in task.inputs] == ["/main.wasm", "/inputs"]
    assert task.timeouts.execution == 60
    engine = params_of(KINDS, "engine", task.engine)
    assert isinstance(engine, WasmParams)
    assert (engine.entry_module, engine.entry_point) == ("/main.wasm", "_start")


def test_the_wire_form_has_exact_casing_and_reads_back_the_same():
    job = read_job(GOOD, KINDS).spec
    wire = job.to_wire()
    assert wire["Tasks"][0]["Network"] == {"Type": "None", "Domains": [], "Ports": []}
    assert wire["Tasks"][0]["Resources"]["Memory"] == "64mib"
    assert wire["Constraints"] == []
    assert read_job(json.dumps(wire), KINDS).spec == job


def test_keys_are_matched_without_case_and_blanks_of_go_clients_are_absent():
    values = {
        "type": "batch", "CONSTRAINTS": None, "meta": None, "Labels": None, "count": 1,
        "tasks": [{
            "name": "main", "publisher": None, "Network": {"Type": ""},
            "engine": {"type": " Docker ", "params": {
                "image": "busybox", "entrypoint": None, "WorkingDirectory": "", "Parameters": ["a"],
            }},
        }],
    }  # fmt: skip
    job = read_job_values({"Job": values}, KINDS)
    assert job.warnings == ()
    engine = params_of(KINDS, "engine", job.spec.task.engine)
    assert isinstance(engine, DockerParams)
    assert (engine.image, engine.entry_point, engine.parameters) == ("busybox", None, ["a"])
    assert job.spec.task.publisher.is_blank


def test_every_wrong_field_is_reported_at_once_with_path_and_line():
    text = """Type: service
Priority: high
Meta:
  filecoin.payee: t9nonsense
Tasks:
  - Name: ""
    Engine: {Type: lua}
    InputSources:
      - Source: {Type: filecoin, Params: {}}
        Target: /../etc
      - Source: {Type: nowhere}
        Target: /b
    ResultPaths:
      - {Name: a/b}
    Publisher: {Type: s4}
    Resources: {CPU: many, Memory: 1XB, GPU: 1}
    Network: {Type: Full}
    Timeouts: {ExecutionTimeout: -1}
    Env: {BACALHAU_X: "1"}
"""
    found = problems_of(text)
    assert {where.split(": ")[1] for where in found} == {
        "Type",
        "Priority",
        "Meta",
        "Tasks[0].Name",
        "Tasks[0].Engine.Type",
        "Tasks[0].InputSources[0].Source.Params.PieceCID",
        "Tasks[0].InputSources[0].Target",
        "Tasks[0].InputSources[1].Source.Type",
        "Tasks[0].ResultPaths[0].Name",
        "Tasks[0].ResultPaths[0].Path",
        "Tasks[0].Publisher.Type",
        "Tasks[0].Resources.CPU",
        "Tasks[0].Resources.Memory",
        "Tasks[0].Network.Type",
        "Tasks[0].Timeouts.ExecutionTimeout",
        "Tasks[0].Env",
    }
    assert found["job:7: Tasks[0].Engine.Type"] == "unknown engine 'lua'; one of docker, wasm"
    assert "Full is not offered" in found["job:17: Tasks[0].Network.Type"]
    assert found["job:9: Tasks[0].InputSources[0].Source.Params.PieceCID"] == "is missing"


def test_lines_are_found_whatever_the_case_of_keys():
    found = problems_of("type: batch\ntasks:\n  - NAME: main\n    engine:\n      TYPE: lua\n")
    assert list(found) == ["job:5: Tasks[0].Engine.Type"]


def test_unknown_keys_and_server_fields_are_ignored_with_a_warning():
    job = read_job(
        GOOD + "ID: j-1\nTimeuots: 3\nLabels: {a: b}\n",
        KINDS,
    )
    assert any("ID is set by the server" in warning for warning in job.warnings)
    assert any("Timeuots" in warning for warning in job.warnings)


def test_a_queue_timeout_is_kept_without_a_warning():
    job = read_job(GOOD.replace("ExecutionTimeout: 60", "QueueTimeout: 60"), KINDS)
    assert job.spec.task.timeouts.queue == 60
    assert not [warning for warning in job.warnings if "QueueTimeout" in warning]


def test_an_old_wasm_engine_becomes_an_input_of_its_own():
    module = {"Source": {"Type": "inline", "Params": {"URL": "data:,x"}}, "Alias": "", "Target": ""}
    job = read_job_values(
        {
            "Type": "batch",
            "Tasks": [{
                "Name": "main",
                "Engine": {"Type": "wasm", "Params": {
                    "EntryModule": module, "EntryPoint": "run", "ImportModules": [],
                    "Parameters": ["x"], "EnvironmentVariables": {"A": "1"},
                }},
            }],
        },
        KINDS,
    )  # fmt: skip
    task = job.spec.task
    assert task.engine.params["EntryModule"] == "/wasm/entry.wasm"
    assert task.engine.params["Entrypoint"] == "run"
    assert task.inputs[0].target == "/wasm/entry.wasm"
    assert task.env == {"A": "1"}


def test_linked_modules_of_both_wire_forms_become_targets():
    source = {"Type": "inline", "Params": {"URL": "data:,x"}}
    old = {"Source": source, "Alias": "math", "Target": ""}
    engine = {"EntryModule": "main.wasm", "ImportModules": [old, "lib/text"]}
    inputs = [{"Source": source, "Target": "main.wasm"}, {"Source": source, "Target": "/lib/text"}]
    task = {"Name": "main", "Engine": {"Type": "wasm", "Params": engine}, "InputSources": inputs}
    read = read_job_values({"Type": "batch", "Tasks": [task]}, KINDS).spec.task
    assert read.engine.params["ImportModules"] == ["/math", "/lib/text"]
    assert [item.target for item in read.inputs] == ["/main.wasm", "/lib/text", "/math"]
    again = read_job_values({"Type": "batch", "Tasks": [read.model_dump(by_alias=True)]}, KINDS)
    assert again.spec.task == read


def test_a_linked_module_that_no_input_brings_is_reported():
    source = {"Type": "inline", "Params": {"URL": "data:,x"}}
    engine = {"EntryModule": "main.wasm", "ImportModules": ["math"]}
    inputs = [{"Source": source, "Target": "main.wasm"}]
    task = {"Name": "main", "Engine": {"Type": "wasm", "Params": engine}, "InputSources": inputs}
    with pytest.raises(JobSpecError) as caught:
        read_job_values({"Type": "batch", "Tasks": [task]}, KINDS)
    (problem,) = caught.value.problems
    assert problem.where.endswith("ImportModules[0]")
    assert "no InputSource has the Target 'math'" in problem.message


@pytest.mark.parametrize("value", ["0", "-1", "11", "1.5", "yes", "9" * 5000])
def test_how_often_a_job_is_run_again_is_a_small_number(value):
    changed = GOOD.replace("max_output_bytes: 1000", f"verify: '{value}'")
    assert any("whole number from 1 to 10" in text for text in problems_of(changed).values())


def test_verify_and_fuel_are_read_from_meta():
    spec = read_job(
        GOOD.replace("max_output_bytes: 1000", "verify: 2\n  filecoin.fuel: 5000000"), KINDS
    ).spec
    assert (spec.verify, spec.fuel) == (2, 5_000_000)


def test_a_module_that_no_input_brings_is_reported():
    found = problems_of(GOOD.replace("EntryModule: main.wasm", "EntryModule: other.wasm"))
    assert "no InputSource has the Target 'other.wasm'" in found.popitem()[1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            ("Target: /inputs", "Target: /outputs"),
            "InputSources[1].Target and ResultPaths[0].Path are both /outputs",
        ),
        (("Type: Batch", "Type: Batch\nCount: 2"), "runs a job once"),
        (("Type: Batch", "Type: Batch\nType: ops"), "stands twice"),
        (("Type: Batch", "Type: &a Batch"), "anchors"),
        (("ExecutionTimeout: 60", "ExecutionTimeout: 60, TotalTimeout: 30"), "exceed TotalTimeout"),
        (("Memory: 64 MiB", "Memory: 64 MiB, GPU: half"), "GPU: a whole number"),
        (("max_output_bytes: 1000", "max_output_bytes: lots"), "is not a size"),
    ],
)
def test_what_cannot_be_is_refused(change, said):
    assert any(said in message for message in problems_of(GOOD.replace(*change)).values())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not a job"),
        ("[]", "is not a job"),
        ("{", "cannot be read as JSON"),
        ('{"Type": "batch", "Type": "ops"}', "stands twice"),
        ('{"a":' * 100 + "1" + "}" * 100, "nested deeper"),
        ('{"a":' * 100_000, "nested deeper"),
        ("{" + " " * (17 << 20), "is larger than"),
        ("a: " + "[" * 5000, ""),
        ('{"Tasks": [' + "0," * 200_000 + "0]}", "more than"),
    ],
)
def test_hostile_documents_end_in_one_clear_problem(text, said):
    found = problems_of(text)
    assert len(found) == 1
    assert said in found.popitem()[1]


def test_a_deep_document_is_refused_whatever_recursion_the_process_allows():
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(1_000_000)  # as py_ecc and others do
    try:
        for text in ('{"a":' * 100_000, "[" * 100_000):
            assert len(problems_of(text)) == 1
        assert sys.getrecursionlimit() == 1_000_000
    finally:
        sys.setrecursionlimit(usual)


def test_tasks_of_wrong_shape_are_reported_not_raised():
    for tasks in (None, 3, "x", [], [None], [3], [{}], [{"Engine": []}], [{"Engine": {"Type": 3}}]):
        with pytest.raises(JobSpecError):
            read_job_values({"Type": "batch", "Tasks": tasks}, KINDS)
