"""A bit that flips in a sector file after its piece was verified stops the job, which says where."""

from __future__ import annotations

import io
from pathlib import Path

from deals.car import CarReader
from deals.fr32 import pad, unpad_quads
from devstack.stack import Devstack
from lotus_client.cid import Cid
from tests.integration.service.conftest import make_deal, running, write_config
from tests.integration.service.test_story import approve, job
from tests.integration.service.test_unsealing import unsealed


async def test_a_flipped_bit_stops_the_job_and_names_block_and_byte(
    devnet: Devstack, tmp_path: Path, car: tuple[bytes, Cid]
) -> None:
    payload, _ = car
    await make_deal(devnet, payload)
    await devnet.advance(40)
    async with running(write_config(devnet, tmp_path)) as sidecar:
        pieces = await sidecar.until(
            "/api/v1/sp/pieces",
            lambda answer: [i["state"] for i in answer["items"]] == ["verified"],
        )
        (piece,) = pieces["items"]
        block = max(CarReader(io.BytesIO(payload)).places(), key=lambda place: place.size)
        flip(unsealed(devnet), block.offset + block.size // 2, int(piece["padded_size"]))
        payee = devnet.network.key("carol").address
        submitted = await sidecar.call(
            "PUT", "/api/v1/orchestrator/jobs", Job=job(piece["piece_cid"], str(payee))
        )
        await approve(devnet, sidecar, submitted["JobID"], "ada", "ben")
        done = await sidecar.until(
            f"/api/v1/orchestrator/jobs/{submitted['JobID']}?include=executions",
            lambda answer: answer["Job"]["State"]["StateType"] in ("Completed", "Failed"),
        )
        state = done["Job"]["State"]
        assert state["StateType"] == "Failed"
        assert f"{block.cid}" in state["Message"]
        assert f"at byte {block.offset}" in state["Message"]
        (held,) = (await sidecar.call("GET", "/api/v1/sp/pieces"))["items"]
        assert held["state"] != "verified"


def flip(path: Path, at: int, padded_size: int) -> None:
    """Flip a bit of the piece at the file's start, at an unpadded byte."""
    data = path.read_bytes()
    raw = bytearray(unpad_quads(data[:padded_size]))
    raw[at] ^= 1
    path.write_bytes(pad(bytes(raw)) + data[padded_size:])
