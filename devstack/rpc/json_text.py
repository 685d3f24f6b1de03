"""JSON text of strangers, read within a bounded depth."""

from __future__ import annotations

import json
import sys
from typing import Any, Final

__all__ = ["read_json"]

_MAX_DEPTH: Final = 2000  # no request nests more than a few levels


def read_json(text: bytes | str) -> Any:
    """The value of `text`.

    Raises:
        ValueError: not JSON, or nested too deeply.
    """
    # The process may have raised its limit so far (py_ecc and hypothesis do) that the C stack would overflow first.
    usual = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(_MAX_DEPTH)
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("the JSON is nested too deeply") from error
    finally:
        sys.setrecursionlimit(usual)
