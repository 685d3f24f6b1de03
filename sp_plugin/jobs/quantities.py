"""Amounts of CPU and memory as people write them in a job's Resources. Source: Bacalhau v1, Kubernetes quantities."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

__all__ = ["QuantityError", "parse_cpu_millis", "parse_size"]

_CPU: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(m?)", re.ASCII)
_SIZE: Final = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)([kmgtp]?)(i?)(b?)", re.ASCII)
_POWERS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}


class QuantityError(ValueError):
    """Text that is no amount; the message shows how one looks."""


def parse_cpu_millis(text: str) -> int:
    """Thousandths of a CPU for `0.5` or `500m`; less than one thousandth is an error.

    Raises:
        QuantityError: not a quantity.
    """
    match = _CPU.fullmatch(_squeezed(text))
    if match is None:
        raise QuantityError(f"{text[:40]!r} is not an amount of CPU; write e.g. 500m or 0.5")
    millis = Decimal(match[1]) * (1 if match[2] else 1000)
    if millis < 1:
        raise QuantityError(f"{text[:40]!r} is less than a thousandth of a CPU")
    return int(millis)


def parse_size(text: str) -> int:
    """Bytes for `512Mb` (decimal), `1GiB` (binary) or `4096`, rounded down.

    Raises:
        QuantityError: not a size, or 0.
    """
    match = _SIZE.fullmatch(_squeezed(text))
    if match is None or (match[3] and not match[2]):
        raise QuantityError(f"{text[:40]!r} is not a size; write e.g. 512Mb or 1GiB")
    size = int(Decimal(match[1]) * (1024 if match[3] else 1000) ** _POWERS[match[2]])
    if size < 1:
        raise QuantityError(f"{text[:40]!r} is not a size above 0")
    return size


def _squeezed(text: str) -> str:
    return "".join(text.split()).lower()
