"""Results in a bucket: the keys and the answer of Bacalhau's publisher, the operator's buckets and nobody else's, nothing overwritten."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from sp_plugin.publishers.base import PublishContext, PublishError
from sp_plugin.publishers.s3 import S3Params, S3Publisher
from sp_plugin.publishers.s3_buckets import Bucket
from tests.integration.publishers.parts import RECORD, context_in, results_in

boto3 = pytest.importorskip("boto3", reason="needs boto3: the extra s3")
moto_server = pytest.importorskip("moto.server", reason="needs moto[server]")

CREDENTIALS = "[default]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = sesame\n"
FILES = ["exitCode", "outputs/sub/a.txt", "run-record.json", "stderr", "stdout"]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = moto_server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


class Store:
    """The fake S3, a credentials file, and a bucket."""

    def __init__(self, endpoint: str, folder: Path) -> None:
        self.endpoint = endpoint
        self.credentials = folder / "credentials"
        self.credentials.write_text(CREDENTIALS)
        self.client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id="a",
            aws_secret_access_key="b",
        )
        self.name = f"b-{hashlib.sha256(str(folder).encode()).hexdigest()[:20]}"
        self.client.create_bucket(Bucket=self.name)

    def bucket(self, **more: Any) -> Bucket:
        values = {"endpoint": self.endpoint, "path_style": True, "prefix": "jobs/"}
        return Bucket(self.name, credentials_file=self.credentials, **(values | more))

    def context(self, folder: Path, **more: Any) -> PublishContext:
        return context_in(folder, buckets={self.name: self.bucket(**more)}, node_id="n-1")

    def listing(self) -> list[tuple[str, str, object]]:
        found = self.client.list_objects_v2(Bucket=self.name).get("Contents", [])
        return sorted((item["Key"], item["ETag"], item["LastModified"]) for item in found)

    def keys(self) -> list[str]:
        return [key for key, _, _ in self.listing()]

    def body(self, key: str) -> bytes:
        return self.client.get_object(Bucket=self.name, Key=key)["Body"].read()


@pytest.fixture
def store(endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return Store(endpoint, tmp_path)


def params(store: Store, key: str, **more: str) -> S3Params:
    return S3Params.model_validate({"Bucket": store.name, "Key": key, **more})


async def test_an_archive_goes_under_its_filled_in_key(store: Store, tmp_path: Path):
    results = results_in(tmp_path)
    wanted = params(store, "{date}/{time}/{jobID}/{executionID}-{nodeID}")
    published = await S3Publisher().publish(wanted, results, store.context(tmp_path))
    key = "jobs/20261125/073523/j-1/e-1-n-1.tar.gz"
    assert store.keys() == [key]
    assert published.kind == "s3"
    assert published.params == {
        "Bucket": store.name,
        "Key": key,
        "Region": "us-east-1",
        "Endpoint": store.endpoint,
        "VersionID": "",
        "ChecksumSHA256": "",
    }
    with tarfile.open(fileobj=io.BytesIO(store.body(key))) as tar:
        names = sorted(item.name for item in tar if item.isfile())
        record = tar.extractfile("run-record.json")
        assert record is not None
        assert json.load(record) == RECORD
    assert names == FILES


async def test_plain_files_go_below_the_key_with_the_record(store: Store, tmp_path: Path):
    wanted = params(store, "{executionID}", Encoding="plain")
    published = await S3Publisher().publish(wanted, results_in(tmp_path), store.context(tmp_path))
    assert store.keys() == [f"jobs/e-1/{name}" for name in FILES]
    assert store.body("jobs/e-1/outputs/sub/a.txt") == b"alpha"
    assert published.params["Key"] == "jobs/e-1/"
    assert published.details == {"objects": len(FILES)}


@pytest.mark.parametrize("encoding", ["gzip", "plain"])
async def test_publishing_again_gives_the_same_keys_and_sends_nothing(store, tmp_path, encoding):
    wanted, context = params(store, "x", Encoding=encoding), store.context(tmp_path)
    first = await S3Publisher().publish(wanted, results_in(tmp_path), context)
    before = store.listing()
    # packed anew, at another time: the same bytes
    assert await S3Publisher().publish(wanted, results_in(tmp_path), context) == first
    assert store.listing() == before


async def test_what_is_there_with_other_bytes_is_not_overwritten(store: Store, tmp_path: Path):
    store.client.put_object(Bucket=store.name, Key="jobs/x.tar.gz", Body=b"of somebody else")
    with pytest.raises(
        PublishError, match=r"is not overwritten; a Key with \{executionID\}"
    ) as caught:
        await S3Publisher().publish(
            params(store, "x"), results_in(tmp_path), store.context(tmp_path)
        )
    assert not caught.value.again
    assert store.body("jobs/x.tar.gz") == b"of somebody else"


async def test_a_large_archive_goes_in_parts(store: Store, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("sp_plugin.publishers.s3_buckets._SINGLE_PUT", 5 << 20)
    results = results_in(
        tmp_path, text=base64.b64encode(hashlib.shake_256(b"x").digest(9 << 20)).decode()
    )
    await S3Publisher().publish(params(store, "big"), results, store.context(tmp_path))
    found = store.client.head_object(Bucket=store.name, Key="jobs/big.tar.gz")
    assert found["ETag"].strip('"').endswith("-2")  # two parts
    archive = results.directory.parent / "results.tar.gz"
    assert store.body("jobs/big.tar.gz") == archive.read_bytes()
    # and again, which changes nothing
    await S3Publisher().publish(params(store, "big"), results, store.context(tmp_path))


async def test_versions_and_checksums_are_told_where_the_store_has_them(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    store.client.put_bucket_versioning(
        Bucket=store.name, VersioningConfiguration={"Status": "Enabled"}
    )
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", store.endpoint)  # stands for Amazon's own
    results = results_in(tmp_path)
    context = store.context(tmp_path, endpoint=None)
    published = await S3Publisher().publish(params(store, "x"), results, context)
    digest = hashlib.sha256(store.body("jobs/x.tar.gz")).digest()
    assert published.params["ChecksumSHA256"] == base64.b64encode(digest).decode()
    assert published.params["VersionID"]
    assert published.params["Endpoint"] == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"Bucket": "other"}, "is not one of this provider's"),
        ({"Endpoint": "http://169.254.169.254"}, "leave Endpoint out"),
        ({"Region": "mars-1"}, "leave Region out"),
    ],
)
async def test_only_the_operators_buckets_are_used_as_he_named_them(store, tmp_path, change, said):
    wanted = S3Params.model_validate({"Bucket": store.name, "Key": "x", **change})
    with pytest.raises(PublishError, match=said) as caught:
        await S3Publisher().publish(wanted, results_in(tmp_path), store.context(tmp_path))
    assert not caught.value.again
    assert store.keys() == []


async def test_the_jobs_own_words_for_endpoint_and_region_are_fine_if_they_are_the_operators(
    store, tmp_path
):
    wanted = params(store, "x", Endpoint=store.endpoint + "/", Region="us-east-1")
    await S3Publisher().publish(wanted, results_in(tmp_path), store.context(tmp_path))
    assert store.keys() == ["jobs/x.tar.gz"]


async def test_a_bucket_that_is_gone_says_so_and_is_not_tried_again(store: Store, tmp_path: Path):
    store.client.delete_bucket(Bucket=store.name)
    with pytest.raises(PublishError, match="NoSuchBucket") as caught:
        await S3Publisher().publish(
            params(store, "x"), results_in(tmp_path), store.context(tmp_path)
        )
    assert not caught.value.again


async def test_a_store_that_is_away_is_worth_another_try(store: Store, tmp_path: Path):
    context = store.context(tmp_path, endpoint="http://127.0.0.1:9")
    with pytest.raises(PublishError, match=r"127\.0\.0\.1:9") as caught:
        await S3Publisher().publish(params(store, "x"), results_in(tmp_path), context)
    assert caught.value.again


@pytest.mark.parametrize("text", ["", "[other]\naws_access_key_id = a\n", "nonsense"])
async def test_missing_credentials_name_the_file_and_show_nothing_of_it(store, tmp_path, text):
    store.credentials.write_text(text)
    with pytest.raises(PublishError) as caught:
        await S3Publisher().publish(
            params(store, "x"), results_in(tmp_path), store.context(tmp_path)
        )
    assert str(store.credentials) in str(caught.value)
    assert not caught.value.again


async def test_secrets_are_in_no_error(store: Store, tmp_path: Path):
    store.client.delete_bucket(Bucket=store.name)
    with pytest.raises(PublishError) as caught:
        await S3Publisher().publish(
            params(store, "x"), results_in(tmp_path), store.context(tmp_path)
        )
    assert "sesame" not in repr(caught.value) + repr(caught.value.__cause__)


def test_a_bucket_is_looked_at_before_anything_is_published(store: Store):
    assert store.bucket().why_not() is None
    assert "404" in (replace(store.bucket(), name="no-such-bucket").why_not() or "")


@pytest.mark.parametrize(
    "key",
    ["", "/x", "../x", "a/../../x", "{unknown}", "{executionID", "a}b", "x\ny", "k" * 600],
)
def test_keys_that_cannot_be_are_refused_when_the_job_comes_in(key: str):
    with pytest.raises(ValidationError):
        S3Params.model_validate({"Bucket": "b", "Key": key})


def test_the_cli_sends_lower_case_names_and_an_encoding_must_be_known():
    read = S3Params.model_validate({"bucket": "b", "key": "k", "region": "", "encoding": "PLAIN"})
    assert (read.bucket, read.key, read.region, read.encoding) == ("b", "k", None, "plain")
    with pytest.raises(ValidationError, match="gzip"):
        S3Params.model_validate({"Bucket": "b", "Key": "k", "Encoding": "zip"})
