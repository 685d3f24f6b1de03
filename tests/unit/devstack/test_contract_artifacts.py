"""Sources and artifacts in `contracts/` belong together: the hashes lead from one to the other."""

from __future__ import annotations

import hashlib
import json

import pytest

from lotus_client.crypto import keccak256
from lotus_client.varint import encode_uvarint
from tests.unit.devstack.contracts import FOLDER, artifact

NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))


def _ipfs_digest(content: bytes) -> bytes:
    """The digest of the version 0 CID that `ipfs add` gives a small file: dag-pb around UnixFS."""
    size = encode_uvarint(len(content))
    unixfs = b"\x08\x02\x12" + size + content + b"\x18" + size
    return hashlib.sha256(b"\x0a" + encode_uvarint(len(unixfs)) + unixfs).digest()


def test_every_source_has_its_artifacts() -> None:
    assert {artifact(name)["source"] for name in NAMES} == {
        path.name for path in FOLDER.glob("*.sol")
    }


@pytest.mark.parametrize("name", NAMES)
def test_metadata_names_the_source_and_bytecode_names_the_metadata(name: str) -> None:
    made = artifact(name)
    metadata = json.loads(made["metadata"])
    source = (FOLDER / made["source"]).read_bytes()
    assert metadata["sources"][made["source"]]["keccak256"] == "0x" + keccak256(source).hex()
    assert metadata["settings"]["compilationTarget"] == {made["source"]: name}
    assert metadata["output"]["abi"] == made["abi"]
    assert made["compiler"].startswith(metadata["compiler"]["version"].split("+")[0])
    multihash = b"\x12\x20" + _ipfs_digest(made["metadata"].encode())
    assert multihash in bytes.fromhex(made["bytecode"][2:])
