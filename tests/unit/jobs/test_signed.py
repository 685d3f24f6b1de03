"""Jobs under their submitter's signature: what is signed, what of it matters, and what is refused."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from lotus_client.bls import BlsKey
from lotus_client.crypto import Secp256k1Key
from lotus_client.signed_text import BytesSigner, sign_text
from lotus_client.types import ActorId, Epoch
from sp_plugin.errors import BadInput
from sp_plugin.jobs.kinds import load_kinds
from sp_plugin.jobs.reading import read_job_values
from sp_plugin.jobs.signed import (
    MOST_EPOCHS,
    Place,
    claim_in,
    is_payees_own,
    submission_digest,
    submission_json,
    submission_payload,
    verify_submission,
    why_not_in_time,
)
from sp_plugin.jobs.spec import JobSpec

KEY = Secp256k1Key(bytes([7] * 32))
BLS = BlsKey(bytes([1] * 32))
HERE = Place("mainnet", ActorId(1000))
KINDS = load_kinds()


def job(**changes: Any) -> dict[str, Any]:
    module = {"Type": "inline", "Params": {"URL": "data:application/wasm;base64,AGFzbQEAAAA="}}
    task = {
        "Name": "main",
        "Engine": {"Type": "wasm", "Params": {"EntryModule": "/main.wasm"}},
        "InputSources": [{"Source": module, "Target": "/main.wasm"}],
        "Env": {"REGION": ""},
        **changes,
    }
    meta = {"filecoin.payee": str(KEY.address), "filecoin.signature_expires": "5000"}
    return {"Type": "batch", "Meta": meta, "Tasks": [task]}


def read(values: Any) -> JobSpec:
    return read_job_values(json.loads(json.dumps(values)), KINDS).spec


def signed(values: dict[str, Any], key: BytesSigner = KEY, place: Place = HERE) -> dict[str, Any]:
    spec = read(values)
    expires = Epoch(int(values["Meta"]["filecoin.signature_expires"]))
    payload = submission_payload(submission_digest(spec, place), expires, place)
    text = sign_text(key, payload).to_bytes().hex()
    return {**values, "Meta": {**values["Meta"], "filecoin.signature": text}}


def test_the_digest_of_a_known_job_stays_what_it_is():
    digest = submission_digest(read(job()), HERE)
    written = (
        '{"job":{"Meta":{"filecoin.payee":"f1n3ts562ht4xeeneo7lkmhaxbfqvqha4dh3i636q",'
        '"filecoin.signature_expires":"5000"},"Tasks":[{"Engine":{"Params":{"EntryModule":"/main.wasm",'
        '"Entrypoint":"_start","ImportModules":[],"Parameters":[]},"Type":"wasm"},"Env":{"REGION":""},'
        '"InputSources":[{"Source":{"Params":{"URL":"data:application/wasm;base64,AGFzbQEAAAA="},'
        '"Type":"inline"},"Target":"/main.wasm"}],"Name":"main"}],"Type":"batch"},"network":"mainnet",'
        '"provider":"f01000","schema":"sp-plugin/signed-job/1"}'
    ).replace("f1n3ts562ht4xeeneo7lkmhaxbfqvqha4dh3i636q", str(KEY.address))
    assert rfc8785.dumps(submission_json(read(job()), HERE)).decode() == written
    assert digest == hashlib.sha256(written.encode()).digest()
    assert submission_payload(digest, Epoch(5000), HERE).decode() == (
        f"{digest.hex()}\nSubmit a job to f01000 on mainnet, until epoch 5000"
    )


@pytest.mark.parametrize("key", [KEY, BLS], ids=["f1", "f3"])
def test_a_job_signed_by_a_key_is_that_keys_and_always_gets_the_same_id(key: Any):
    values = job()
    values["Meta"]["filecoin.submitter"] = str(key.address)
    found = verify_submission(read(signed(values, key)), HERE)
    again = verify_submission(read(signed(values, key)), HERE)
    assert found is not None
    assert again is not None
    assert (found.signer, found.expires) == (key.address, 5000)
    assert found.job_id == again.job_id
    assert found.job_id.startswith("j-")
    assert len(found.job_id) == 38


def test_a_job_without_a_signature_is_nobodys():
    assert verify_submission(read(job()), HERE) is None
    assert claim_in({}) is None


def test_the_spelling_of_a_job_does_not_matter():
    values = signed(job())
    respelled = json.loads(
        json.dumps(values).replace('"Tasks"', '"tasks"').replace('"Engine"', '"engine"')
    )
    respelled |= {"Priority": 0, "Count": 1, "Labels": None, "Namespace": "default", "ID": "mine"}
    respelled["tasks"][0] |= {"Network": {"Type": "Default"}, "Publisher": None, "Resources": {}}
    found, other = (verify_submission(read(one), HERE) for one in (values, respelled))
    assert found == other
    assert found is not None


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("Tasks", 0, "Env", "REGION"), "world"),
        (("Tasks", 0, "Env"), {}),
        (("Tasks", 0, "Engine", "Params", "Parameters"), ["x"]),
        (("Tasks", 0, "InputSources", 0, "Source", "Params", "URL"), "data:,x"),
        (("Tasks", 0, "Timeouts"), {"ExecutionTimeout": 9}),
        (("Tasks", 0, "Publisher"), {"Type": "local"}),
        (("Meta", "filecoin.payee"), str(Secp256k1Key(bytes([8] * 32)).address)),
        (("Meta", "filecoin.signature_expires"), "5001"),
        (("Meta", "filecoin.dataset"), "earth"),
        (("Labels",), {"a": "b"}),
        (("Priority",), 1),
        (("Name",), "other"),
    ],
)
def test_any_change_of_what_would_happen_voids_the_signature(path: tuple[Any, ...], value: Any):
    values = job()
    values["Meta"]["filecoin.submitter"] = str(KEY.address)
    values = json.loads(json.dumps(signed(values)))
    place = values
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(BadInput, match="not made by") as caught:
        verify_submission(read(values), HERE)
    assert "sp-plugin job sign" in str(caught.value)


@pytest.mark.parametrize(
    "place", [Place("mainnet", ActorId(1001)), Place("calibrationnet", ActorId(1000))]
)
def test_a_signature_for_one_provider_and_network_is_none_for_another(place: Place):
    with pytest.raises(BadInput, match=place.provider_text):
        verify_submission(read(signed(job())), place)


def test_a_signature_over_the_text_without_the_envelope_is_refused():
    spec = read(job())
    payload = submission_payload(submission_digest(spec, HERE), Epoch(5000), HERE)
    values = job()
    values["Meta"]["filecoin.signature"] = KEY.sign(payload).to_bytes().hex()
    with pytest.raises(BadInput, match="not made by"):
        verify_submission(read(values), HERE)


@pytest.mark.parametrize(
    ("meta", "words"),
    [
        ({"filecoin.payee": None}, "filecoin.submitter: says nobody"),
        ({"filecoin.submitter": "f1x"}, "filecoin.submitter"),
        ({"filecoin.submitter": "f01234"}, "carries no key"),
        (
            {"filecoin.payee": "0x" + "ab" * 20},
            "filecoin.payee: .*sign with an f1 or f3 key and name it in filecoin.submitter",
        ),
        ({"filecoin.signature": "zz"}, "type byte first"),
        ({"filecoin.signature": ""}, "at least its type byte"),
        ({"filecoin.signature": "09" + "00" * 65}, "signature type 9"),
        ({"filecoin.signature": "01" * 5000}, "too many"),
        ({"filecoin.signature": "01" + "00" * 65}, "filecoin.signature"),
        ({"filecoin.signature": "02" + "00" * 96}, "cannot be checked"),
        ({"filecoin.signature_expires": None}, "the last epoch"),
        ({"filecoin.signature_expires": "-1"}, "the last epoch"),
        ({"filecoin.signature_expires": "9" * 40}, "the last epoch"),
    ],
)
def test_what_cannot_be_a_signature_is_refused_with_the_field(meta: dict[str, Any], words: str):
    values = signed(job())
    values["Meta"] = {k: v for k, v in (values["Meta"] | meta).items() if v is not None}
    with pytest.raises(BadInput, match=words):
        verify_submission(read(values), HERE)


@pytest.mark.parametrize("odd", [1 << 60, -(1 << 60), "\ud800", {"\udfff": 1}])
def test_what_canonical_json_does_not_have_is_refused(odd: Any):
    values = job()
    values["Tasks"][0]["Engine"] = {"Type": "docker", "Params": {"Image": "x", "odd": odd}}
    values["Meta"]["filecoin.signature"] = "01" + "00" * 65
    with pytest.raises(BadInput, match="no canonical form"):
        verify_submission(read(values), HERE)


@given(now=st.integers(0, 10**7), ahead=st.integers(-(10**6), 10**6))
def test_a_signature_is_good_until_its_epoch_and_not_for_ever(now: int, ahead: int):
    expires = Epoch(max(0, now + ahead))
    why = why_not_in_time(expires, Epoch(now))
    assert (why is None) is (0 <= expires - now <= MOST_EPOCHS)


@given(text=st.text(max_size=300))
def test_whatever_stands_for_a_signature_is_read_or_refused(text: str):
    meta = {
        "filecoin.submitter": str(KEY.address),
        "filecoin.signature": text,
        "filecoin.signature_expires": "1",
    }
    refusal = ""
    try:
        assert claim_in(meta) is not None
    except BadInput as error:
        refusal = str(error)
    assert refusal == "" or refusal.startswith("Meta.filecoin.signature: ")


def test_only_the_payee_itself_agrees_to_be_paid():
    assert is_payees_own(str(KEY.address), {"filecoin.payee": str(KEY.address)})
    assert is_payees_own(str(KEY.address), {"filecoin.payee": KEY.address.to_text("t")})
    assert not is_payees_own(str(BLS.address), {"filecoin.payee": str(KEY.address)})
    assert not is_payees_own(None, {"filecoin.payee": str(KEY.address)})
    assert not is_payees_own(str(KEY.address), {})
    assert not is_payees_own(str(KEY.address), {"filecoin.payee": "nobody"})
