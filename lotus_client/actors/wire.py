"""The few forms that the actors' params are made of, read strictly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from lotus_client import cbor
from lotus_client.address import Address, AddressError
from lotus_client.bitfield import BitField, BitFieldError
from lotus_client.cbor import CborError, CborValue, decode_bigint, encode_bigint
from lotus_client.cid import Cid
from lotus_client.types import AttoFil

__all__ = ["BatchReturn", "ParamsError", "Wire"]

T = TypeVar("T")


class ParamsError(ValueError):
    """Bytes that are not the params or return of that method; says which field is wrong."""


class Wire:
    """Base of params and returns: a CBOR value with strict decoding."""

    __slots__ = ()

    def to_value(self) -> object:
        """What is encoded: a list of the fields, or the one field of a bare struct."""
        raise NotImplementedError

    @classmethod
    def from_value(cls, value: CborValue) -> Self:
        """The struct of its decoded CBOR.

        Raises:
            ParamsError: not of that shape.
        """
        raise NotImplementedError

    def to_cbor(self) -> bytes:
        """The bytes of a message's params or a receipt's return."""
        return cbor.encode(self.to_value())

    @classmethod
    def from_cbor(cls, raw: bytes) -> Self:
        """The struct of its bytes.

        Raises:
            ParamsError: not strict CBOR, or not of that shape.
        """
        try:
            return cls.from_value(cbor.decode(raw))
        except (CborError, AddressError, BitFieldError) as error:
            raise ParamsError(f"{cls.__name__}: {error}") from error


def fields(value: CborValue, count: int, what: str) -> list[Any]:
    """The items of an array of exactly that many fields."""
    if not isinstance(value, list) or len(value) != count:
        raise ParamsError(f"{what} is an array of {count} fields")
    return value


def items(value: CborValue, read: Callable[[Any], T], what: str) -> tuple[T, ...]:
    """Each item of an array, read by `read`."""
    if not isinstance(value, list):
        raise ParamsError(f"{what} is an array")
    return tuple(read(item) for item in value)


def integer(value: CborValue) -> int:
    """A CBOR integer."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise ParamsError(f"expected an integer, found {_name(value)}")
    return value


def unsigned(value: CborValue) -> int:
    """A CBOR integer from 0 on."""
    number = integer(value)
    if number < 0:
        raise ParamsError(f"expected an unsigned integer, found {number}")
    return number


def boolean(value: CborValue) -> bool:
    """A CBOR bool."""
    if not isinstance(value, bool):
        raise ParamsError(f"expected a bool, found {_name(value)}")
    return value


def octets(value: CborValue) -> bytes:
    """A CBOR byte string."""
    if not isinstance(value, bytes):
        raise ParamsError(f"expected a byte string, found {_name(value)}")
    return value


def text(value: CborValue) -> str:
    """A CBOR text string."""
    if not isinstance(value, str):
        raise ParamsError(f"expected text, found {_name(value)}")
    return value


def link(value: CborValue) -> Cid:
    """A CID."""
    if not isinstance(value, Cid):
        raise ParamsError(f"expected a CID, found {_name(value)}")
    return value


def address(value: CborValue) -> Address:
    """An address from its byte string."""
    return Address.from_bytes(octets(value))


def big(value: CborValue) -> int:
    """A big integer from its byte string."""
    return decode_bigint(value)


def atto(value: CborValue) -> AttoFil:
    """An amount from its byte string."""
    return AttoFil(decode_bigint(value))


def bitfield(value: CborValue) -> BitField:
    """A set of numbers from its RLE+ byte string, which the actors refuse when it ends in a zero byte."""
    raw = octets(value)
    if raw.endswith(b"\0"):
        raise ParamsError("a bitfield does not end in a zero byte")
    return BitField.decode(raw)


def optional(value: CborValue, read: Callable[[Any], T]) -> T | None:
    """None for CBOR null, else what `read` makes of it."""
    return None if value is None else read(value)


def big_bytes(value: int | AttoFil) -> bytes:
    """The byte string of a big integer or an amount."""
    return encode_bigint(value.value if isinstance(value, AttoFil) else value)


def _name(value: CborValue) -> str:
    return "null" if value is None else type(value).__name__


@dataclass(frozen=True, slots=True)
class BatchReturn(Wire):
    """How many items of a list succeeded, and (index, exit code) of each that did not, over the whole list.

    Source: builtin-actors `runtime/src/util/batch_return.rs`.
    """

    success_count: int
    fail_codes: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of_codes(cls, codes: list[int]) -> BatchReturn:
        """The batch of one exit code per item, 0 for success."""
        failed = tuple((index, code) for index, code in enumerate(codes) if code)
        return cls(len(codes) - len(failed), failed)

    def to_value(self) -> object:
        return [self.success_count, [list(pair) for pair in self.fail_codes]]

    @classmethod
    def from_value(cls, value: CborValue) -> BatchReturn:
        count, failed = fields(value, 2, "BatchReturn")

        def read(pair: CborValue) -> tuple[int, int]:
            index, code = fields(pair, 2, "BatchReturn failure")
            return unsigned(index), unsigned(code)

        return cls(unsigned(count), items(failed, read, "BatchReturn failures"))
