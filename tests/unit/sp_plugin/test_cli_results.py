"""`results check` without a sidecar, and what `job submit --verify` writes into the job."""

from __future__ import annotations

import json

import pytest

from lotus_client.crypto import Secp256k1Key
from sp_plugin.cli import main
from sp_plugin.cli.checked_runs import ask_to_verify
from sp_plugin.errors import BadInput
from sp_plugin.jobs.outputs import pack_results
from sp_plugin.jobs.records import sign_record

KEY = Secp256k1Key(b"\1" * 32)


@pytest.fixture
def files(tmp_path):
    (tmp_path / "files/outputs").mkdir(parents=True)
    (tmp_path / "files/stdout").write_text("hello")
    (tmp_path / "files/outputs/a").write_text("alpha")
    return tmp_path / "files"


@pytest.fixture
def record(tmp_path, files):
    root = pack_results(files, tmp_path / "r.car").root
    values = {"execution_id": "e-1", "bundle_digest": "ab", "output": {"root_cid": str(root)}}
    path = tmp_path / "record.json"
    path.write_text(json.dumps(sign_record(values | {"usage": {"wall_seconds": 0.25}}, KEY)))
    return path


def check(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        main(["results", "check", *map(str, arguments)])
    said = capsys.readouterr()
    return caught.value.code or 0, said.out + said.err


def test_a_record_with_its_files_is_good(capsys, record, files):
    code, said = check(capsys, record, "--files", files, "--signer", KEY.address)
    assert code == 0
    assert str(KEY.address) in said
    assert "equal" in said


def test_files_that_were_changed_are_told_with_both_roots(capsys, record, files):
    (files / "outputs/a").write_text("alphabet")
    code, said = check(capsys, record, "--files", files)
    assert code == 1
    assert "the record says bafy" in " ".join(said.split())


def test_a_record_that_was_changed_fails(capsys, record):
    values = json.loads(record.read_text())
    record.write_text(json.dumps(values | {"bundle_digest": "cd"}))
    code, said = check(capsys, record)
    assert code == 1
    assert "not what was signed" in said


def test_a_record_of_another_sidecar_fails_for_this_signer(capsys, record):
    code, said = check(capsys, record, "--signer", Secp256k1Key(b"\2" * 32).address)
    assert code == 1
    assert "is signed by" in said


@pytest.mark.parametrize("arguments", [("--signer", "f1nonsense"), ("--files", "/nowhere")])
def test_arguments_that_cannot_be_are_bad_input(capsys, record, arguments):
    assert check(capsys, record, *arguments)[0] == 2


def test_a_file_that_is_no_record_is_bad_input(capsys, tmp_path):
    (tmp_path / "text").write_text("- 1\n")
    assert check(capsys, tmp_path / "text")[0] == 2


@pytest.mark.parametrize("job", [{"Type": "batch"}, {"Job": {"meta": {"a": "b"}}}, {"Meta": None}])
def test_the_wish_to_verify_is_put_into_the_job_itself(job):
    ask_to_verify(job, 2)
    inner = job.get("Job", job)
    (meta,) = (value for key, value in inner.items() if key.casefold() == "meta")
    assert meta["filecoin.verify"] == "2"


@pytest.mark.parametrize("job", [{"Job": []}, {"Meta": [1]}])
def test_a_job_that_has_no_place_for_it_is_bad_input(job):
    with pytest.raises(BadInput):
        ask_to_verify(job, 2)
