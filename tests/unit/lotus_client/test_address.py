"""Addresses against go-address' own vectors, another Python implementation, and hostile text."""

from __future__ import annotations

import filecoin_address
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotus_client.address import Address, AddressError
from tests.unit.lotus_client.chain_data import load

VECTORS = load("addresses.json")

addresses = st.one_of(
    st.integers(0, (1 << 63) - 1).map(Address.of_id),
    st.binary(min_size=20, max_size=20).map(lambda payload: Address(1, payload)),
    st.binary(min_size=20, max_size=20).map(lambda payload: Address(2, payload)),
    st.binary(min_size=48, max_size=48).map(lambda payload: Address(3, payload)),
    st.binary(min_size=20, max_size=20).map(lambda eth: Address(4, b"\x0a" + eth)),
)


def valid_texts() -> list[tuple[str, str]]:
    """(text, hex of bytes or empty) of every valid vector, in both network forms."""
    out = []
    for group in ("id", "secp256k1", "actor", "bls", "delegated", "computed_f410"):
        for item in VECTORS[group]:
            out += [
                (item[net], item.get("bytes_hex", ""))
                for net in ("testnet", "mainnet")
                if net in item
            ]
    return out


@pytest.mark.parametrize(("text", "wire"), valid_texts())
def test_a_published_address_parses_and_prints_itself(text: str, wire: str) -> None:
    address = Address.parse(text)
    assert address.to_text(text[0]) == text  # type: ignore[arg-type]
    assert Address.from_bytes(address.to_bytes()) == address
    if wire:
        assert address.to_bytes().hex() == wire


@pytest.mark.parametrize("item", VECTORS["secp256k1"], ids=lambda item: item["testnet"][:8])
def test_a_public_key_gives_its_f1_address(item: dict[str, str]) -> None:
    key = bytes.fromhex(item["input_hex"])
    assert str(Address.of_secp256k1_key(key)) == item["testnet"]


@pytest.mark.parametrize("item", VECTORS["actor"], ids=lambda item: item["testnet"][:8])
def test_actor_data_gives_its_f2_address(item: dict[str, str]) -> None:
    assert str(Address.of_actor_data(bytes.fromhex(item["input_hex"]))) == item["testnet"]


@pytest.mark.parametrize("item", VECTORS["delegated"], ids=lambda item: item["mainnet"][:12])
def test_a_delegated_address_is_its_namespace_and_subaddress(item: dict[str, object]) -> None:
    address = Address.parse(str(item["mainnet"]))
    assert address.payload.endswith(bytes.fromhex(str(item["subaddress_hex"])))
    assert address.to_text("f").startswith(f"f4{item['namespace']}f")


@pytest.mark.parametrize("item", VECTORS["invalid"], ids=lambda item: item["why"])
def test_an_invalid_published_address_is_refused(item: dict[str, str]) -> None:
    with pytest.raises(AddressError):
        Address.parse(item["addr"])


@pytest.mark.parametrize("item", VECTORS["computed_f410"], ids=lambda item: item["eth"][:8])
def test_an_ethereum_address_is_its_f410_form(item: dict[str, str]) -> None:
    address = Address.parse(item["eth"])
    assert address.to_text("f") == item["mainnet"]
    assert address.eth_address is not None
    assert "0x" + address.eth_address.hex() == item["eth"]


@pytest.mark.parametrize("item", VECTORS["masked_id"], ids=lambda item: str(item["id"]))
def test_a_masked_id_is_the_id_address(item: dict[str, object]) -> None:
    assert Address.parse(str(item["eth"])) == Address.of_id(int(str(item["id"])))
    assert "0x" + (Address.of_id(int(str(item["id"]))).eth_address or b"").hex() == item["eth"]


def test_stray_bits_in_the_last_character_are_refused() -> None:
    good = VECTORS["valid_pair_for_trailing_bits"]
    assert Address.parse(good).to_text("f") == good
    others = set("abcdefghijklmnopqrstuvwxyz234567") - {good[-1]}
    for other in others:
        with pytest.raises(AddressError):
            Address.parse(good[:-1] + other)


@given(addresses)
def test_another_implementation_reads_and_writes_the_same(address: Address) -> None:
    theirs = filecoin_address.decode(address.to_text("f"))
    assert bytes(theirs.bytes) == address.to_bytes()
    assert filecoin_address.encode("f", theirs) == address.to_text("f")


@given(addresses, st.sampled_from("ft"))
def test_text_and_bytes_give_the_address_back(address: Address, prefix: str) -> None:
    text = address.to_text(prefix)  # type: ignore[arg-type]
    assert Address.parse(text) == address == Address.from_bytes(address.to_bytes())


@given(addresses, st.data())
def test_one_mistyped_character_is_noticed_unless_it_is_an_id(
    address: Address, data: st.DataObject
) -> None:
    text = address.to_text("f")
    if address.protocol == 0:
        return
    at = data.draw(st.integers(2, len(text) - 1))
    wrong = data.draw(st.sampled_from("abcdefghijklmnopqrstuvwxyz234567"))
    if text[at] != wrong:
        with pytest.raises(AddressError):
            Address.parse(text[:at] + wrong + text[at + 1 :])


@given(st.one_of(st.text(), st.from_regex(r"[ft][0-5][0-9a-z]*", fullmatch=True)))
def test_any_text_is_an_address_or_an_address_error(text: str) -> None:
    try:
        address = Address.parse(text)
    except AddressError:
        return
    assert text.startswith(("0x", "0X")) or address.to_text(text[0]) == text  # type: ignore[arg-type]


@given(st.binary(max_size=80))
def test_any_bytes_are_an_address_or_an_address_error(raw: bytes) -> None:
    try:
        address = Address.from_bytes(raw)
    except AddressError:
        return
    assert address.to_bytes() == raw


@pytest.mark.parametrize(
    "text",
    [
        "0xD4c5fb16488aa48081296299d54b0c648c9333da",  # one letter raised: a wrong checksum
        "0xd4 c5fb16488aa48081296299d54b0c648c9333da",
        "0xd4c5fb16488aa48081296299d54b0c648c9333",
        "f001",
        "f4010f2tc7wfsirksibajjmkm5ksymmsgjgm62hjnomwa",  # namespace with a leading zero
        "f09223372036854775808",
        "f0" + "9" * 1_000_000,
        "",
    ],
)
def test_a_lenient_reading_is_refused(text: str) -> None:
    with pytest.raises(AddressError):
        Address.parse(text)


def test_an_ethereum_address_with_a_right_checksum_is_taken() -> None:
    # the first example of EIP-55
    text = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
    assert Address.parse(text) == Address.parse(text.lower())
