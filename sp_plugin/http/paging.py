"""Tokens of pages: opaque to clients, and saying again what order and size the first page had."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any, Final

from sp_plugin.errors import BadInput

__all__ = ["read_token", "write_token"]

_LONGEST: Final = 400


def write_token(**values: Any) -> str:
    """A token that carries the values."""
    raw = json.dumps(values, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def read_token(token: str, **kinds: type | tuple[type, ...]) -> dict[str, Any]:
    """What a token of this server carries: the named values, each of its kind.

    Raises:
        BadInput: it is none.
    """
    wrong = BadInput("is not a token of this server", field="next_token")
    if len(token) > _LONGEST:
        raise wrong
    try:
        values = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (ValueError, binascii.Error, RecursionError) as error:
        raise wrong from error
    if not isinstance(values, dict) or values.keys() != kinds.keys():
        raise wrong
    for name, kind in kinds.items():
        value = values[name]
        if not isinstance(value, kind):
            raise wrong
        if isinstance(value, int) and not 0 <= value < 1 << 62:
            raise wrong
    return values
