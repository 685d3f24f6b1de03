from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotus_client.crypto import Secp256k1Key
from sp_plugin.data_dir import DataDir
from sp_plugin.errors import BadInput, SpPluginError
from sp_plugin.jobs.records import check_record, sign_record

KEY, OTHER = Secp256k1Key(b"\1" * 32), Secp256k1Key(b"\2" * 32)
RECORD = {
    "schema": "sp-plugin/run-record/1",
    "exit_code": 3,
    "usage": {"wall_seconds": 0.123, "cpu_seconds": 0.1, "fuel": None},
    "inputs": [{"cid": "bafk", "blocks_read": 2}],
    "ended_at_ms": 1_795_592_000_000,
}


def test_a_signed_record_names_its_signer_also_after_a_trip_through_json():
    signed = sign_record(RECORD, KEY)
    assert check_record(signed) == KEY.address
    assert check_record(json.loads(json.dumps(signed)), KEY.address) == KEY.address


def test_the_signature_is_that_of_the_golden_record():
    assert sign_record(RECORD, KEY)["signature"] == {
        "signer": "t1ksu3ktw4xhyaoltwr546b3epfs5wxxqfyyxipwi",
        "value": "01a1b9c5f7ad78e668acc7951d1b9018f1579ae57726315f7d0a1f72b4b6bb30446a55b334b9152786c12ffc52a9932913f58a79a086ad59857becd688ca65f13d00",
    }


@given(name=st.sampled_from(sorted(RECORD)), value=st.integers() | st.text() | st.none())
def test_any_change_is_seen(name, value):
    signed = sign_record(RECORD, KEY)
    if value == RECORD[name]:
        return
    with pytest.raises(BadInput):
        check_record(signed | {name: value})


def test_another_signer_is_not_taken_for_the_sidecar():
    signed = sign_record(RECORD, OTHER)
    with pytest.raises(BadInput, match="is signed by"):
        check_record(signed, KEY.address)
    with pytest.raises(BadInput):
        check_record(signed | {"signature": signed["signature"] | {"signer": str(KEY.address)}})


@pytest.mark.parametrize(
    "signature",
    [None, "", {}, {"signer": "t1x", "value": "00"}, {"signer": str(KEY.address), "value": "zz"}],
)
def test_a_record_without_a_readable_signature_is_refused(signature):
    with pytest.raises(BadInput):
        check_record(RECORD | {"signature": signature})


def test_the_key_is_made_once_and_only_its_owner_can_read_it(tmp_path):
    data = DataDir(tmp_path)
    first = data.record_key()
    assert data.record_key().address == first.address
    assert (tmp_path / "record.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "12", "zz" * 32, "00" * 32])
def test_a_damaged_key_file_is_told_with_what_to_do(tmp_path, text):
    (tmp_path / "record.key").write_text(text)
    with pytest.raises(SpPluginError, match=r"record\.key"):
        DataDir(tmp_path).record_key()
