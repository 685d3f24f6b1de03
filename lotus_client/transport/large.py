"""Large answers, read in parts as they arrive: what is kept in memory is one part, whatever the node sends.

ijson does the parsing: its C backend on yajl where it was built, else the slower ones it brings. That backend crashes the
process at a number longer than Python converts (4300 digits, ijson 3.3 to 3.6), so such a number never reaches it.
"""

from __future__ import annotations

from typing import Any, Final

import ijson

from lotus_client.errors import LotusDecodeError
from lotus_client.transport.base import Shape, items_of
from lotus_client.transport.envelope import decode_json, result_of

__all__ = ["ItemReader"]

# A claim or sector is a few hundred bytes. Nesting, texts and numbers are all bounded by the bytes they need.
_MAX_ITEM_BYTES: Final = 1 << 20
_MAX_DIGITS: Final = (
    600  # in a row: below what Python may be set to; the longest real number has some forty
)
_DIGITS: Final = b"0123456789"
_BLOCK: Final = _MAX_DIGITS // 2


class ItemReader:
    """The elements of the `result` of one answer, given its bytes in order."""

    def __init__(self, method: str, shape: Shape, max_item_bytes: int = _MAX_ITEM_BYTES) -> None:
        self._method = method
        self._shape: Shape = shape
        self._max_item = max_item_bytes
        self._items = ijson.sendable_list()
        self._parser = (
            ijson.kvitems_coro(self._items, "result")
            if shape == "map"
            else ijson.items_coro(self._items, "result.item")
        )
        self._head: bytearray | None = bytearray()  # an error or an empty result, until an element
        self._since_item = 0
        self._digits = 0  # that the bytes so far end with

    def feed(self, chunk: bytes) -> list[Any]:
        """The elements that became whole with these bytes.

        Raises:
            LotusDecodeError: not JSON, or one element is larger than any real one.
        """
        self._refuse_long_number(chunk)
        try:
            self._parser.send(chunk)
        except StopIteration:
            pass
        except (ijson.JSONError, ValueError, ArithmeticError, RecursionError) as error:
            raise self._not_json(error) from error
        if self._items:
            self._head, self._since_item = None, 0
            found = list(self._items)
            self._items.clear()
            return found
        self._since_item += len(chunk)
        if self._since_item > self._max_item:
            raise LotusDecodeError(
                self._method, f"one element of the answer is larger than {self._max_item} bytes"
            )
        if self._head is not None:
            self._head += chunk
        return []

    def finish(self) -> None:
        """Return if the answer is whole and no error.

        Raises:
            LotusError: the answer is the node's error, is cut short or is no JSON-RPC object.
        """
        if self._head is not None:
            answer = decode_json(self._method, bytes(self._head))
            if not isinstance(answer, dict):
                raise LotusDecodeError(self._method, "the answer is no JSON-RPC object")
            items_of(self._method, result_of(self._method, answer), self._shape)
            return
        try:
            self._parser.close()
        except StopIteration:
            pass
        except (ijson.JSONError, ValueError) as error:
            raise self._not_json(error) from error

    def _refuse_long_number(self, chunk: bytes) -> None:
        """Look for rows of digits without looking at every byte: a long one covers a whole block, or an end of the chunk."""
        leading = len(chunk) - len(chunk.lstrip(_DIGITS))
        longest = self._digits + leading
        if len(chunk) > _MAX_DIGITS:
            blocks = range(0, len(chunk) - _BLOCK + 1, _BLOCK)
            if any(chunk[at : at + _BLOCK].isdigit() for at in blocks):
                longest = _MAX_DIGITS + 1
        if longest > _MAX_DIGITS:
            raise LotusDecodeError(
                self._method, "a number in the answer is longer than any real one"
            )
        whole = leading == len(chunk)
        self._digits = longest if whole else len(chunk) - len(chunk.rstrip(_DIGITS))

    def _not_json(self, error: Exception) -> LotusDecodeError:
        return LotusDecodeError(self._method, f"the answer is not JSON: {str(error)[:200]}")
