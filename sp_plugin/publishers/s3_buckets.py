"""Buckets of S3-compatible stores, as far as publishing needs them: is an object there, put it, look at the bucket.

All calls block: use them in a thread. boto3 is imported at the first use. Credentials are the operator's: from a file that only
he can read, or from the environment as AWS' own tools take them; nothing of them is in a job or in an error.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

__all__ = ["Bucket", "BucketError", "StoredObject"]

_SINGLE_PUT: Final = 64 << 20  # beyond it an object is sent in parts of this size
_SHA256_KEY: Final = "sp-plugin-sha256"
# What another try cannot mend.
_FINAL: Final = frozenset(
    {
        "AccessDenied", "AllAccessDisabled", "AuthorizationHeaderMalformed", "Forbidden", "InvalidAccessKeyId",
        "InvalidBucketName", "KeyTooLongError", "NoSuchBucket", "PermanentRedirect", "SignatureDoesNotMatch",
        "301", "400", "403", "404",
    }
)  # fmt: skip


class BucketError(Exception):
    """The store did not do what was asked; `again` is whether trying soon may help."""

    def __init__(self, message: str, *, again: bool) -> None:
        super().__init__(message)
        self.again = again


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object in the bucket. `checksum_sha256` is base64, as the store computed it; None where it does not."""

    key: str
    version_id: str | None
    checksum_sha256: str | None


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket that the operator named. `endpoint` None is Amazon's own; `credentials_file` None is the environment."""

    name: str
    endpoint: str | None = None
    region: str = "us-east-1"
    prefix: str = ""
    path_style: bool = False
    credentials_file: Path | None = None
    profile: str = "default"

    def why_not(self) -> str | None:
        """Why the bucket cannot be used, None if it answers."""
        try:
            client = self._client()
            client.head_bucket(Bucket=self.name)
        except Exception as error:  # noqa: BLE001  boto3 has no common base of its errors
            return str(self._error(error, f"bucket {self.name}"))
        return None

    def put(self, key: str, file: Path) -> StoredObject:
        """The object `key` with the bytes of `file`; one that is there with the same bytes is left as it is.

        Raises:
            BucketError: it is there with other bytes, or the store does not take it.
        """
        digest = _sha256(file)
        what = f"s3://{self.name}/{key}"
        try:
            client = self._client()
            found = self._find(client, key)
            if found is None:
                self._send(client, key, file, digest)
                found = self._find(client, key) or {}
        except Exception as error:
            raise self._error(error, what) from error
        if not _is_same(found, file, digest):
            raise BucketError(_taken(what), again=False)
        version = found.get("VersionId")
        checksum = found.get("ChecksumSHA256")
        return StoredObject(key, version if version not in (None, "null") else None, checksum)

    def _find(self, client: Any, key: str) -> dict[str, Any] | None:
        from botocore.exceptions import ClientError

        try:
            answer: dict[str, Any] = client.head_object(
                Bucket=self.name, Key=key, **({} if self.endpoint else {"ChecksumMode": "ENABLED"})
            )
        except ClientError as error:
            if _code(error) in ("404", "NoSuchKey", "NotFound"):
                return None
            if (
                _code(error) == "403"
            ):  # also what a missing object looks like to who may not list the bucket
                message = f"s3://{self.name}/{key}: 403: the credentials need s3:PutObject, s3:GetObject and s3:ListBucket"
                raise BucketError(message, again=False) from error
            raise
        return answer

    def _send(self, client: Any, key: str, file: Path, digest: bytes) -> None:
        extra: dict[str, Any] = {
            "Metadata": {_SHA256_KEY: digest.hex()},
            "ContentType": "application/gzip"
            if key.endswith(".gz")
            else "application/octet-stream",
        }
        if file.stat().st_size > _SINGLE_PUT:
            from boto3.s3.transfer import TransferConfig

            parts = TransferConfig(
                multipart_threshold=_SINGLE_PUT, multipart_chunksize=_SINGLE_PUT, max_concurrency=2
            )
            if self.endpoint is None:
                extra["ChecksumAlgorithm"] = "SHA256"
            client.upload_file(str(file), self.name, key, ExtraArgs=extra, Config=parts)
            return
        if self.endpoint is None:  # not every other store knows checksums and conditions
            checksum = base64.b64encode(digest).decode()
            extra |= {"ChecksumAlgorithm": "SHA256", "ChecksumSHA256": checksum, "IfNoneMatch": "*"}
        with file.open("rb") as body:
            client.put_object(Bucket=self.name, Key=key, Body=body, **extra)

    def _client(self) -> Any:
        try:
            import boto3
            import botocore.session
            from botocore.config import Config
        except ImportError as error:
            message = "the library for S3 is not installed: pip install 'sp-plugin[s3]'"
            raise BucketError(message, again=False) from error
        session = botocore.session.get_session()
        session.set_config_variable("region", self.region)
        if self.credentials_file is not None:
            session.set_config_variable("credentials_file", str(self.credentials_file))
            session.set_config_variable("profile", self.profile)
            # only the file: a variable that happens to be set must not be sent to another store
            resolver = session.get_component("credential_provider")
            resolver.providers = [
                provider
                for provider in resolver.providers
                if provider.METHOD == "shared-credentials-file"
            ]
        config = Config(
            signature_version="s3v4",
            s3={"addressing_style": "path" if self.path_style else "auto"},
            retries={"mode": "standard", "max_attempts": 4},
            connect_timeout=15,
            read_timeout=60,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        made = boto3.session.Session(botocore_session=session)
        return made.client("s3", endpoint_url=self.endpoint, config=config)

    def _error(self, error: Exception, what: str) -> BucketError:
        from botocore.exceptions import (
            ClientError,
            HTTPClientError,
            NoCredentialsError,
            PartialCredentialsError,
            ProfileNotFound,
        )
        from botocore.exceptions import ConnectionError as NotConnected

        if isinstance(error, BucketError):
            return error
        cause = error.__cause__ or error.__context__
        if not isinstance(error, ClientError) and isinstance(cause, ClientError):
            error = cause  # upload_file hides it
        if isinstance(error, ClientError):
            code = _code(error)
            if code in ("PreconditionFailed", "412"):
                return BucketError(_taken(what), again=False)
            said = str(error.response.get("Error", {}).get("Message", ""))[:300]
            return BucketError(f"{what}: {code}: {said}", again=code not in _FINAL)
        if isinstance(error, NoCredentialsError | PartialCredentialsError | ProfileNotFound):
            where = self.credentials_file or "the environment"
            return BucketError(
                f"{what}: {where} holds no credentials for it ({error})", again=False
            )
        again = isinstance(error, HTTPClientError | NotConnected | OSError)
        return BucketError(f"{what}: {str(error)[:300] or type(error).__name__}", again=again)


def _is_same(found: dict[str, Any], file: Path, digest: bytes) -> bool:
    metadata = {str(name).lower(): value for name, value in (found.get("Metadata") or {}).items()}
    same_size = found.get("ContentLength") == file.stat().st_size
    return same_size and metadata.get(_SHA256_KEY) == digest.hex()


def _taken(what: str) -> str:
    return f"{what} is there already with other bytes and is not overwritten; a Key with {{executionID}} is new for each run"


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _sha256(file: Path) -> bytes:
    with file.open("rb") as reader:
        return hashlib.file_digest(reader, "sha256").digest()
