"""The bundle of a job: everything it will do, as one value with one digest.

Canonical form: RFC 8785 JSON. Addresses are text with the network's own prefix, amounts decimal strings, digests hex,
absent values null; every field of a schema is always present. Schema 2 is schema 1 with `verify` and `fuel`, schema 3 is schema 2
with `limits.gpus`; each is used only where one of its fields is set, so that all other bundles keep their digests.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import rfc8785

from fil_plus.terms import ShareTerms
from lotus_client.address import Address, NetworkPrefix
from lotus_client.cid import Cid
from lotus_client.types import ActorId, Epoch

__all__ = [
    "BUNDLE_SCHEMA",
    "BUNDLE_SCHEMA_2",
    "BUNDLE_SCHEMA_3",
    "MAX_FUEL",
    "MAX_VERIFY",
    "Bundle",
    "BundleError",
    "BundleInput",
    "BundleOutput",
    "Engine",
    "ImageKind",
    "ResourceLimits",
]

BUNDLE_SCHEMA: Final = "sp-plugin/bundle/1"
BUNDLE_SCHEMA_2: Final = "sp-plugin/bundle/2"
BUNDLE_SCHEMA_3: Final = "sp-plugin/bundle/3"

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_REGISTRY_IMAGE: Final = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}")
_LOCAL_IMAGE: Final = re.compile(r"sha256:[0-9a-f]{64}")
_ENGINE: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")
_NETWORK_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_MAX_SAFE_INTEGER: Final = 2**53 - 1  # beyond it RFC 8785 numbers are not exact
MAX_VERIFY: Final = 10
MAX_FUEL: Final = _MAX_SAFE_INTEGER


class BundleError(ValueError):
    """A bundle that cannot be approved as it stands; `problems` names each field that is wrong."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class Engine(StrEnum):
    """The engines that every sidecar has; a bundle may name another one that a provider has added."""

    WASM = "wasm"
    DOCKER = "docker"


class ImageKind(StrEnum):
    """How a Docker image is named."""

    REGISTRY = "registry"  # name@sha256:<manifest>
    LOCAL = "local"  # sha256:<config>, the image ID of a local or loaded image


@dataclass(frozen=True, slots=True)
class BundleInput:
    """An input by content: a piece CID (source `filecoin`), a root (`ipfs`) or the CID of inline bytes.

    `padded_size` belongs to a piece CID, which does not contain its size; `claim_id` names one claim of it.
    """

    source: str
    cid: Cid
    target: str  # where the program sees it
    path: str | None = None  # a path inside the data
    padded_size: int | None = None
    claim_id: int | None = None


@dataclass(frozen=True, slots=True)
class BundleOutput:
    """A named result directory and where its content is published."""

    name: str
    path: str
    publisher: str


@dataclass(frozen=True, slots=True)
class ResourceLimits:
    """Hard limits of the run; `None` is not allowed here: what is approved is bounded."""

    cpu_millis: int  # thousandths of a core
    memory_bytes: int
    disk_bytes: int
    timeout_seconds: int
    gpus: int = 0  # whole ones, only for `docker`


@dataclass(frozen=True, slots=True)
class Bundle:
    """All that an approver approves. Checked on creation.

    `module_sha256` (hex) belongs to `wasm`, `image` with `image_kind` to `docker`; any other engine has one of the two,
    so that the program is always named by content. `network_access` is `none` or a
    sorted list of hosts written as text `http:<host>,<host>`. The run may start from `valid_from` to `valid_until`, inclusive.
    The job is run `verify` more times and earns only if all runs end the same way; `fuel` is the most instructions of each.

    Raises:
        BundleError: fields that contradict each other or are out of range.
    """

    network_name: str
    provider: ActorId
    engine: str  # lower case
    module_sha256: str | None
    image: str | None
    image_kind: ImageKind | None
    entry_point: tuple[str, ...]
    arguments: tuple[str, ...]
    env: tuple[tuple[str, str], ...]  # (name, value), sorted by name
    inputs: tuple[BundleInput, ...]
    outputs: tuple[BundleOutput, ...]
    limits: ResourceLimits
    network_access: str
    payee: Address | None
    terms: ShareTerms
    max_output_bytes: int
    valid_from: Epoch
    valid_until: Epoch
    nonce: str
    verify: int = 0
    fuel: int | None = None
    _digest: bytes = field(default=b"", init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        problems = tuple(_problems(self))
        if problems:
            raise BundleError(problems)

    def canonical_json(self) -> bytes:
        """The RFC 8785 bytes that are hashed; also what an approver should read."""
        return rfc8785.dumps(self.to_json())

    def digest(self) -> bytes:
        """SHA-256 of `canonical_json()`: 32 bytes."""
        if not self._digest:  # asked again and again on a job's way
            digest = hashlib.sha256(self.canonical_json()).digest()
            object.__setattr__(self, "_digest", digest)
        return self._digest

    def to_json(self) -> dict[str, Any]:
        """The JSON object of the bundle, before canonicalisation."""
        prefix = self._prefix()
        schema = self._schema()
        later = {} if schema == BUNDLE_SCHEMA else {"verify": self.verify, "fuel": self.fuel}
        return {
            **later,
            "schema": schema,
            "network": self.network_name,
            "provider": Address.of_id(self.provider).to_text(prefix),
            "engine": str(self.engine),
            "module_sha256": self.module_sha256,
            "image": self.image,
            "image_kind": None if self.image_kind is None else self.image_kind.value,
            "entry_point": list(self.entry_point),
            "arguments": list(self.arguments),
            "env": dict(self.env),
            "inputs": [_input_json(item) for item in self.inputs],
            "outputs": [
                {"name": item.name, "path": item.path, "publisher": item.publisher}
                for item in self.outputs
            ],
            "limits": {
                "cpu_millis": self.limits.cpu_millis,
                "memory_bytes": self.limits.memory_bytes,
                "disk_bytes": self.limits.disk_bytes,
                "timeout_seconds": self.limits.timeout_seconds,
                **({"gpus": self.limits.gpus} if schema == BUNDLE_SCHEMA_3 else {}),
            },
            "network_access": self.network_access,
            "payee": None if self.payee is None else self.payee.to_text(prefix),
            "terms": self.terms.to_json(),
            "max_output_bytes": self.max_output_bytes,
            "valid_from": self.valid_from,
            "valid_until": self.valid_until,
            "nonce": self.nonce,
        }

    def _schema(self) -> str:
        """The first one that has all fields which are set."""
        if self.limits.gpus:
            return BUNDLE_SCHEMA_3
        return BUNDLE_SCHEMA_2 if self.verify or self.fuel is not None else BUNDLE_SCHEMA

    def _prefix(self) -> NetworkPrefix:
        return "f" if self.network_name == "mainnet" else "t"


def _input_json(item: BundleInput) -> dict[str, Any]:
    return {
        "source": item.source,
        "cid": str(item.cid),
        "target": item.target,
        "path": item.path,
        "padded_size": item.padded_size,
        "claim_id": item.claim_id,
    }


def _problems(bundle: Bundle) -> list[str]:
    problems = _program_problems(bundle)
    if not _NETWORK_NAME.fullmatch(bundle.network_name):
        problems.append("network_name: letters, digits, dot, dash and underscore, at most 64")
    names = [name for name, _ in bundle.env]
    if names != sorted(set(names)):
        problems.append("env: names must be sorted and not repeated")
    if bundle.network_access != "none" and not bundle.network_access.startswith("http:"):
        problems.append("network_access: `none` or `http:` and the allowed hosts")
    if bundle.valid_until < bundle.valid_from:
        problems.append("valid_until: is before valid_from")
    if not 1 <= len(bundle.nonce) <= 128:
        problems.append("nonce: 1 to 128 characters, new for every bundle")
    if bundle.payee is None and bundle.terms.pays:
        problems.append("payee: is needed because the terms promise a share")
    if not 0 <= bundle.verify <= MAX_VERIFY:
        problems.append(f"verify: 0 to {MAX_VERIFY} more runs")
    if bundle.fuel is not None and not 1 <= bundle.fuel <= MAX_FUEL:
        problems.append(f"fuel: 1 to {MAX_FUEL} instructions")
    if bundle.engine != Engine.WASM and (bundle.verify or bundle.fuel is not None):
        problems.append("verify, fuel: only wasm jobs can be counted and run again to check")
    if bundle.limits.gpus and bundle.engine == Engine.WASM:
        problems.append("limits.gpus: wasm jobs have none")
    numbers = {
        "max_output_bytes": bundle.max_output_bytes,
        "valid_from": bundle.valid_from,
        "valid_until": bundle.valid_until,
        "limits.cpu_millis": bundle.limits.cpu_millis,
        "limits.memory_bytes": bundle.limits.memory_bytes,
        "limits.disk_bytes": bundle.limits.disk_bytes,
        "limits.timeout_seconds": bundle.limits.timeout_seconds,
        "limits.gpus": bundle.limits.gpus,
    }
    problems += [
        f"{name}: must be 0 to 2**53 - 1, got {number}"
        for name, number in numbers.items()
        if not 0 <= number <= _MAX_SAFE_INTEGER
    ]
    return problems


def _program_problems(bundle: Bundle) -> list[str]:
    problems = []
    engine = bundle.engine
    if not _ENGINE.fullmatch(engine):
        problems.append("engine: a name of lower case letters, digits and dashes, at most 32")
    has_image = bundle.image is not None or bundle.image_kind is not None
    if engine == Engine.WASM or (engine != Engine.DOCKER and not has_image):
        if bundle.module_sha256 is None or not _SHA256.fullmatch(bundle.module_sha256):
            problems.append(f"module_sha256: engine {engine} needs the module's SHA-256 in hex")
        if has_image:
            problems.append(f"image: engine {engine} has none")
    else:
        if bundle.module_sha256 is not None:
            problems.append(f"module_sha256: engine {engine} has none")
        pattern = _LOCAL_IMAGE if bundle.image_kind is ImageKind.LOCAL else _REGISTRY_IMAGE
        if bundle.image is None or bundle.image_kind is None or not pattern.fullmatch(bundle.image):
            problems.append(
                f"image: engine {engine} needs name@sha256:<manifest> (kind registry) "
                "or sha256:<config> (kind local)"
            )
    return problems
