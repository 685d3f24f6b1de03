"""Params between their CBOR and Lotus' JSON. The hex is that of the actors' own tests, or computed from their layouts."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devstack.rpc.go_types import ADDRESS, BIG, BITFIELD, BYTES, CID, INT, TEXT, maybe, slice_of
from devstack.rpc.method_types import method_types
from devstack.rpc.state_params import decode_value, return_json
from lotus_client import cbor
from lotus_client.actors.miner import (
    PieceActivationManifest,
    ProveCommitSectorsParams,
    SectorActivationManifest,
    VerifiedAllocationKey,
)
from lotus_client.cid import Cid
from lotus_client.types import PaddedPieceSize

PIECE = "baga6ea4seaqimrrmdbqi6yomnkjpwonkeuvmcmqzgf4dnosdsagetxcddify4di"
COUNTING = Cid(bytes.fromhex("0181e203922020") + bytes(range(32)))

GOLDEN: list[tuple[str, int, str, Any]] = [
    (
        "verifiedregistry",
        2,
        "82420065480004000000000000",
        {"Address": "t0101", "Allowance": str(1 << 50)},
    ),
    ("verifiedregistry", 3, "420065", "t0101"),
    ("verifiedregistry", 8, "8218658101", {"Client": 101, "AllocationIds": [1]}),
    ("verifiedregistry", 8, "82186580", {"Client": 101, "AllocationIds": None}),
    ("verifiedregistry", 10, "821903e8820102", {"Provider": 1000, "ClaimIds": [1, 2]}),
    (
        "verifiedregistry",
        11,
        "8181831903e8011a00503340",
        {"Terms": [{"Provider": 1000, "ClaimId": 1, "TermMax": 5256000}]},
    ),
    (
        "multisig",
        2,
        "8442000640024d82420065480004000000000000",
        {
            "To": "t06",
            "Value": "0",
            "Method": 2,
            "Params": base64.b64encode(bytes.fromhex("82420065480004000000000000")).decode(),
        },
    ),
    ("multisig", 3, "820040", {"ID": 0, "ProposalHash": None}),
    (
        "init",
        2,
        (
            "82d82a5827000155a0e40220a1417337429892da48c66fc986eb954142f762fc9e5d9c79f26cc50b388583134b"
            "8482420064420065020000"
        ),
        {
            "CodeCID": {"/": "bafk2bzacecquc4zxikmjfwsiyzx4tbxlsvauf53c7spf3hdz6jwmkczyqwbrg"},
            "ConstructorParams": "hIJCAGRCAGUCAAA=",
        },
    ),
    ("datacap", 3261979605, "420065", "t0101"),
    ("storagemarket", 2, "420065", "t0101"),
    (
        "storagemarket",
        4,
        f"8181828bd82a582800{COUNTING.raw.hex()}1a00100000f54200654300e807656c6162656c1907d01a0007f0d04040404201ff",
        {
            "Deals": [
                {
                    "Proposal": {
                        "PieceCID": {"/": str(COUNTING)},
                        "PieceSize": 1 << 20,
                        "VerifiedDeal": True,
                        "Client": "t0101",
                        "Provider": "t01000",
                        "Label": "label",
                        "StartEpoch": 2000,
                        "EndEpoch": 520400,
                        "StoragePricePerEpoch": "0",
                        "ProviderCollateral": "0",
                        "ClientCollateral": "0",
                    },
                    "ClientSignature": {"Type": 1, "Data": "/w=="},
                }
            ]
        },
    ),
    ("storagemarket", 1900091594, "410c", [0, 1]),
    ("storagemarket", 128053329, "07", 7),
    (
        "verifiedregistry",
        9,
        f"828183031a000f42408184186501d82a582800{COUNTING.raw.hex()}1a00100000f4",
        {
            "Sectors": [
                {
                    "Sector": 3,
                    "SectorExpiry": 1_000_000,
                    "Claims": [
                        {
                            "Client": 101,
                            "AllocationId": 1,
                            "Data": {"/": str(COUNTING)},
                            "Size": 1 << 20,
                        }
                    ],
                }
            ],
            "AllOrNothing": False,
        },
    ),
    ("storageminer", 16, "814300ffff", {"AmountRequested": str(0xFFFF)}),
]


@pytest.mark.parametrize(("code", "method", "raw", "shown"), GOLDEN)
def test_params_are_read_and_written_as_lotus_does(
    code: str, method: int, raw: str, shown: Any
) -> None:
    known = method_types(code, method)
    assert known is not None
    assert decode_value(known[0], bytes.fromhex(raw)) == shown
    assert cbor.encode(known[0].to_cbor(shown)).hex() == raw


def test_returns_are_read_as_lotus_does() -> None:
    pending, applied = (bytes.fromhex(raw) for raw in ("8400f40040", "8400f50040"))
    assert return_json("multisig", 2, applied) == {
        "TxnID": 0, "Applied": True, "Code": 0, "Ret": None,
    }  # fmt: skip
    assert return_json("multisig", 2, pending)["Applied"] is False
    published = bytes.fromhex("828100410c")
    assert return_json("storagemarket", 4, published) == {"IDs": [0], "ValidDeals": [0, 1]}
    settled = bytes.fromhex("828201808182430003e8f5")
    assert return_json("storagemarket", 1900091594, settled) == {
        "Results": {"SuccessCount": 1, "FailCodes": None},
        "Settlements": [{"Payment": "1000", "Completed": True}],
    }
    claims = bytes.fromhex("8381018201804400100000")
    assert return_json("verifiedregistry", 8, claims) == {
        "Considered": [1],
        "Results": {"SuccessCount": 1, "FailCodes": None},
        "DataCapRecovered": str(1 << 20),
    }


def test_the_return_of_an_unknown_method_is_its_bytes() -> None:
    assert method_types("multisig", 12345) is None
    assert method_types("nothing", 2) is None
    assert return_json("evm", 3844450837, b"\x01\x02") == "AQI="


@pytest.mark.parametrize(
    ("code", "method", "raw"),
    [
        ("verifiedregistry", 2, "8142"),
        ("verifiedregistry", 2, "83420065480004000000000000f6"),
        ("multisig", 3, "8240f5"),
        ("storageminer", 16, "80"),
    ],
)
def test_bytes_of_another_shape_are_refused(code: str, method: int, raw: str) -> None:
    known = method_types(code, method)
    assert known is not None
    with pytest.raises(ValueError, match=r".+"):
        decode_value(known[0], bytes.fromhex(raw))


def test_missing_fields_are_zero_as_in_go() -> None:
    known = method_types("multisig", 2)
    assert known is not None
    assert known[0].to_cbor({"To": "t06"}) == [bytes.fromhex("0006"), b"", 0, b""]


_PIECES = st.builds(
    PieceActivationManifest,
    st.just(Cid.parse(PIECE)),
    st.integers(7, 35).map(lambda bits: PaddedPieceSize(1 << bits)),
    st.none() | st.builds(VerifiedAllocationKey, st.integers(0, 1 << 40), st.integers(1, 1 << 40)),
)
_COMMITS = st.builds(
    ProveCommitSectorsParams,
    st.lists(
        st.builds(
            SectorActivationManifest,
            st.integers(0, 1 << 40),
            st.lists(_PIECES, max_size=3).map(tuple),
        ),
        max_size=3,
    ).map(tuple),
    st.lists(st.binary(min_size=1, max_size=20), max_size=3).map(tuple),
    require_activation_success=st.booleans(),
)


@given(_COMMITS)
def test_any_prove_commit_comes_back_from_its_json(params: ProveCommitSectorsParams) -> None:
    known = method_types("storageminer", 34)
    assert known is not None
    shown = decode_value(known[0], params.to_cbor())
    assert cbor.encode(known[0].to_cbor(shown)) == params.to_cbor()
    assert [one["SectorNumber"] for one in shown["SectorActivations"] or []] == [
        one.sector for one in params.manifests
    ]


_VALUES = [
    (ADDRESS, st.integers(0, (1 << 63) - 1).map(lambda number: f"t0{number}")),
    (BIG, st.integers(-(1 << 90), 1 << 90).map(str)),
    (
        BITFIELD,
        st.lists(st.integers(1, 50), min_size=1, max_size=6).filter(lambda r: len(r) % 2 == 0),
    ),
    (BYTES, st.binary(min_size=1, max_size=40).map(lambda raw: base64.b64encode(raw).decode())),
    (CID, st.just({"/": PIECE})),
    (INT, st.integers(-(1 << 63), (1 << 63) - 1)),
    (TEXT, st.text(max_size=20)),
    (maybe(INT), st.none() | st.integers(0, 9)),
    (slice_of(INT), st.none() | st.lists(st.integers(0, 9), min_size=1)),
]


@given(st.sampled_from(_VALUES).flatmap(lambda row: st.tuples(st.just(row[0]), row[1])))
def test_every_type_reads_what_it_writes(case: tuple[Any, Any]) -> None:
    kind, shown = case
    assert kind.to_json(cbor.decode(cbor.encode(kind.to_cbor(shown)))) == shown
