"""Which image a job means: one that is here, or one that may be pulled, by digest only and with progress."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import requests
from docker.errors import APIError, ImageNotFound

from sp_plugin.executors.base import DockerOptions, EngineUnavailable, OutcomeKind
from sp_plugin.executors.docker.endings import CannotStart
from sp_plugin.executors.docker.engine import REQUEST_SECONDS, DockerEngine, said

__all__ = ["find_image", "is_by_digest", "may_pull", "pull_image"]

_BY_DIGEST: Final = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}")
_STALLED_SECONDS: Final = 120
_TELL_SECONDS: Final = 2.0
_INVALID: Final = 400


def is_by_digest(image: str) -> bool:
    """Whether it is named `name@sha256:…`, by which it means the same everywhere and always."""
    return _BY_DIGEST.fullmatch(image) is not None


def find_image(engine: DockerEngine, name: str) -> str | None:
    """The ID (`sha256:…`) of an image that is here, by name, digest or ID; None if it is not. Never pulls.

    Raises:
        EngineUnavailable: no engine answers.
    """
    try:
        return str(engine.client.images.get(name).id)
    except ImageNotFound:
        return None
    except APIError as error:
        status = None if error.response is None else error.response.status_code
        if status == _INVALID or "invalid reference format" in str(error):  # Podman answers 500
            return None
        raise EngineUnavailable(f"the Docker engine refuses: {said(error)}") from error
    except requests.RequestException as error:
        raise EngineUnavailable(f"the Docker engine failed: {said(error)}") from error


def may_pull(image: str, allowed: Sequence[str]) -> bool:
    """Whether an image named by digest comes from one of these repositories (or from below one)."""
    if not is_by_digest(image):
        return False
    repository = _full_name(image.partition("@")[0])
    places = [_full_name(place.rstrip("/"), is_place=True) for place in allowed if place]
    return any(repository == place or repository.startswith(f"{place}/") for place in places)


def _full_name(name: str, *, is_place: bool = False) -> str:
    """With the registry that Docker means where none is named: distribution/reference, normalize.go."""
    first, slash, rest = name.partition("/")
    has_registry = "." in first or ":" in first or first == "localhost"
    if has_registry:
        last = rest.rpartition("/")[2]
        return name.rpartition(":")[0] if slash and ":" in last else name
    bare = name.partition(":")[0]
    return f"docker.io/{bare}" if slash or is_place else f"docker.io/library/{bare}"


def pull_image(
    engine: DockerEngine,
    reference: str,
    options: DockerOptions,
    notify: Callable[[str], None],
    stop: threading.Event,
) -> str:
    """Pull an image by digest and give back its ID; `notify` hears how far it is, every two seconds. `stop` ends it.

    Raises:
        CannotStart: it cannot be had, is too large, or `stop` was set.
    """
    name, _, digest = reference.partition("@")
    api: Any = engine.client.api
    notify(f"pulling {reference}")
    try:
        # Not api.pull: it has no bound on silence. Ending the request ends the pull at the engine.
        response = api._post(
            api._url("/images/create"),
            params={"fromImage": name, "tag": digest},
            stream=True,
            timeout=(REQUEST_SECONDS, _STALLED_SECONDS),
        )
        api._raise_for_status(response)
        with response:
            _follow(api._stream_helper(response, decode=True), reference, options, notify, stop)
    except (APIError, requests.RequestException) as error:
        # What a registry refuses, and a registry that is away, the engine answers alike.
        is_told = isinstance(error, APIError)
        kind = OutcomeKind.IMAGE_MISSING if is_told else OutcomeKind.RUNTIME_FAULT
        raise CannotStart(kind, f"pulling {reference} failed: {said(error)}") from error
    found = find_image(engine, reference)
    if found is None:
        raise CannotStart(OutcomeKind.IMAGE_MISSING, f"{reference} was pulled and is not there")
    return found


def _follow(
    events: Any,
    reference: str,
    options: DockerOptions,
    notify: Callable[[str], None],
    stop: threading.Event,
) -> None:
    progress, told = _Progress(), time.monotonic()
    for event in events:
        if stop.is_set():
            raise CannotStart(OutcomeKind.CANCELLED, "cancelled while its image was pulled")
        if error := event.get("error"):
            message = f"pulling {reference} failed: {' '.join(str(error).split())[:500]}"
            raise CannotStart(OutcomeKind.IMAGE_MISSING, message)
        progress.take(event)
        if progress.total > options.pull_bytes:
            message = f"{reference} has {progress.total} bytes, more than jobs.docker.pull_bytes ({options.pull_bytes})"
            raise CannotStart(OutcomeKind.IMAGE_MISSING, message)
        if time.monotonic() - told >= _TELL_SECONDS:
            told = time.monotonic()
            notify(f"pulling {reference}: {progress.done} of {progress.total} bytes")


class _Progress:
    """Bytes of all layers, as far as the engine has said."""

    def __init__(self) -> None:
        self._layers: dict[str, tuple[int, int]] = {}

    def take(self, event: Mapping[str, Any]) -> None:
        """Take over one event of `POST /images/create`."""
        detail, layer = event.get("progressDetail") or {}, str(event.get("id") or "")
        if event.get("status") == "Downloading" and detail.get("total"):
            self._layers[layer] = int(detail.get("current") or 0), int(detail["total"])
        elif event.get("status") == "Download complete" and layer in self._layers:
            self._layers[layer] = (self._layers[layer][1],) * 2

    @property
    def done(self) -> int:
        return sum(done for done, _ in self._layers.values())

    @property
    def total(self) -> int:
        return sum(total for _, total in self._layers.values())
