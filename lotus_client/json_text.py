"""JSON text of strangers, read within a bounded depth whatever the process allows."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any, Final

__all__ = ["JsonTooDeep", "read_json"]

_USUAL_DEPTH: Final = 2000  # no document or request nests more than a few levels


class JsonTooDeep(ValueError):
    """The text is nested so deeply that it is not read."""


def read_json(
    text: bytes | str,
    *,
    max_depth: int = _USUAL_DEPTH,
    object_pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None,
    parse_constant: Callable[[str], Any] | None = None,
) -> Any:
    """The value of `text`; `max_depth` counts the levels of the text and the calls that are under way.

    Raises:
        JsonTooDeep: nested too deeply.
        ValueError: not JSON.
    """
    # Some libraries (py_ecc, hypothesis) raise the process's limit so far that hostile text overflows the C stack.
    usual = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(max_depth)
        return json.loads(text, object_pairs_hook=object_pairs_hook, parse_constant=parse_constant)
    except RecursionError as error:
        raise JsonTooDeep("the JSON is nested too deeply") from error
    finally:
        sys.setrecursionlimit(usual)
