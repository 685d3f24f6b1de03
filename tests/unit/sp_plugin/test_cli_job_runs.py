"""What `--input` and `--publisher` of `wasm run` write into the job."""

from __future__ import annotations

from typing import Any

import pytest

from sp_plugin.cli.job_runs import _input, _publisher
from sp_plugin.errors import BadInput


@pytest.mark.parametrize(
    ("text", "kind", "params"),
    [
        ("https://x.org/a.csv:/in", "urlDownload", {"URL": "https://x.org/a.csv"}),
        ("http://x.org:8080/a:/in", "urlDownload", {"URL": "http://x.org:8080/a"}),
        (
            "https://x.org/a.csv#sha256=ab12:/in",
            "urlDownload",
            {"URL": "https://x.org/a.csv", "SHA256": "ab12"},
        ),
        ("ipfs://bafy/sub:/in", "ipfs", {"CID": "bafy/sub"}),
        ("claim://7:/in", "filecoin", {"ClaimID": 7}),
    ],
)
def test_inputs_name_their_source(text: str, kind: str, params: dict[str, Any]):
    assert _input(text) == {"Source": {"Type": kind, "Params": params}, "Target": "/in"}


@pytest.mark.parametrize("text", ["https://x.org/a.csv", "ftp://x/a:/in", "https://:in", "x:/in"])
def test_inputs_that_name_nothing_are_refused(text: str):
    with pytest.raises(BadInput, match="SOURCE:/target"):
        _input(text)


def test_publishers_are_names_or_a_bucket_with_a_key():
    assert _publisher("ipfs") == {"Type": "ipfs"}
    params = {"Bucket": "results", "Key": "a/{jobID}"}
    assert _publisher("s3://results/a/{jobID}") == {"Type": "s3", "Params": params}
    for text in ("s3://results", "s3:///key", "gs://results/x"):
        with pytest.raises(BadInput, match="s3://bucket/key"):
            _publisher(text)
