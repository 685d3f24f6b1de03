"""YAML in the documentation is read by the same code that reads it from people."""

from __future__ import annotations

import pytest
import yaml

from lotus_client.address import Address
from sp_plugin.config import parse_config
from sp_plugin.jobs.kinds import load_kinds
from sp_plugin.jobs.reading import read_job
from tests.docs.pages import ROOT, Block, all_blocks

PIECE = "baga6ea4seaqcdtd6rs4vwlxlw2mkq6476dmzb6rvrpmk2hzfdxaog23wyic3sda"
FILLED = {
    "PIECE_CID": PIECE,
    "PAYEE": "f1n3ts562ht4xeeneo7lkmhaxbfqvqha4dh3i636q",
    "MODULE": "AGFzbQEAAAA=",
    "IMAGE": "sha256:" + "0" * 64,
}
BASE = """\
data_dir: /tmp/sp
node: {endpoint: http://127.0.0.1:1234, network: mainnet}
provider: {actor: f01000}
earnings: {capital_cost_apr_bps: 0}
"""


def filled(text: str) -> str:
    for word, value in FILLED.items():
        text = text.replace(word, value)
    return text


def test_every_yaml_block_says_what_it_is():
    kinds = {"job", "task", "config", "bundle"}
    assert [str(block) for block in all_blocks("yaml") if not kinds & set(block.words)] == []


@pytest.mark.parametrize("block", all_blocks("yaml", "job"), ids=str)
def test_jobs_can_be_read(block: Block):
    job = read_job(filled(block.text), load_kinds(), str(block))
    assert job.warnings == ()


@pytest.mark.parametrize("block", all_blocks("yaml", "task"), ids=str)
def test_parts_of_a_task_can_be_read(block: Block):
    task = {"Name": "main", "Engine": {"Type": "docker", "Params": {"Image": "x"}}}
    task |= yaml.safe_load(filled(block.text))
    text = yaml.safe_dump({"Type": "batch", "Tasks": [task]})
    assert read_job(text, load_kinds(), str(block)).warnings == ()


@pytest.mark.parametrize("block", all_blocks("yaml", "config"), ids=str)
def test_parts_of_the_configuration_can_be_read(block: Block):
    values = yaml.safe_load(BASE)
    for key, value in yaml.safe_load(block.text).items():
        merge = isinstance(value, dict) and isinstance(values.get(key), dict)
        values[key] = values[key] | value if merge else value
    parse_config(yaml.safe_dump(values), str(block))


@pytest.mark.parametrize("name", ["quakes", "co2"])
def test_the_examples_templates_can_be_read_once_filled(name: str):
    text = (ROOT / "examples" / name / "job.yaml").read_text()
    job = read_job(filled(text), load_kinds(), name)
    assert job.warnings == ()
    assert job.spec.dataset == "earth"
    assert job.spec.payee == Address.parse(FILLED["PAYEE"])
