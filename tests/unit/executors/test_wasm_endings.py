"""What the end of a WASM child means, whatever it wrote as its report."""

import json

import pytest

from sp_plugin.executors.base import ExecutionLimits, OutcomeKind
from sp_plugin.executors.wasm_supervision import judge
from sp_plugin.executors.wasm_zygote import Ended

GOOD = {"kind": "finished", "message": "", "exit_code": 3}


def test_a_report_says_how_it_ended():
    ending = judge(Ended(0, 0.01, report=json.dumps(GOOD)), ExecutionLimits())
    assert (ending.kind, ending.exit_code, ending.cpu_seconds) == (OutcomeKind.FINISHED, 3, 0.01)


@pytest.mark.parametrize(
    "report",
    ["", "{", json.dumps(GOOD)[:-1], "[]", "null", '{"kind":"no such end"}', '{"kind":[]}', '{"kind":"finished"}',
     "[" * 60_000, "\N{REPLACEMENT CHARACTER}" * 100],
    ids=["none", "cut", "cut late", "list", "null", "unknown kind", "kind is a list", "no code", "deep", "bytes"],
)  # fmt: skip
def test_one_that_is_none_is_a_fault_of_the_runtime(report):
    ending = judge(
        Ended(70 << 8, 0.01, report=report, said="RuntimeError: why\n"), ExecutionLimits()
    )
    assert ending.kind is OutcomeKind.RUNTIME_FAULT
    assert ending.message == "the WASM runtime ended with status 70: RuntimeError: why"


def test_a_runtime_that_found_no_memory_is_told_apart():
    said = "memory allocation of 16777216 bytes failed\n"
    ending = judge(Ended(6, 0.01, said=said), ExecutionLimits())
    assert ending.kind is OutcomeKind.OUT_OF_MEMORY
