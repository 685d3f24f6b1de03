"""The connection to a container engine: where one is looked for, and which of its failures may pass."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import docker
import requests
from docker.errors import APIError, DockerException, NotFound

from sp_plugin.executors.base import EngineUnavailable
from sp_plugin.executors.docker.facts import EngineFacts, is_podman, read_facts

__all__ = [
    "REQUEST_SECONDS",
    "DockerEngine",
    "candidate_urls",
    "is_away",
    "probe_engine",
    "remove_container",
    "said",
]

REQUEST_SECONDS: Final = 30
_API_VERSION: Final = "1.41"  # Docker 20.10 and later, Podman 4 and later
_LIBPOD_INFO: Final = "/v4.0.0/libpod/info"  # not among docker-py's
_ROOTFUL: Final = "unix:///var/run/docker.sock"
_SERVER_ERROR: Final = 500
_T = TypeVar("_T")


class DockerEngine:
    """One engine, connected on first use; safe to use from several threads."""

    def __init__(self, url: str | None = None) -> None:
        self._url = url
        self._client: docker.DockerClient | None = None
        self._connected_at: str | None = None
        self._facts: EngineFacts | None = None
        self._lock = threading.Lock()

    @property
    def client(self) -> docker.DockerClient:
        """The connected client.

        Raises:
            EngineUnavailable: no engine answers.
        """
        with self._lock:
            if self._client is None:
                self._client, self._connected_at = _connect(self._url)
            return self._client

    def probe(self) -> None:
        """Raise `OSError` when nobody listens any more where we are connected; asked before each thing that may wait."""
        if self._connected_at is not None:
            probe_engine(self._connected_at)

    def facts(self) -> EngineFacts:
        """What this engine is and can do; asked once, and again after `forget`.

        Raises:
            EngineUnavailable: no engine answers.
        """
        if self._facts is None:
            self._facts = self.ask(self._read_facts)
        return self._facts

    def _read_facts(self) -> EngineFacts:
        client = self.client
        info, version = client.info(), client.version()
        libpod = None
        if is_podman(version):
            answer = client.api.get(client.api.base_url + _LIBPOD_INFO, timeout=REQUEST_SECONDS)
            libpod = answer.json() if answer.ok else None
        return read_facts(info, version, libpod)

    def ask(self, question: Callable[[], _T]) -> _T:
        """The answer; what the engine refuses or leaves unanswered becomes one kind of error.

        Raises:
            EngineUnavailable: it failed.
        """
        try:
            self.probe()
            return question()
        except (DockerException, requests.RequestException, OSError) as error:
            raise EngineUnavailable(f"the Docker engine failed: {said(error)}") from error

    def forget(self) -> None:
        """Ask anew: the engine was away, and may be another version now."""
        self._facts = None

    def close(self) -> None:
        """Give the connections back."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None


def _connect(url: str | None) -> tuple[docker.DockerClient, str]:
    failures = []
    for candidate in candidate_urls(url, os.environ, os.getuid()):
        client = None
        try:
            probe_engine(candidate)
            client = docker.DockerClient(
                base_url=candidate, version=_API_VERSION, timeout=REQUEST_SECONDS
            )
            client.ping()
        except (DockerException, requests.RequestException, OSError) as error:
            if client is not None:
                client.close()
            failures.append(f"{candidate}: {error}")
        else:
            return client, candidate
    raise EngineUnavailable(f"no Docker engine answers at {'; '.join(failures)}")


def candidate_urls(url: str | None, environment: Mapping[str, str], uid: int) -> Iterator[str]:
    """Where an engine may listen, the best first: the one that was named, else one without root, else the usual one.

    A rootless engine goes first because what escapes from its containers is an ordinary user of the host.
    """
    named = url or environment.get("DOCKER_HOST")
    if named:
        yield named
        return
    runtime = Path(environment.get("XDG_RUNTIME_DIR") or f"/run/user/{uid}")
    for place in (runtime / "docker.sock", runtime / "podman/podman.sock"):
        if place.exists():
            yield f"unix://{place}"
    yield _ROOTFUL


def probe_engine(url: str) -> None:
    """Raise `OSError` when nobody listens on a Unix socket; docker-py would leave its own open on that."""
    if url.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(REQUEST_SECONDS)
            probe.connect(url.removeprefix("unix://"))


def is_away(error: Exception) -> bool:
    """Whether the engine did not answer or broke off, so that asking again later may help."""
    if isinstance(error, APIError):
        status = None if error.response is None else error.response.status_code
        return status is not None and status >= _SERVER_ERROR
    return isinstance(error, requests.RequestException | OSError | EngineUnavailable)


def said(error: Exception) -> str:
    """The engine's own words, on one line."""
    text = getattr(error, "explanation", None) or str(error)
    return " ".join(str(text).split())[:500]


def remove_container(container: Any) -> None:
    """Kill and remove it; one that is gone is fine."""
    with suppress(NotFound):
        container.remove(force=True, v=True)
