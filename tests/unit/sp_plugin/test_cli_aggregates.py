"""`pieces aggregate` and `pieces proof`, as an operator types them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deals.aggregates import commitment_of_file
from sp_plugin.cli import main
from tests.piece_samples import DATA

FOLDER = DATA / "commp" / "go-data-segment"
FILES = [str(FOLDER / name) for name in ("cat.png.car", "verifiable-data-aggregation.png.car")]


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    try:
        code = main([str(word) for word in words])
    except SystemExit as end:
        code = int(end.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def made(capsys: pytest.CaptureFixture[str], out: Path) -> dict[str, Any]:
    code, text, _ = run(capsys, "pieces", "aggregate", *FILES, "-o", out, "--json")
    assert code == 0
    answer: dict[str, Any] = json.loads(text)
    return answer


def test_an_aggregate_is_made_and_each_piece_of_it_is_proven(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "both"
    answer = made(capsys, out)
    assert answer["piece_cid"] == str(commitment_of_file(out).piece_cid)
    assert answer["piece_cid_v2"] == str(commitment_of_file(out).piece_cid_v2)
    for number, entry in enumerate(answer["entries"]):
        proof = tmp_path / f"proof{number}"
        words = ("pieces", "proof", "make", out, entry["piece_cid"], "-o", proof)
        assert run(capsys, *words)[0] == 0
        code, text, _ = run(capsys, "pieces", "proof", "verify", proof, "--json")
        assert (code, json.loads(text)["ok"]) == (0, True)
        changed = json.loads(proof.read_text())
        changed["aggregate"] = entry["piece_cid"]
        proof.write_text(json.dumps(changed))
        code, text, _ = run(capsys, "pieces", "proof", "verify", proof)
        assert code == 1
        assert "it leads to" in text


def test_the_same_files_make_the_same_aggregate_and_none_is_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    made(capsys, tmp_path / "one")
    made(capsys, tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    code, _, err = run(capsys, "pieces", "aggregate", *FILES, "-o", tmp_path / "one")
    assert code == 2
    assert "is there already" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("aggregate", "missing.car", "-o", "OUT"), "missing.car: No such file"),
        (("aggregate", FILES[0], FILES[0], "-o", "OUT"), "same piece CID"),
        (("aggregate", FILES[0], "-o", "OUT", "--size", "1000"), "1000"),
        (("proof", "make", FILES[0], "junk"), "junk"),
        (("proof", "verify", FILES[0]), "UTF-8"),
    ],
)
def test_bad_input_is_named_and_leaves_nothing_behind(
    words: tuple[str, ...], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    code, _, err = run(
        capsys, "pieces", *(str(tmp_path / "out") if word == "OUT" else word for word in words)
    )
    assert code == 2
    assert says in err
    assert not list(tmp_path.iterdir())
