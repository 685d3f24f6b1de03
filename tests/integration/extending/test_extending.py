"""What CONTRIBUTING.md says of adding a source, an executor or a kind of storage: one file each, and jobs can use it.

The three modules beside this one use only what the base modules document. Here they are imported as a package's own
modules are by `load_sources` and its like, and a sidecar runs a job through all three.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deals.sources import base as piece_sources
from devstack.stack import Devstack
from lotus_client.cid import RAW, Cid
from sp_plugin.config import load_config
from sp_plugin.doctor import examine
from sp_plugin.executors import EXECUTORS
from sp_plugin.inputs import SOURCES
from tests.integration.service.conftest import car as car  # noqa: PLC0414  (a fixture)
from tests.integration.service.conftest import make_deal, running, write_config
from tests.integration.service.test_story import approve

SCRIPT = "1d\ns/,/ -> /\n3q\n"
MODULES = ("text_source", "sed_engine", "folder_pieces")
ALLOWED = "policy:\n  allowed_engines: [sed]\n  allowed_sources: [filecoin, text]\njobs:\n"


@pytest.fixture
def additions() -> Iterator[None]:
    """The three modules, registered for one test."""
    for name in MODULES:
        sys.modules.pop(f"{__package__}.{name}", None)
        importlib.import_module(f"{__package__}.{name}")
    yield
    del SOURCES["text"], EXECUTORS["sed"], piece_sources._FACTORIES["folder"]


def job(piece_cid: str, payee: str) -> dict[str, Any]:
    """Edit the readings in a piece with a script that the job brings along."""
    task = {
        "Name": "main",
        "Engine": {
            "Type": "sed",
            "Params": {"Script": "/script", "Over": "/inputs/readings.csv"},
        },
        "InputSources": [
            {"Source": {"Type": "text", "Params": {"Text": SCRIPT}}, "Target": "/script"},
            {
                "Source": {"Type": "filecoin", "Params": {"PieceCID": piece_cid}},
                "Target": "/inputs",
            },
        ],
        "ResultPaths": [{"Name": "out", "Path": "/out"}],
        "Publisher": {"Type": "local"},
    }
    return {"Type": "batch", "Meta": {"filecoin.payee": payee}, "Tasks": [task]}


def config_with_pieces_in(folder: Path, net: Devstack, home: Path, allowed: str = ALLOWED) -> Path:
    """A configuration that knows no storage path, only the new kind of source."""
    storage = f"storage_paths: [{net.data_dir / 'miner' / 'storage'}]"
    source = f"sources: [{{kind: folder, options: {{path: {folder}}}}}]"
    return write_config(net, home, **{storage: source, "jobs:\n": allowed})


async def test_one_file_each_adds_a_source_an_executor_and_a_kind_of_storage(
    additions: None, devnet: Devstack, tmp_path: Path, car: tuple[bytes, Cid]
) -> None:
    payload, root = car
    await make_deal(devnet, payload)
    await devnet.advance(40)
    pieces = tmp_path / "pieces"
    pieces.mkdir()
    path = config_with_pieces_in(pieces, devnet, tmp_path)
    async with running(path) as sidecar:
        seen = await sidecar.until("/api/v1/sp/pieces", lambda answer: answer["items"])
        (piece,) = seen["items"]
        (pieces / piece["piece_cid"]).write_bytes(payload)
        verified = await sidecar.call("POST", f"/api/v1/sp/pieces/{piece['key']}/verify")
        assert (verified["state"], verified["roots"]) == ("verified", [str(root)])

        payee = str(devnet.network.key("carol").address)
        submitted = await sidecar.call(
            "PUT", "/api/v1/orchestrator/jobs", Job=job(piece["piece_cid"], payee)
        )
        job_id = submitted["JobID"]
        request = await sidecar.call("GET", f"/api/v1/sp/jobs/{job_id}/bundle")
        bundle = request["bundle"]
        script = Cid.of_sha2_256(RAW, SCRIPT.encode())
        assert bundle["engine"] == "sed"
        assert bundle["module_sha256"] == script.digest.hex()
        assert bundle["inputs"][0] == {
            "source": "text",
            "cid": str(script),
            "target": "/script",
            "path": None,
            "padded_size": None,
            "claim_id": None,
        }
        await approve(devnet, sidecar, job_id, "ada", "ben")
        done = await sidecar.until(
            f"/api/v1/orchestrator/jobs/{job_id}?include=executions",
            lambda answer: answer["Job"]["State"]["StateType"] in ("Completed", "Failed"),
        )
        assert done["Job"]["State"]["StateType"] == "Completed", done["Job"]["State"]
        (execution,) = done["Executions"]["Items"]
        files = sidecar.sidecar.data.results / execution["ID"] / "files"
        assert (files / "out" / "edited").read_text() == "0 -> 0\n1 -> 1\n"

    checks = {check.name: check for check in await examine(load_config(path, {}))}
    assert (checks["storage"].ok, checks["storage"].detail) == (
        True,
        "0 storage paths with unsealed/, 1 other source",
    )


async def test_what_was_added_is_refused_until_the_operator_names_it(
    additions: None, devnet: Devstack, tmp_path: Path, car: tuple[bytes, Cid]
) -> None:
    payload, _ = car
    await make_deal(devnet, payload)
    await devnet.advance(40)
    pieces = tmp_path / "pieces"
    pieces.mkdir()
    async with running(config_with_pieces_in(pieces, devnet, tmp_path, "jobs:\n")) as sidecar:
        seen = await sidecar.until("/api/v1/sp/pieces", lambda answer: answer["items"])
        (piece,) = seen["items"]
        payee = str(devnet.network.key("carol").address)
        refused = await sidecar.call(
            "PUT", "/api/v1/orchestrator/jobs", 403, Job=job(piece["piece_cid"], payee)
        )
        assert "sed; allowed: wasm, docker" in refused["Message"]
        assert "allowed: filecoin, ipfs, inline, localDirectory" in refused["Message"]
