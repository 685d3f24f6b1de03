"""A cursor over parsed JSON that knows where it is, so that every error names its path."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeVar

from lotus_client.errors import LotusDecodeError

__all__ = ["At", "at"]

T = TypeVar("T")

_MAX_BIG_BITS: Final = 1328  # as many as 400 digits have
_MAX_BIG_DIGITS: Final = 400  # far beyond any amount or power; keeps int() cheap on hostile text


@dataclass(
    slots=True
)  # not frozen: tens are made for every block header, and freezing triples their cost
class At:
    """A JSON value and its path. Every method raises `LotusDecodeError` naming that path."""

    value: Any
    path: str

    def fail(self, expected: str) -> NoReturn:
        """Raise the error that `expected` was not found here."""
        raise LotusDecodeError(self.path, f"expected {expected}, got {_shown(self.value)}")

    def field(self, name: str) -> At:
        """The member `name` of an object; a missing member reads as null."""
        if not isinstance(self.value, dict):
            self.fail("an object")
        return At(self.value.get(name), f"{self.path}.{name}")

    def items(self) -> Iterator[At]:
        """The elements of a list; null is Go's empty list."""
        if self.value is None:
            return
        if not isinstance(self.value, list):
            self.fail("a list")
        for index, item in enumerate(self.value):
            yield At(item, f"{self.path}[{index}]")

    def entries(self) -> Iterator[tuple[str, At]]:
        """The members of an object used as a map; null is Go's empty map."""
        if self.value is None:
            return
        if not isinstance(self.value, dict):
            self.fail("an object")
        for name, item in self.value.items():
            yield name, At(item, f"{self.path}.{name[:40]}")

    def optional(self, read: Callable[[At], T]) -> T | None:
        """What `read` makes of the value, or None for null."""
        return None if self.value is None else read(self)

    def integer(self, low: int = 0, high: int = (1 << 64) - 1) -> int:
        """A whole JSON number within bounds."""
        if not isinstance(self.value, int) or isinstance(self.value, bool):
            self.fail("a whole number")
        if not low <= self.value <= high:
            self.fail(f"a number from {low} to {high}")
        return self.value

    def epoch(self) -> int:
        """A chain epoch; -1 and lower are used by the actors for "never"."""
        return self.integer(-(1 << 63), (1 << 63) - 1)

    def big(self) -> int:
        """A big integer as decimal text, or as a bare number, which other nodes than Lotus print; empty is 0, null refused."""
        if isinstance(self.value, int) and not isinstance(self.value, bool):
            if self.value.bit_length() > _MAX_BIG_BITS:
                self.fail("a number of reasonable size")
            return self.value
        if not isinstance(self.value, str) or len(self.value) > _MAX_BIG_DIGITS:
            self.fail("a decimal number in quotes")
        digits = self.value.removeprefix("-")
        if digits and not (digits.isascii() and digits.isdigit()):
            self.fail("a decimal number in quotes")
        if not digits and self.value:
            self.fail("a decimal number in quotes")
        return int(self.value or "0")

    def text(self) -> str:
        """A text."""
        if not isinstance(self.value, str):
            self.fail("a text")
        return self.value

    def boolean(self) -> bool:
        """true or false."""
        if not isinstance(self.value, bool):
            self.fail("true or false")
        return self.value

    def data(self) -> bytes:
        """Bytes in standard base64; null is Go's empty byte list."""
        if self.value is None:
            return b""
        if not isinstance(self.value, str):
            self.fail("base64")
        try:
            return base64.b64decode(self.value, validate=True)
        except (binascii.Error, ValueError):
            self.fail("base64")

    def parsed(self, parse: Callable[[str], T], expected: str) -> T:
        """What `parse` (raising ValueError) makes of a text."""
        try:
            return parse(self.text())
        except ValueError as error:
            raise LotusDecodeError(self.path, f"expected {expected}: {error}") from error


def _shown(value: Any) -> str:
    """A few characters about a value; never prints a large or deep one whole."""
    match value:
        case None:
            return "nothing"
        case str():
            return repr(value[:60])
        case list():
            return f"a list of {len(value)}"
        case dict():
            return f"an object of {len(value)} members"
        case int() if value.bit_length() > 128:
            return "a very large number"
        case _:
            return repr(value)


def at(raw: Any, path: str) -> At:
    """A cursor at `raw`, which may be one already."""
    return raw if isinstance(raw, At) else At(raw, path)
