"""`pieces aggregate`, `pieces proof make|verify`: several pieces in one, and proofs that a piece lies in another."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from sp_plugin.cli.options import ConfigOption, JsonOption, connect

__all__ = ["add_to"]

proof_app = typer.Typer(no_args_is_help=True, help="Proofs that a piece lies in an aggregate.")

OutOption = Annotated[Path, typer.Option("--out", "-o", help="The file to write; must not exist.")]


def add_to(pieces: typer.Typer) -> None:
    """Add these commands below `pieces`."""
    pieces.command("aggregate")(aggregate)
    pieces.add_typer(proof_app, name="proof")


def aggregate(
    files: Annotated[list[Path], typer.Argument(help="Payloads, e.g. CAR files, in order.")],
    out: OutOption,
    size: Annotated[
        int | None, typer.Option(min=512, help="Padded bytes; by default the least that fits.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Put several files into one piece with an index (FRC-0058), and print its piece CID and entries."""
    from deals.aggregates import commitment_of_file, plan_aggregate, write_aggregate
    from deals.fr32 import unpadded_length
    from deals.piece_cid import encode_piece_cid_v1, encode_piece_cid_v2
    from sp_plugin.cli.output import print_rows

    with _bad_files():
        found = [commitment_of_file(file) for file in files]
        plan = plan_aggregate(found, size)
        with _whole_file(out) as stream:
            write_aggregate(plan, files, stream)
    root, length = plan.commitment(), unpadded_length(plan.padded_size)
    rows = [
        {
            "file": str(file),
            "piece_cid": str(encode_piece_cid_v1(entry.commitment)),
            "offset": entry.offset,
            "padded_size": entry.size,
            "payload_size": one.payload_size,
        }
        for file, entry, one in zip(files, plan.entries, found, strict=True)
    ]
    result = {
        "file": str(out),
        "piece_cid": str(encode_piece_cid_v1(root)),
        "piece_cid_v2": str(encode_piece_cid_v2(root, plan.padded_size, length)),
        "payload_size": length,
        "padded_size": plan.padded_size,
    }
    _print(result | {"entries": rows} if json else result, json)
    if not json:
        print_rows(rows, list(rows[0]), "no entries")


@proof_app.command("make")
def make(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[FILE] PIECE",
            help="The aggregate's file and the piece CID in it; without a file, of an aggregate that is held.",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The file to write; must not exist.")
    ] = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Prove that a piece lies in an aggregate. The proof is JSON: printed, or written to a file."""
    import json as json_text

    from sp_plugin.cli.api import segment
    from sp_plugin.cli.output import print_json
    from sp_plugin.errors import BadInput

    if len(words) > 2:
        raise BadInput("give a file and a piece CID, or a piece CID alone")
    if len(words) == 1:
        made = connect(config).get(f"/api/v1/sp/pieces/{segment(words[0])}/proof")
    else:
        made = _proof_in_file(Path(words[0]), words[1])
    if out is None:
        print_json(made)
        return
    with _bad_files(), _whole_file(out) as stream:
        stream.write(json_text.dumps(made, indent=2).encode() + b"\n")
    _print({"file": str(out)} | {name: made[name] for name in ("piece_cid", "aggregate")}, json)


def _proof_in_file(file: Path, piece: str) -> dict[str, object]:
    from deals.aggregates import encode_proof, prove_segment
    from deals.piece_cid import encode_piece_cid_v1, root_of
    from lotus_client.cid import Cid

    with _bad_files():
        commitment = root_of(Cid.parse(piece))
        with file.open("rb") as stream:
            proof, entry = prove_segment(stream, commitment)
        root, total = proof.aggregate_of(commitment, entry.size)
    return {
        "piece_cid": str(encode_piece_cid_v1(commitment)),
        "padded_size": entry.size,
        "aggregate": str(encode_piece_cid_v1(root)),
        "aggregate_padded_size": total,
        "offset": entry.offset,
        "proof_cbor": encode_proof(proof).hex(),
    }


@proof_app.command("verify")
def verify(
    file: Annotated[Path, typer.Argument(help="What `proof make` wrote; `-` for standard input.")],
    json: JsonOption = False,
) -> None:
    """Say whether a proof holds: exits 1 if not. That the aggregate is held is another question (`pieces list`)."""
    from deals.data_segment import ProofError
    from sp_plugin.cli.reading import read_structure
    from sp_plugin.errors import BadInput, ExitCode
    from sp_plugin.statement_proofs import GivenProof

    given = read_structure(file, "proof")
    try:
        proof = GivenProof.parse(given)
    except (KeyError, ValueError, TypeError) as error:
        raise BadInput(f"{file} is no proof that `pieces proof make` wrote: {error}") from error
    detail = ""
    try:
        proof.place()
    except ProofError as error:
        detail = str(error)
    fields = {"ok": not detail, "piece_cid": given["piece_cid"], "aggregate": given["aggregate"]}
    _print(fields | {"detail": detail}, json)
    if detail:
        raise typer.Exit(ExitCode.FAILED)


def _print(fields: dict[str, object], json: bool) -> None:
    from sp_plugin.cli.output import print_fields, print_json

    (print_json if json else print_fields)(fields)


@contextmanager
def _whole_file(path: Path) -> Iterator[BinaryIO]:
    """A new file that gets its name only once all of it is written."""
    if path.exists():
        raise FileExistsError(17, "is there already", str(path))
    handle, temporary = tempfile.mkstemp(prefix=".part-", dir=path.parent)
    try:
        with os.fdopen(handle, "w+b") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).rename(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@contextmanager
def _bad_files() -> Iterator[None]:
    """Turn what is wrong with files and CIDs into our error, which exits 2."""
    from sp_plugin.errors import BadInput

    try:
        yield
    except OSError as error:
        raise BadInput(f"{error.filename or 'file'}: {error.strerror}") from error
    except ValueError as error:
        raise BadInput(str(error)) from error
