"""`car pack|unpack|ls|verify`: content-addressed archives of files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sp_plugin.cli.options import JsonOption

if TYPE_CHECKING:
    from deals.unixfs import UnixFs
    from lotus_client.cid import Cid

__all__ = ["add_to"]

car_app = typer.Typer(no_args_is_help=True, help="CAR files: pack, unpack, list, verify.")

CarArgument = Annotated[Path, typer.Argument(help="The CAR file.")]


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(car_app, name="car")


@car_app.command()
def pack(
    source: Annotated[Path, typer.Argument(help="A file or directory.")],
    car: Annotated[Path, typer.Argument(help="The CAR to write; must not exist.")],
    json: JsonOption = False,
) -> None:
    """Pack a file or directory into a CAR with one UnixFS root."""
    from deals.unixfs_write import pack_car
    from sp_plugin.cli.output import print_fields, print_json

    with _bad_files():
        source.stat()
        with car.open("xb") as out:
            try:
                packed = pack_car(source, out)
            except BaseException:
                car.unlink()
                raise
    result = {
        "root": str(packed.root),
        "car_size": packed.car_size,
        "blocks": packed.blocks,
        "content_size": packed.content_size,
    }
    (print_json if json else print_fields)(result)


@car_app.command()
def verify(car: CarArgument, json: JsonOption = False) -> None:
    """Hash every block and say whether the CAR is whole."""
    from deals.car import CarReader
    from sp_plugin.cli.output import print_fields, print_json

    with _bad_files(), car.open("rb") as stream:
        reader = CarReader(stream)
        blocks = size = 0
        for place, _ in reader:
            blocks += 1
            size += place.size
    result = {
        "ok": True,
        "version": reader.version,
        "roots": [str(root) for root in reader.roots],
        "blocks": blocks,
        "block_bytes": size,
    }
    (print_json if json else print_fields)(result)


@car_app.command("ls")
def list_(car: CarArgument, json: JsonOption = False) -> None:
    """List the files and directories below each root."""
    from deals.car import CarBlocks
    from deals.unixfs import UnixFs
    from sp_plugin.cli.output import print_json, print_rows

    with _bad_files(), car.open("rb") as stream:
        blocks = CarBlocks(stream)
        tree = UnixFs(blocks)
        rows = [row for root in blocks.roots for row in _walk(tree, root, str(root))]
    if json:
        print_json(rows)
    else:
        print_rows(rows, ["kind", "size", "path"], "no roots")


@car_app.command()
def unpack(
    car: CarArgument,
    directory: Annotated[Path, typer.Argument(help="Where to write; must not exist.")],
    json: JsonOption = False,
) -> None:
    """Write the files below the first root, every block verified."""
    from deals.car import CarBlocks
    from deals.unixfs import UnixFs
    from deals.volumes import write_tree
    from sp_plugin.cli.output import print_fields, print_json
    from sp_plugin.errors import BadInput

    with _bad_files(), car.open("rb") as stream:
        blocks = CarBlocks(stream)
        if not blocks.roots:
            raise BadInput(f"{car} names no root")
        written = write_tree(UnixFs(blocks), blocks.roots[0], directory)
    (print_json if json else print_fields)({"root": str(blocks.roots[0]), "files": written})


def _walk(tree: UnixFs, cid: Cid, path: str) -> Iterator[dict[str, Any]]:
    entry = tree.entry(cid)
    yield {"path": path, "kind": str(entry.kind), "size": entry.size, "cid": str(cid)}
    if entry.kind == "directory":
        for link in tree.entries(cid):
            yield from _walk(tree, link.cid, f"{path}/{link.name}")


@contextmanager
def _bad_files() -> Iterator[None]:
    """Turn what is wrong with files into our error, which exits 2."""
    from deals.blocks import BadBlock, MissingBlock, UnknownHash
    from deals.car import CarError
    from deals.unixfs import UnixFsError
    from deals.unixfs_write import UnsupportedFile
    from deals.volumes import VolumeError
    from sp_plugin.errors import BadInput

    try:
        yield
    except OSError as error:
        raise BadInput(f"{error.filename or 'file'}: {error.strerror}") from error
    except (
        *(BadBlock, MissingBlock, UnknownHash, CarError),
        *(UnixFsError, VolumeError, UnsupportedFile),
    ) as error:
        raise BadInput(str(error)) from error
