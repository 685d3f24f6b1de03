"""What a job says in `Meta` under our names."""

from __future__ import annotations

from typing import Any, Final

from fil_plus.bundle import MAX_FUEL, MAX_VERIFY
from lotus_client.address import Address, AddressError
from sp_plugin.jobs.params import text_of_number, wrong
from sp_plugin.jobs.quantities import QuantityError, parse_size

__all__ = [
    "META_DATASET",
    "META_FUEL",
    "META_MAX_OUTPUT_BYTES",
    "META_PAYEE",
    "META_SIGNATURE",
    "META_SIGNATURE_EXPIRES",
    "META_SUBMITTER",
    "META_VERIFY",
    "checked_meta",
    "meta_text",
]

META_PAYEE: Final = "filecoin.payee"
META_DATASET: Final = "filecoin.dataset"
META_SIGNATURE: Final = "filecoin.signature"
META_SIGNATURE_EXPIRES: Final = "filecoin.signature_expires"
META_SUBMITTER: Final = "filecoin.submitter"
META_MAX_OUTPUT_BYTES: Final = "filecoin.max_output_bytes"
META_VERIFY: Final = "filecoin.verify"
META_FUEL: Final = "filecoin.fuel"


def meta_text(value: Any) -> Any:
    """The map with its numbers as text."""
    if isinstance(value, dict):
        return {key: text_of_number(item) for key, item in value.items()}
    return value


def checked_meta(meta: dict[str, str]) -> dict[str, str]:
    """The map itself, if what it says in our names can be read."""
    payee = meta.get(META_PAYEE)
    if payee is not None:
        try:
            Address.parse(payee)
        except AddressError as error:
            raise wrong(f"{META_PAYEE}: {error}") from error
    size = meta.get(META_MAX_OUTPUT_BYTES)
    if size is not None:
        try:
            parse_size(size)
        except QuantityError as error:
            raise wrong(f"{META_MAX_OUTPUT_BYTES}: {error}") from error
    _whole_number(meta, META_VERIFY, MAX_VERIFY)
    _whole_number(meta, META_FUEL, MAX_FUEL)
    return meta


def _whole_number(meta: dict[str, str], name: str, most: int) -> None:
    text = meta.get(name)
    is_number = text is not None and text.isascii() and text.isdigit() and len(text) <= 16
    if text is not None and not (is_number and 1 <= int(text) <= most):
        raise wrong(f"{name}: {text[:40]!r} is not a whole number from 1 to {most}")
