"""Who signed a job, as the store keeps it and lists show it."""

from __future__ import annotations

import json
from pathlib import Path

from sp_plugin.http.job_shapes import job_json
from sp_plugin.store.job_lists import JobFilter
from tests.integration.jobs.parts import Sidecar, wasm_job

SIGNER = "f1n3ts562ht4xeeneo7lkmhaxbfqvqha4dh3i636q"


async def test_the_signer_of_a_job_is_kept_and_a_signature_in_its_meta_alone_says_nothing(
    tmp_path: Path,
):
    sidecar = Sidecar(tmp_path)
    await sidecar.create_tables()
    try:
        meta = {"filecoin.payee": SIGNER, "filecoin.signature": "01" + "00" * 65}
        values = {**wasm_job(), "Name": "", "Meta": meta}
        signed = await sidecar.queue.submit(values, job_id="j-signed", signer=SIGNER)
        other = await sidecar.queue.submit(values, job_id="j-other")
        again = await sidecar.queue.submit(values, job_id="j-other", signer=SIGNER)
        assert (signed.signer, other.signer, again.signer) == (SIGNER, None, None)
        assert await sidecar.queue.job("j-signed") == signed
        page = await sidecar.queue.page(JobFilter())
        listed = [json.loads(item) for item in page.items]
        assert listed == [job_json(signed), job_json(other)]
        assert [item["Signer"] for item in listed] == [SIGNER, ""]
        assert (await sidecar.queue.history("j-signed"))[0].details["Signer"] == SIGNER
    finally:
        await sidecar.close()
