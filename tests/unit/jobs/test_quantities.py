from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sp_plugin.jobs.quantities import QuantityError, parse_cpu_millis, parse_size


@pytest.mark.parametrize(
    ("text", "millis"), [("1", 1000), ("0.5", 500), ("500m", 500), (" 2 ", 2000), ("0.001", 1)]
)
def test_cpu_is_read_in_thousandths(text, millis):
    assert parse_cpu_millis(text) == millis


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512Mb", 512_000_000),
        ("2GB", 2 * 10**9),
        ("1GiB", 2**30),
        ("4096", 4096),
        ("1.5 KiB", 1536),
    ],
)
def test_sizes_are_decimal_unless_they_say_i(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "-1", "0", "1xb", "1ib", "NaN", "1e3", "٣", "9" * 100])
def test_what_is_no_amount_is_refused(text):
    with pytest.raises(QuantityError):
        parse_size(text)
    if text != "1e3":
        with pytest.raises(QuantityError):
            parse_cpu_millis(text)


@given(st.text(max_size=30))
def test_any_text_is_an_amount_or_refused(text):
    for parse in (parse_cpu_millis, parse_size):
        with suppress(QuantityError):
            assert parse(text) >= 1
