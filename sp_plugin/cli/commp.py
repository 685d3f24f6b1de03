"""`commp FILE`: the piece commitment of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sp_plugin.cli.options import JsonOption

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add this command."""
    app.command("commp")(commp_)


def commp_(
    file: Annotated[Path, typer.Argument(help="The payload, e.g. a CAR file.")],
    json: JsonOption = False,
) -> None:
    """Compute the piece CID (CommP) of a file's bytes, as a verified deal would name it."""
    import time

    from deals.commp import TreeTooLarge, commp
    from deals.kernels import KernelUnavailable, current_kernel
    from sp_plugin.cli.output import print_fields, print_json
    from sp_plugin.errors import BadInput

    started = time.monotonic()
    try:
        with file.open("rb") as reader:
            commitment = commp(reader)
    except OSError as error:
        raise BadInput(f"{file} cannot be read: {error.strerror}") from error
    except TreeTooLarge as error:
        raise BadInput(f"{file}: {error}") from error
    except KernelUnavailable as error:
        raise BadInput(f"SP_PLUGIN_KERNEL: {error}") from error
    result = {
        "piece_cid": str(commitment.piece_cid),
        "piece_cid_v2": str(commitment.piece_cid_v2),
        "payload_size": commitment.payload_size,
        "padded_size": commitment.padded_size,
        "kernel": current_kernel().name,
        "seconds": round(time.monotonic() - started, 6),
    }
    (print_json if json else print_fields)(result)
