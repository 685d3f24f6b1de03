"""The few calls of Kubo's RPC API that publishing needs: version, and dag/import with its roots pinned.

Every call is a POST. dag/import takes CARs as files of a multipart form and answers JSON lines: a `Root` for each pinned root,
with `PinErrorMsg` if it could not be pinned, then `Stats`. Errors before the first line are HTTP 500 with `Message`; later ones
come as a line or as the trailer X-Stream-Error, and the stream just ends.
Source: kubo `core/commands/dag/{dag,import}.go`, https://docs.ipfs.tech/reference/kubo/rpc/
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from lotus_client.cid import Cid, CidError
from lotus_client.json_text import JsonTooDeep, read_json
from lotus_client.secrets import Secret

__all__ = ["Imported", "KuboApi", "KuboError"]

_MAX_ANSWER: Final = 1 << 20
_CONNECT_SECONDS: Final = 15.0


class KuboError(Exception):
    """The node did not do what was asked; `again` is whether trying soon may help."""

    def __init__(self, message: str, *, again: bool) -> None:
        super().__init__(message)
        self.again = again


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import brought: the roots that are pinned now, and how many blocks came (None: it did not say)."""

    pinned: frozenset[Cid]
    blocks: int | None


@dataclass(frozen=True, slots=True)
class KuboApi:
    """A node's RPC API at `url`; `authorization` is the header's value, if it wants one."""

    url: str
    authorization: Secret | None = None
    timeout_seconds: float = 600.0

    async def version(self) -> str:
        """The node's version, as `0.38.1`.

        Raises:
            KuboError: it does not answer, or is no Kubo.
        """
        async with self._post("version", {}) as answer:
            values = _json(await _whole(answer), self.url)
        version = values.get("Version")
        if not isinstance(version, str):
            raise KuboError(f"{self.url} answers no version: it is not Kubo's RPC API", again=False)
        return version[:100]

    async def import_car(self, name: str, parts: AsyncIterator[bytes]) -> Imported:
        """Import a CAR that comes in parts, and pin its roots.

        Raises:
            KuboError: it could not be sent, or was not taken; a root that was not pinned is told by the node itself.
        """
        with aiohttp.MultipartWriter("form-data") as form:
            part = form.append(parts, {"Content-Type": "application/octet-stream"})
            part.set_content_disposition("form-data", name="file", filename=name)
            query = {"pin-roots": "true", "stats": "true"}
            async with self._post("dag/import", query, data=form) as answer:
                return _imported(await _whole(answer), self.url)

    @asynccontextmanager
    async def _post(
        self, command: str, query: Mapping[str, str], *, data: Any = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = {"User-Agent": "sp-plugin"}
        if self.authorization is not None:
            headers["Authorization"] = self.authorization.reveal()
        timeout = aiohttp.ClientTimeout(total=self.timeout_seconds, sock_connect=_CONNECT_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
                session.post(
                    f"{self.url}/api/v0/{command}",
                    params=query,
                    data=data,
                    headers=headers,
                    allow_redirects=False,
                ) as answer,
            ):
                if answer.status != 200:
                    raise await self._refusal(answer)
                yield answer
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = str(error)[:300] or type(error).__name__
            raise KuboError(f"{self.url} does not answer: {reason}", again=True) from error

    async def _refusal(self, answer: aiohttp.ClientResponse) -> KuboError:
        status = answer.status
        if status in (401, 403):
            return KuboError(
                f"{self.url} refuses the call (HTTP {status}): see jobs.publish.kubo.authorization_file and the node's "
                "API.Authorizations",
                again=False,
            )
        if status < 500 and status not in (408, 429):
            return KuboError(f"{self.url} is not Kubo's RPC API (HTTP {status})", again=False)
        try:
            said = str(_json(await _whole(answer), self.url).get("Message", ""))[:500]
        except KuboError:
            said = ""
        return KuboError(f"{self.url}: {said or f'HTTP {status}'}", again=True)


async def _whole(answer: aiohttp.ClientResponse) -> bytes:
    """The body, which is small by its nature."""
    whole = bytearray()
    async for chunk in answer.content.iter_chunked(1 << 16):
        whole += chunk
        if len(whole) > _MAX_ANSWER:
            raise KuboError(f"the node answers more than {_MAX_ANSWER} bytes", again=False)
    return bytes(whole)


def _json(raw: bytes, url: str) -> dict[str, Any]:
    try:
        values = read_json(raw.decode())
    except (UnicodeDecodeError, json.JSONDecodeError, JsonTooDeep) as error:
        raise KuboError(
            f"{url} does not answer JSON: it is not Kubo's RPC API", again=False
        ) from error
    return values if isinstance(values, dict) else {}


def _imported(raw: bytes, url: str) -> Imported:
    pinned, blocks = set(), None
    for values in _lines(raw, url):
        if "Message" in values:
            raise KuboError(f"{url}: {str(values['Message'])[:500]}", again=True)
        root, stats = values.get("Root"), values.get("Stats")
        if isinstance(root, dict):
            cid = _cid(root, url)
            if problem := root.get("PinErrorMsg"):
                raise KuboError(f"{url} could not pin {cid}: {str(problem)[:500]}", again=True)
            pinned.add(cid)
        if isinstance(stats, dict) and isinstance(stats.get("BlockCount"), int):
            blocks = stats["BlockCount"]
    return Imported(frozenset(pinned), blocks)


def _lines(raw: bytes, url: str) -> Iterator[dict[str, Any]]:
    return (_json(line, url) for line in raw.splitlines() if line.strip())


def _cid(root: Mapping[str, Any], url: str) -> Cid:
    link = root.get("Cid")
    try:
        return Cid.parse(str(link["/"] if isinstance(link, dict) else link))
    except (KeyError, CidError) as error:
        raise KuboError(
            f"{url} names a root that is no CID: {str(link)[:100]}", again=False
        ) from error
