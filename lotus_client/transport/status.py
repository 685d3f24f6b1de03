"""What an HTTP status says beside the JSON-RPC envelope under it."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from lotus_client.errors import (
    LotusBusy,
    LotusConnectError,
    LotusDecodeError,
    LotusNoEndpoint,
    LotusUnauthorized,
)
from lotus_client.transport.envelope import decode_json, error_of, result_of

__all__ = ["answer_or_none", "checked_result", "refuse_status", "retry_after_seconds"]


def checked_result(
    method: str, request_id: int, status: int, raw: bytes, retry_after: str | None = None
) -> Any:
    """The `result` of an answer to one request.

    Raises:
        LotusError: anything else.
    """
    answer = answer_or_none(raw)
    # Lotus sends real JSON-RPC errors under 500 and 400 too, so the body is looked at first
    if isinstance(answer, dict) and isinstance(answer.get("error"), dict) and status != 401:
        _check_id(method, request_id, answer)
        raise error_of(method, answer["error"])
    refuse_status(method, status, retry_after)
    if not isinstance(answer, dict):
        decode_json(method, raw)  # raises with the reason unless it is JSON of another kind
        raise LotusDecodeError(method, "the answer is no JSON-RPC object")
    _check_id(method, request_id, answer)
    return result_of(method, answer)


def refuse_status(method: str, status: int, retry_after: str | None) -> None:
    """Return for status 200.

    Raises:
        LotusUnauthorized, LotusBusy, LotusNoEndpoint, LotusConnectError: what any other says.
    """
    if status == 200:
        return
    if status == 401:
        raise LotusUnauthorized(
            f"{method}: the node refuses the token (HTTP 401): was it made on this node?"
        )
    if status == 403:
        raise LotusUnauthorized(f"{method}: the node or a proxy forbids it (HTTP 403)")
    if status in (429, 503):
        raise LotusBusy(
            f"{method}: the node answered HTTP {status}; it is busy",
            retry_after_seconds(retry_after, datetime.now(UTC)),
        )
    if status >= 500:
        raise LotusConnectError(f"{method}: the node answered HTTP {status}; it may be busy")
    raise LotusNoEndpoint(f"{method}: HTTP {status} is no answer of a Lotus node: wrong URL?")


def retry_after_seconds(header: str | None, now: datetime) -> float | None:
    """The seconds of a `Retry-After` header, which is a number or a date (RFC 9110); None if it says nothing."""
    text = (header or "").strip()
    if text.isascii() and text.isdigit() and len(text) <= 10:
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())


def answer_or_none(raw: bytes) -> Any:
    """The JSON of an answer, None if it is not JSON."""
    try:
        return decode_json("", raw)
    except LotusDecodeError:
        return None


def _check_id(method: str, request_id: int, answer: dict[str, Any]) -> None:
    # a request that did not parse is answered with a null id
    found = answer.get("id")
    if found is None and "error" in answer:
        return
    if isinstance(found, bool) or found != request_id:
        raise LotusDecodeError(
            f"{method}.id", f"the answer is to request {str(found)[:40]}, not {request_id}"
        )
