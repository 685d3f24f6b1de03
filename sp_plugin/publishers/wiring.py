"""Where a configuration lets results go, and what of it a job is refused for when it comes in."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sp_plugin.config.jobs import JobsConfig
from sp_plugin.config.transfers import KuboConfig, PublishConfig, S3BucketConfig
from sp_plugin.errors import RefusedByPolicy
from sp_plugin.jobs.reading import Kinds, params_of
from sp_plugin.jobs.spec import JobSpec
from sp_plugin.publishers.base import PublishContext
from sp_plugin.publishers.kubo_api import KuboApi
from sp_plugin.publishers.s3 import S3Params, why_not_bucket
from sp_plugin.publishers.s3_buckets import Bucket

__all__ = ["buckets_of", "kubo_of", "publisher_check"]


def kubo_of(config: KuboConfig) -> KuboApi | None:
    """The node of the section, None if it names none."""
    if config.api is None:
        return None
    secret = None if config.authorization_file is None else config.authorization_file.read()
    return KuboApi(config.api, secret, float(config.timeout_seconds))


def buckets_of(config: PublishConfig) -> Mapping[str, Bucket]:
    """The buckets of the section by name."""
    return {bucket.bucket: _bucket(bucket) for bucket in config.s3}


def _bucket(config: S3BucketConfig) -> Bucket:
    file = config.credentials_file
    return Bucket(
        config.bucket,
        endpoint=config.endpoint,
        region=config.region,
        prefix=config.prefix,
        path_style=config.path_style,
        credentials_file=None if file is None else file.path,
        profile=config.profile,
    )


def publisher_check(
    jobs: JobsConfig, kinds: Kinds, context: PublishContext
) -> Callable[[JobSpec], None]:
    """What is asked of a job's publisher before a bundle is made of it.

    The check raises RefusedByPolicy: a bucket that is not the operator's, or a publisher that is not allowed, which policy
    cannot tell of a bundle without outputs.
    """

    def check(spec: JobSpec) -> None:
        publisher = spec.task.publisher
        kind = publisher.kind
        if kind and not spec.task.results and kind not in jobs.allowed_publishers:
            allowed = ", ".join(jobs.allowed_publishers)
            raise RefusedByPolicy("publisher", [f"{kind}; allowed: {allowed}"])
        if kind == "s3" and kind in jobs.allowed_publishers:
            params = params_of(kinds, "publisher", publisher)
            assert isinstance(params, S3Params)
            if why := why_not_bucket(params, context):
                raise RefusedByPolicy("publisher", [why])

    return check
