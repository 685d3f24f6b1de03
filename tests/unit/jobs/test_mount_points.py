"""Two inputs at one place, or one inside another, are told apart by name before anything is run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sp_plugin.jobs.kinds import load_kinds
from sp_plugin.jobs.mount_points import clashes
from sp_plugin.jobs.reading import JobSpecError, read_job_values

KINDS = load_kinds()


def problem_of(targets: list[str], outputs: tuple[str, ...] = ()) -> str:
    inline = {"Type": "inline", "Params": {"URL": "data:,x"}}
    task = {
        "Name": "main",
        "Engine": {"Type": "docker", "Params": {"Image": "x"}},
        "InputSources": [{"Source": inline, "Target": target} for target in targets],
        "ResultPaths": [{"Name": f"o{i}", "Path": path} for i, path in enumerate(outputs)],
    }
    with pytest.raises(JobSpecError) as caught:
        read_job_values({"Type": "batch", "Tasks": [task]}, KINDS)
    (found,) = caught.value.problems
    assert found.where == "job: Tasks[0]" or found.where.endswith("Tasks[0]")
    return found.message


def test_two_inputs_at_one_mount_point_are_both_named():
    found = problem_of(["/inputs", "/other", "inputs/"])
    assert "InputSources[0].Target and InputSources[2].Target are both /inputs" in found


def test_a_mount_point_inside_another_names_both_and_their_paths():
    found = problem_of(["/inputs/a", "/inputs"])
    assert (
        "InputSources[0].Target (/inputs/a) lies inside InputSources[1].Target (/inputs)" in found
    )


def test_an_output_inside_an_input_is_a_clash_too():
    found = problem_of(["/data"], ("/data/out",))
    assert "ResultPaths[0].Path (/data/out) lies inside InputSources[0].Target (/data)" in found


def test_names_that_only_begin_alike_do_not_clash():
    assert clashes([("a", "/inputs"), ("b", "/inputs2"), ("c", "/inputs.manifest")]) == []


_PATHS = st.lists(st.sampled_from("ab"), min_size=1, max_size=3).map(tuple)


@given(st.lists(_PATHS, max_size=5))
def test_there_is_a_clash_if_and_only_if_a_path_is_or_holds_another(paths: list[tuple[str, ...]]):
    apart = not any(
        one == other[: len(one)]
        for i, one in enumerate(paths)
        for j, other in enumerate(paths)
        if i != j
    )
    named = [(str(i), "/" + "/".join(path)) for i, path in enumerate(paths)]
    assert (clashes(named) == []) is apart
