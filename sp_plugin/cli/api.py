"""The running sidecar's HTTP API, as commands call it: JSON in and out, its errors as ours."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from lotus_client.json_text import read_json
from lotus_client.secrets import Secret
from sp_plugin.errors import (
    BadInput,
    Conflict,
    NodeUnreachable,
    NotAllowed,
    NotFound,
    RefusedByPolicy,
    SidecarUnreachable,
    SpPluginError,
)

__all__ = ["Api", "segment"]

_TIMEOUT_SECONDS: Final = 60
_MAX_ANSWER: Final = 64 << 20


def segment(text: str) -> str:
    """`text` as one segment of a path."""
    return quote(text, safe="")


class Api:
    """One sidecar's API."""

    def __init__(self, url: str, token: Secret | None) -> None:
        if not url.startswith(("http://", "https://")):
            raise BadInput(f"{url!r} is not an http:// or https:// URL", field="SP_PLUGIN_URL")
        self.url = url.rstrip("/")
        self._token = token

    @property
    def headers(self) -> dict[str, str]:
        """What tells the sidecar who asks."""
        return {} if self._token is None else {"Authorization": f"Bearer {self._token.reveal()}"}

    def get(self, path: str, **query: Any) -> Any:
        """The JSON answer to GET; arguments that are None are left out."""
        given = {key: value for key, value in query.items() if value is not None}
        return self._json("GET", path + (f"?{urlencode(given)}" if given else ""))

    def put(self, path: str, body: Mapping[str, Any]) -> Any:
        """The JSON answer to PUT."""
        return self._json("PUT", path, body)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The JSON answer to POST."""
        return self._json("POST", path, body or {})

    def delete(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The JSON answer to DELETE."""
        return self._json("DELETE", path, body or {})

    def download(
        self, path: str, into: Path, on_progress: Callable[[int], None] = lambda _done: None
    ) -> int:
        """Write a binary answer to the new file `into`; gives back its size. `on_progress` hears the bytes so far.

        Raises:
            SpPluginError: the answer broke off; what came is in the file.
        """
        with self._open("GET", path, None) as answer, into.open("xb") as file:
            size = 0
            try:
                while chunk := answer.read(1 << 20):
                    size += file.write(chunk)
                    on_progress(size)
            except HTTPException as error:
                raise SpPluginError(
                    f"the answer broke off after {size} bytes, the sidecar's log says why; they are in {into}"
                ) from error
        return size

    def _json(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        with self._open(method, path, body) as answer:
            raw = answer.read(_MAX_ANSWER + 1)
        if len(raw) > _MAX_ANSWER:
            raise SpPluginError(f"the answer to {path} is larger than {_MAX_ANSWER} bytes")
        try:
            return read_json(raw)
        except ValueError as error:
            raise SpPluginError(f"{self.url} answers no JSON: is it a sidecar?") from error

    def _open(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        headers = {"Content-Type": "application/json", **self.headers}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310  the scheme was checked
            self.url + path, data=data, headers=headers, method=method
        )
        try:
            return urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)  # noqa: S310
        except urllib.error.HTTPError as error:
            with error:
                raise _of_envelope(error.code, error.read(1 << 20)) from None
        except (OSError, urllib.error.URLError) as error:
            reason = getattr(error, "reason", error)
            raise SidecarUnreachable(
                f"no sidecar answers at {self.url} ({reason}); start it with: sp-plugin run"
            ) from error


def _of_envelope(status: int, raw: bytes) -> SpPluginError:
    try:
        envelope = read_json(raw)
        message, code = str(envelope["Message"]), str(envelope.get("Code", ""))
    except (ValueError, KeyError, TypeError):
        return SpPluginError(f"HTTP {status}: {raw[:200].decode('utf-8', 'replace')}")
    if hint := envelope.get("Hint"):
        message = f"{message}\n{hint}"
    return _error(status, code, message)


def _error(status: int, code: str, message: str) -> SpPluginError:
    if code == "RefusedByPolicy":
        rule, _, reasons = message.removeprefix("refused by ").partition(": ")
        return RefusedByPolicy(rule, [reasons])
    if status == 404:
        kind, separator, name = message.partition(" not found: ")
        return NotFound(kind, name) if separator else SpPluginError(message)
    by_status: dict[int, type[SpPluginError]] = {
        400: BadInput,
        401: NotAllowed,
        403: NotAllowed,
        409: Conflict,
        503: NodeUnreachable,
    }
    return by_status.get(status, SpPluginError)(message)
