"""The keys about what is fetched from other servers for jobs, and what of results is sent to them."""

from __future__ import annotations

from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, model_validator

from sp_plugin.config.fields import (
    Flag,
    PositiveCount,
    SecretFileField,
    Section,
    Text,
    wrong,
)
from sp_plugin.fetching.places import HostPattern, PrivatePlace

__all__ = ["FetchConfig", "KuboConfig", "PublishConfig", "S3BucketConfig"]

_GIB = 1 << 30


def _host(value: Any) -> Any:
    if isinstance(value, HostPattern):
        return value
    if not isinstance(value, str):
        raise ValueError("must be a host name, *.domain or *")  # noqa: TRY004 (pydantic)
    return HostPattern.parse(value)


def _place(value: Any) -> Any:
    if isinstance(value, PrivatePlace):
        return value
    if not isinstance(value, str):
        raise ValueError("must be a network or host:port")  # noqa: TRY004 (pydantic)
    return PrivatePlace.parse(value)


def _base_url(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError("must be an http or https URL")  # noqa: TRY004 (pydantic)
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{value[:100]!r} is not an http or https URL")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("must not have credentials, a query or a fragment in it")
    _ = parts.port  # a ValueError of its own
    return value.rstrip("/")


HostField = Annotated[HostPattern, BeforeValidator(_host)]
PlaceField = Annotated[PrivatePlace, BeforeValidator(_place)]
BaseUrl = Annotated[str, BeforeValidator(_base_url)]


class FetchConfig(Section):
    """What jobs' inputs may be fetched from other servers: by urlDownload, if policy.allowed_sources has it, and by gateways."""

    allowed_hosts: tuple[HostField, ...] = Field(
        default=(HostPattern("*"),),
        description="hosts from which urlDownload may fetch, redirects included: names, *.domain, or * for any that is public",
    )
    allowed_private: tuple[PlaceField, ...] = Field(
        default=(),
        description="addresses that may be dialled although they are not public: 10.1.2.3:9000, minio.lan:9000, 10.1.0.0/16",
    )
    max_bytes: PositiveCount = Field(
        default=_GIB, description="of one download, or one DAG from a gateway"
    )
    timeout_seconds: PositiveCount = Field(
        default=600, description="for one request, redirects and body included"
    )
    gateways: tuple[BaseUrl, ...] = Field(
        default=(),
        description="trustless IPFS gateways, asked in this order for what no held piece has; every block is hashed. "
        "Empty: only held pieces",
    )


class KuboConfig(Section):
    """An IPFS node of yours to which the publisher ipfs pushes results, by Kubo's RPC API; the API is never given to jobs."""

    api: BaseUrl | None = Field(
        default=None,
        description="e.g. http://127.0.0.1:5001; null keeps CARs on this disk only",
    )
    authorization_file: SecretFileField | None = Field(
        default=None,
        description="file with the Authorization header that its API.Authorizations wants, e.g. Bearer …",
    )
    timeout_seconds: PositiveCount = Field(default=600, description="for one import")

    @model_validator(mode="after")
    def _authorises_something(self) -> Self:
        if self.authorization_file is not None and self.api is None:
            raise wrong("authorization_file", "goes with api")
        return self


class S3BucketConfig(Section):
    """A bucket that jobs may name in the publisher s3. Its credentials stay with the operator."""

    bucket: Text = Field(description="its name", examples=["results"])
    endpoint: BaseUrl | None = Field(
        default=None,
        description="URL of the S3 API; null is Amazon's",
        examples=["https://s3.example.org"],
    )
    region: Text = Field(default="us-east-1", description="as the endpoint wants it")
    prefix: Annotated[str, Field(max_length=512)] = Field(
        default="", description="put before every key that a job names, e.g. jobs/"
    )
    path_style: Flag = Field(
        default=False,
        description="the bucket in the path and not in the host name; MinIO and most servers of one's own want it",
    )
    credentials_file: SecretFileField | None = Field(
        default=None,
        description="file as ~/.aws/credentials; null takes AWS_ACCESS_KEY_ID and its like from the environment",
    )
    profile: Text = Field(default="default", description="the section of credentials_file")


class PublishConfig(Section):
    """Where results are sent, beyond this disk."""

    kubo: KuboConfig = Field(default=KuboConfig(), description="an IPFS node")
    s3: tuple[S3BucketConfig, ...] = Field(default=(), description="buckets that jobs may name")

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        names = [bucket.bucket for bucket in self.s3]
        for position, name in enumerate(names):
            if name in names[:position]:
                raise wrong(f"s3.{position}.bucket", "stands twice among the buckets")
        return self
