"""Money text is exact, strict and cheap to refuse."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotus_client.types import AttoFil


@given(st.integers(-(10**30), 10**30))
def test_an_amount_survives_both_of_its_texts(atto: int) -> None:
    amount = AttoFil(atto)
    assert AttoFil.parse(str(amount)) == amount == AttoFil.from_fil(amount.to_fil())


@pytest.mark.parametrize(
    ("text", "atto"),
    [("1.5", 15 * 10**17), ("0", 0), ("-0.000000000000000001", -1), ("2.10000000000000000000", 21 * 10**17)],
)  # fmt: skip
def test_fil_text_is_exact(text: str, atto: int) -> None:
    assert AttoFil.from_fil(text).value == atto


@pytest.mark.parametrize(
    "text",
    ["", "1e999999999", "1e-999999999", "nan", "Infinity", "1_000", " 1", "+1", ".5", "1.", "٣", "0.0000000000000000001", "9" * 5000],
)  # fmt: skip
def test_fil_text_of_another_form_is_refused_at_once(text: str) -> None:
    with pytest.raises(ValueError, match="FIL"):
        AttoFil.from_fil(text)


@pytest.mark.parametrize("text", ["-", "1.0", "1e3", " 1", "٣", "--1", "9" * 5000])
def test_atto_text_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="attoFIL"):
        AttoFil.parse(text)


def test_empty_atto_text_is_nothing() -> None:
    assert AttoFil.parse("") == AttoFil(0)


def test_money_and_numbers_do_not_mix() -> None:
    with pytest.raises(TypeError):
        AttoFil(1) + 1  # type: ignore[operator]
    with pytest.raises(TypeError):
        AttoFil(True)
    with pytest.raises(TypeError):
        AttoFil(1.0)  # type: ignore[arg-type]
    assert AttoFil(3) - AttoFil(5) == -AttoFil(2)
