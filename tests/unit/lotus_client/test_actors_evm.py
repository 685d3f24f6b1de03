from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotus_client.actors.evm import (
    ConstructorParams,
    Create2Params,
    CreateParams,
    CreateReturn,
    DelegateCallParams,
    EvmMethod,
    RawBytes,
    log_entries,
    log_of,
    optional_bytes,
)
from lotus_client.actors.methods import frc42_method
from lotus_client.actors.wire import ParamsError
from lotus_client.address import Address
from lotus_client.cid import dag_cbor_cid
from lotus_client.state import EventEntry

ETH = b"\x01" * 20


def test_the_number_of_invoke_contract_is_the_hash_of_its_name() -> None:
    assert frc42_method("InvokeEVM") == EvmMethod.INVOKE_CONTRACT


def test_initcode_of_create_external_is_one_bare_byte_string() -> None:
    assert RawBytes(b"\x60\x00").to_cbor().hex() == "426000"
    assert optional_bytes(b"") == b""
    with pytest.raises(ParamsError):
        optional_bytes(b"\x81\x00")


def test_the_return_of_a_creation_has_the_actors_layout() -> None:
    robust = Address.of_actor_data(b"x")
    made = CreateReturn(1003, robust, ETH)
    assert made.to_cbor().hex() == f"831903eb55{robust.to_bytes().hex()}54{ETH.hex()}"
    assert CreateReturn.from_cbor(made.to_cbor()) == made
    without = CreateReturn(1003, None, ETH)
    assert without.to_cbor().hex() == f"831903ebf654{ETH.hex()}"
    assert CreateReturn.from_cbor(without.to_cbor()) == without


@pytest.mark.parametrize(
    "value",
    [
        CreateParams(b"\x60", 3),
        Create2Params(b"\x60", bytes(32)),
        ConstructorParams(ETH, b"\x60"),
        DelegateCallParams(dag_cbor_cid(b""), b"data", ETH, 10**18),
    ],
)
def test_params_come_back_as_they_were(value: CreateParams) -> None:
    assert type(value).from_cbor(value.to_cbor()) == value


def test_a_salt_or_address_of_another_length_is_refused() -> None:
    with pytest.raises(ParamsError, match="32 bytes"):
        Create2Params.from_cbor(Create2Params(b"", bytes(31)).to_cbor())
    with pytest.raises(ParamsError, match="20 bytes"):
        ConstructorParams.from_cbor(ConstructorParams(ETH + ETH, b"").to_cbor())


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=4), st.binary(max_size=80))
def test_a_log_is_an_event_of_raw_entries_and_back(topics: list[bytes], data: bytes) -> None:
    entries = log_entries(tuple(topics), data)
    assert [entry.key for entry in entries] == [
        *(f"t{index}" for index in range(1, len(topics) + 1)), *(["d"] if data else [])
    ]  # fmt: skip
    assert {(entry.flags, entry.codec) for entry in entries} <= {(3, 0x55)}
    assert log_of(entries) == (tuple(topics), data)


@pytest.mark.parametrize(
    "entries",
    [
        (EventEntry(3, "$type", 0x51, b"eclaim"),),  # of a native actor
        (EventEntry(3, "t1", 0x55, bytes(31)),),
        (EventEntry(3, "t2", 0x55, bytes(32)),),  # a gap
        (EventEntry(3, "t1", 0x55, bytes(32)), EventEntry(3, "t1", 0x55, bytes(32))),
        (EventEntry(3, "d", 0x55, b"a"), EventEntry(3, "d", 0x55, b"b")),
    ],
)
def test_an_event_of_another_form_is_no_log(entries: tuple[EventEntry, ...]) -> None:
    assert log_of(entries) is None
