"""The recorded chain data of `tests/data/lotus`, read once."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from lotus_client.cid import Cid

DATA = Path(__file__).parents[2] / "data" / "lotus"


@cache
def load(name: str) -> Any:
    return json.loads((DATA / name).read_text())


@cache
def chain4() -> dict[Cid, bytes]:
    return {
        Cid.parse(cid): bytes.fromhex(block) for cid, block in load("chain4_blocks.json").items()
    }


def mempool_messages() -> Iterator[dict[str, Any]]:
    text = gzip.decompress((DATA / "test-messages.json.gz").read_bytes()).decode()
    decoder, position = json.JSONDecoder(), 0
    while True:
        while position < len(text) and text[position].isspace():
            position += 1
        if position == len(text):
            return
        item, position = decoder.raw_decode(text, position)
        yield item
