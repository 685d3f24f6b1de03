"""Publisher `s3`: the results in a bucket that the operator named, as one archive or as plain files.

Params and what comes back are those of Bacalhau's publisher of this name. Keys have `{executionID}`, `{jobID}`, `{nodeID}`,
`{date}` (YYYYMMDD) and `{time}` (HHMMSS), both of the run's end in UTC: publishing again gives the same key and the same bytes.
Nothing that is there is overwritten.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from sp_plugin.jobs.params import Params
from sp_plugin.publishers.base import (
    RECORD_NAME,
    PublishContext,
    Published,
    PublishError,
    Results,
    register_publisher,
)
from sp_plugin.publishers.local import kept_archive
from sp_plugin.publishers.s3_buckets import Bucket, BucketError, StoredObject

__all__ = ["S3Params", "S3Publisher", "why_not_bucket"]

_MAX_KEY: Final = 1024  # bytes, as S3 has it
_PLACES: Final = ("executionID", "jobID", "nodeID", "date", "time")
_PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")


def _wrong(message: str) -> PydanticCustomError:
    return PydanticCustomError("s3", "{message}", {"message": message})


def _key(text: str) -> str:
    rest = _PLACEHOLDER.sub("", text)
    unknown = [name for name in _PLACEHOLDER.findall(text) if name not in _PLACES]
    if unknown or "{" in rest or "}" in rest:
        raise _wrong(
            f"may have {', '.join('{' + name + '}' for name in _PLACES)} and no other braces"
        )
    if text.startswith("/") or ".." in text.split("/") or any(ord(c) < 32 for c in text):
        raise _wrong("must not begin with /, go up by .., or hold control characters")
    if len(text.encode()) > _MAX_KEY // 2:
        raise _wrong(f"must be at most {_MAX_KEY // 2} bytes long")
    return text


def _encoding(text: str) -> str:
    if text.strip().casefold() not in ("gzip", "plain"):
        raise _wrong("is gzip (one archive) or plain (files)")
    return text.strip().casefold()


class S3Params(Params):
    """`Bucket` and `Key`; `Endpoint` and `Region` only where they are the operator's; `Encoding` gzip (if absent) or plain."""

    bucket: str = Field(alias="Bucket", min_length=1, max_length=255)
    key: Annotated[str, AfterValidator(_key)] = Field(alias="Key", min_length=1)
    endpoint: str | None = Field(None, alias="Endpoint", max_length=1024)
    region: str | None = Field(None, alias="Region", max_length=64)
    encoding: Annotated[str, AfterValidator(_encoding)] = Field("gzip", alias="Encoding")


@register_publisher("s3")
class S3Publisher:
    """Puts results into allowed buckets."""

    params = S3Params

    async def publish(
        self, params: S3Params, results: Results, context: PublishContext
    ) -> Published:
        """See `Publisher.publish`."""
        if why := why_not_bucket(params, context):
            raise PublishError(why, again=False)
        bucket = context.buckets[params.bucket]
        key = bucket.prefix + _filled(params.key, results, context)
        is_archive = params.encoding == "gzip"
        if is_archive:
            key = key if key.endswith(".tar.gz") else f"{key}.tar.gz"
        else:
            key = key if key.endswith("/") else f"{key}/"
        try:
            put = await asyncio.to_thread(_put, bucket, key, results, is_archive=is_archive)
        except BucketError as error:
            raise PublishError(str(error), again=error.again) from error
        return Published("s3", _source(bucket, key, put, is_archive), {"objects": len(put)})


def why_not_bucket(params: S3Params, context: PublishContext) -> str | None:
    """Why this provider does not publish there, None if it does."""
    bucket = context.buckets.get(params.bucket)
    if bucket is None:
        names = ", ".join(sorted(context.buckets)) or "none"
        return f"bucket {params.bucket!r} is not one of this provider's (jobs.publish.s3: {names})"
    if params.endpoint and params.endpoint.rstrip("/") != (bucket.endpoint or ""):
        return f"bucket {params.bucket} is not at {params.endpoint} here; leave Endpoint out"
    if params.region and params.region != bucket.region:
        return f"bucket {params.bucket} is not in {params.region} here; leave Region out"
    return None


def _filled(key: str, results: Results, context: PublishContext) -> str:
    ended = datetime.fromtimestamp(results.ended_at // 10**9, UTC)
    values = {
        "executionID": results.ran_as,
        "jobID": results.job_id,
        "nodeID": context.node_id,
        "date": ended.strftime("%Y%m%d"),
        "time": ended.strftime("%H%M%S"),
    }
    return _PLACEHOLDER.sub(lambda match: values[match[1]], key)


def _files(results: Results, *, is_archive: bool) -> list[tuple[str, Path]]:
    """(rest of the key, file) for each object; the record comes last, so that where it is everything is."""
    if is_archive:
        return [("", kept_archive(results.directory.parent))]
    return [*_plain(results.directory), (RECORD_NAME, results.record)]


def _plain(directory: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            yield path.relative_to(directory).as_posix(), path


def _put(bucket: Bucket, key: str, results: Results, *, is_archive: bool) -> list[StoredObject]:
    files = _files(results, is_archive=is_archive)
    long = [name for name, _ in files if len((key + name).encode()) > _MAX_KEY]
    if long:
        raise BucketError(
            f"the key of {long[0][:100]!r} would be longer than {_MAX_KEY} bytes", again=False
        )
    return [bucket.put(key + name, file) for name, file in files]


def _source(bucket: Bucket, key: str, put: list[StoredObject], is_archive: bool) -> dict[str, Any]:
    """Bacalhau's S3 source of what was published."""
    found: dict[str, Any] = {"Bucket": bucket.name, "Key": key, "Region": bucket.region}
    found["Endpoint"] = bucket.endpoint or ""
    if is_archive:
        found["VersionID"] = put[0].version_id or ""
        found["ChecksumSHA256"] = put[0].checksum_sha256 or ""
    return found
