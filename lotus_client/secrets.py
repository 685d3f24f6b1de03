"""A secret text that cannot be printed by accident, and the redaction of tokens in texts."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

__all__ = ["Secret", "redact"]

# A JWT: three base64url parts, the first always beginning with `{"` in base64.
_JWT: Final = re.compile(r"eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_QUERY_TOKEN: Final = re.compile(r"([?&](?:token|access_token|key)=)[^&#\s]+", re.IGNORECASE)
_USERINFO: Final = re.compile(r"(//)[^/@\s]+@")


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret text. `reveal()` is the only way to it; printing gives `***`."""

    _text: str = field(repr=False)

    def reveal(self) -> str:
        """The secret itself, for the one place that sends it."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __str__(self) -> str:
        return "***"

    def __repr__(self) -> str:
        return "Secret('***')"


def redact(text: str) -> str:
    """`text` with every JWT, `?token=` value and URL password replaced by `***`; for logs and errors."""
    text = _JWT.sub("***", text)
    text = _QUERY_TOKEN.sub(r"\1***", text)
    return _USERINFO.sub(r"\1***@", text)
