"""Which blocks of a run's results were in inputs that are of no held piece: files by URL, from a gateway, inline, from this host.

Blocks taken from inputs earn nothing. Those of held pieces are known by the pieces; these here are compared while the inputs
are still there, cut into blocks as results are.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from deals.car import CarReader
from deals.unixfs_write import add_path
from lotus_client.cid import RAW, Cid, CidError
from sp_plugin.inputs.base import Materialised

__all__ = ["brought_in", "note_brought"]

_NAME: Final = "inputs.cids"


def note_brought(home: Path, inputs: Sequence[Materialised]) -> None:
    """Keep in `home`, beside the results packed there, which of their leaves were in such inputs. Reads those inputs.

    Raises:
        OSError: the disk does not take it.
    """
    with (home / "results.car").open("rb") as car:
        leaves = {place.cid for place in CarReader(car).places() if place.cid.codec == RAW}
    found: set[Cid] = set()

    def look(cid: Cid, _block: bytes) -> None:
        if cid in leaves:
            found.add(cid)

    for volume in inputs:
        if volume.piece_key is None:
            found.update(leaves.intersection(volume.blocks_read))
            add_path(volume.host_path, look)
    temporary = home / f"{_NAME}.tmp"
    temporary.write_text("".join(f"{cid}\n" for cid in sorted(found)))
    temporary.rename(home / _NAME)


def brought_in(home: Path) -> frozenset[Cid]:
    """What `note_brought` kept; empty for a run of before it did.

    Raises:
        OSError: it is there and cannot be read.
    """
    try:
        lines = (home / _NAME).read_text().split()
    except FileNotFoundError:
        return frozenset()
    try:
        return frozenset(map(Cid.parse, lines))
    except CidError as error:
        raise OSError(f"{home / _NAME} is damaged: {error}") from error
