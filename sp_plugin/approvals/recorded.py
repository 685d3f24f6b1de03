"""A bundle from the JSON that was recorded of it. The digest is checked to come out the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fil_plus.bundle import (
    BUNDLE_SCHEMA,
    BUNDLE_SCHEMA_2,
    BUNDLE_SCHEMA_3,
    Bundle,
    BundleError,
    BundleInput,
    BundleOutput,
    ImageKind,
    ResourceLimits,
)
from fil_plus.terms import Basis, ShareTerms
from lotus_client.address import Address
from lotus_client.cid import Cid
from lotus_client.types import AttoFil, Epoch
from sp_plugin.errors import BadInput

__all__ = ["bundle_from_json", "recorded_bundle"]

_KNOWN: Final[dict[bytes, Bundle]] = {}  # by digest, the oldest first
_MOST_KNOWN: Final = 2048  # some kilobytes each


def bundle_from_json(recorded: Mapping[str, Any], digest: bytes | None = None) -> Bundle:
    """The bundle whose `to_json()` is `recorded`.

    Raises:
        BadInput: not a bundle of the schema we know, or not the one with `digest`.
    """
    schemas = (BUNDLE_SCHEMA, BUNDLE_SCHEMA_2, BUNDLE_SCHEMA_3)
    if recorded.get("schema") not in schemas:
        raise BadInput(
            f"is {recorded.get('schema')!r}, this version reads {', '.join(schemas)}",
            field="schema",
        )
    try:
        bundle = _bundle(recorded)
    except BundleError as error:
        raise BadInput(f"is not a valid bundle: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(f"is not a bundle: {type(error).__name__} {error}") from error
    if bundle.to_json() != dict(recorded):
        raise BadInput("holds values or keys that a bundle of this schema does not have")
    if digest is not None and bundle.digest() != digest:
        raise BadInput(f"has digest {bundle.digest().hex()}, {digest.hex()} was expected")
    return bundle


def recorded_bundle(recorded: Mapping[str, Any], digest: bytes) -> Bundle:
    """The same, of one that may have been read a moment ago: a job's bundle is looked at again and again on its way.

    Raises:
        BadInput: as `bundle_from_json`.
    """
    known = _KNOWN.get(digest)
    if known is None or known.to_json() != recorded:
        known = bundle_from_json(recorded, digest)
        _KNOWN[digest] = known
        while len(_KNOWN) > _MOST_KNOWN:
            _KNOWN.pop(next(iter(_KNOWN)))
    return known


def _bundle(recorded: Mapping[str, Any]) -> Bundle:
    image_kind, payee = recorded["image_kind"], recorded["payee"]
    return Bundle(
        network_name=recorded["network"],
        provider=Address.parse(recorded["provider"]).actor_id,
        engine=recorded["engine"],
        module_sha256=recorded["module_sha256"],
        image=recorded["image"],
        image_kind=None if image_kind is None else ImageKind(image_kind),
        entry_point=tuple(recorded["entry_point"]),
        arguments=tuple(recorded["arguments"]),
        env=tuple(sorted(recorded["env"].items())),
        inputs=tuple(_input(item) for item in recorded["inputs"]),
        outputs=tuple(BundleOutput(**item) for item in recorded["outputs"]),
        limits=ResourceLimits(**recorded["limits"]),
        network_access=recorded["network_access"],
        payee=None if payee is None else Address.parse(payee),
        terms=_terms(recorded["terms"]),
        max_output_bytes=recorded["max_output_bytes"],
        valid_from=Epoch(recorded["valid_from"]),
        valid_until=Epoch(recorded["valid_until"]),
        nonce=recorded["nonce"],
        verify=recorded.get("verify", 0),
        fuel=recorded.get("fuel"),
    )


def _input(item: Mapping[str, Any]) -> BundleInput:
    return BundleInput(**{**item, "cid": Cid.parse(item["cid"])})


def _terms(item: Mapping[str, Any]) -> ShareTerms:
    return ShareTerms(
        **{**item, "basis": Basis(item["basis"]), "budget": AttoFil.parse(item["budget"])}
    )
