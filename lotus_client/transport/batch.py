"""Several reads in one HTTP request: how they are divided, and which answer belongs to which. No I/O."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

from lotus_client.errors import LotusDecodeError, LotusError
from lotus_client.transport.base import Call, Outcome
from lotus_client.transport.envelope import request_object, result_of

__all__ = ["MAX_CALLS", "divided", "is_refusal", "outcomes_of"]

MAX_CALLS: Final = 100  # of one batch: gateways count every call against their rate limit
_MAX_BYTES: Final = 1 << 20


def divided(
    calls: Sequence[Call], first_id: int, max_calls: int = MAX_CALLS
) -> Iterator[tuple[range, str]]:
    """Bodies of batches, with which of the calls each has; the id of a call is `first_id` plus its place."""
    texts = [
        json.dumps(request_object(first_id + place, call.method, call.params), separators=(",", ":"), allow_nan=False)
        for place, call in enumerate(calls)
    ]  # fmt: skip
    start = size = 0
    for place, text in enumerate(texts):
        if place > start and (place - start >= max_calls or size + len(text) > _MAX_BYTES):
            yield range(start, place), f"[{','.join(texts[start:place])}]"
            start, size = place, 0
        size += len(text) + 1
    if texts[start:]:
        yield range(start, len(texts)), f"[{','.join(texts[start:])}]"


def is_refusal(status: int, answer: Any) -> bool:
    """Whether a batch as such was refused, so that its calls should be made singly: it was answered as one request."""
    if isinstance(answer, list) or status in (401, 403, 429) or status >= 502:
        return False
    if isinstance(answer, dict) and isinstance(answer.get("error"), dict):
        return True
    return status in (400, 404, 405, 413, 415, 422, 500, 501)


def outcomes_of(calls: Sequence[Call], first_id: int, answers: list[Any]) -> list[Outcome]:
    """The outcome of each call of one batch; ids are `first_id`, `first_id` + 1 and so on.

    Answers may come in any order. A call without an answer failed, the others did not.
    """
    found: dict[int, Any] = {}
    for answer in answers:
        number = answer.get("id") if isinstance(answer, dict) else None
        if isinstance(number, int) and not isinstance(number, bool):
            found.setdefault(number, answer)
    return [_outcome(call.method, found.get(first_id + place)) for place, call in enumerate(calls)]


def _outcome(method: str, answer: dict[str, Any] | None) -> Outcome:
    if answer is None:
        return LotusDecodeError(method, "the batch's answer leaves this call out")
    try:
        return result_of(method, answer)
    except LotusError as error:
        return error
