"""The demo's two jobs as a scientist would write them, in the words of a job file."""

from __future__ import annotations

from typing import Any

from lotus_client.address import Address
from lotus_client.cid import Cid

__all__ = ["co2_job", "quakes_job"]


def quakes_job(piece: Cid, payee: Address, module_url: str) -> dict[str, Any]:
    """The earthquake job over the piece: a WASI module that is given inline, as a `data:` URL."""
    engine = {
        "Type": "wasm",
        "Params": {
            "EntryModule": "/app/quakes.wasm",
            "Parameters": ["/inputs/earthquakes.geojson", "/outputs"],
        },
    }
    job = _job("quakes", engine, piece, payee)
    job["Tasks"][0]["InputSources"].append(
        {"Source": {"Type": "inline", "Params": {"URL": module_url}}, "Target": "/app/quakes.wasm"}
    )
    return job


def co2_job(piece: Cid, payee: Address, image: str) -> dict[str, Any]:
    """The CO2 job over the same piece, in a container of a local image."""
    engine = {
        "Type": "docker",
        "Params": {
            "Image": image,
            "Parameters": ["/inputs/co2-mauna-loa.csv", "/outputs/annual.csv"],
        },
    }
    return _job("co2", engine, piece, payee)


def _job(name: str, engine: dict[str, Any], piece: Cid, payee: Address) -> dict[str, Any]:
    source = {"Type": "filecoin", "Params": {"PieceCID": str(piece)}}
    return {
        "Name": name,
        "Type": "batch",
        "Meta": {
            "filecoin.payee": str(payee),
            "filecoin.dataset": "earth",
            "filecoin.max_output_bytes": "1MB",
        },
        "Tasks": [
            {
                "Name": "main",
                "Engine": engine,
                "InputSources": [{"Source": source, "Target": "/inputs"}],
                "ResultPaths": [{"Name": "outputs", "Path": "/outputs"}],
                "Publisher": {"Type": "filecoin"},
                "Resources": {"CPU": "1", "Memory": "256Mb"},
                "Timeouts": {"TotalTimeout": 60},
            }
        ],
    }
