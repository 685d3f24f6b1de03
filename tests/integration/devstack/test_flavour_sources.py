"""The sidecar's own piece sources read what a provider of each flavour holds."""

from __future__ import annotations

import asyncio

import pytest

from deals.sources import PieceNotHere, PieceUnavailable, Unavailable, make_source
from devstack.flavours import Flavour
from fil_plus.pieces import HeldPiece, Provenance, ProvenanceKind
from lotus_client.types import Epoch
from tests.integration.devstack.flavour_parts import BINARY, TEXT, Stocked, small_car, stocked


def held(stock: Stocked, number: int, index: int) -> HeldPiece:
    """The piece as the follower knows it, with the offset that its sector's order gives."""
    sector = stock.sectors[number]
    piece = [p for p in sector.pieces if p.staged is not None][index]
    return HeldPiece(
        provider=stock.net.provider.miner.actor_id,
        piece_cid=piece.piece_cid,
        padded_size=piece.size,
        payload_size=None,
        sector=sector.number,
        offset=piece.offset,
        provenance=Provenance(ProvenanceKind.DDO, None),
        client=None,
        from_epoch=Epoch(0),
        to_epoch=sector.expiration,
    )


@pytest.mark.parametrize("flavour", list(Flavour))
async def test_storage_paths_of_every_flavour_are_readable(flavour: Flavour) -> None:
    async with stocked(flavour) as stock:
        storage = stock.net.provider.storage
        options = {
            "paths": [str(path.root) for path in storage.paths],
            "sector_size": stock.net.provider.sector_size,
        }
        source = make_source("storage_path", options)
        assert source.problems() == ()
        for (number, index), payload in {
            (0, 0): TEXT,
            (0, 1): BINARY,
            (1, 0): small_car()[0],
        }.items():
            piece = held(stock, number, index)
            with await source.open(piece) as reader:
                content = reader.read()
            assert content[: len(payload)] == payload
            assert not any(content[len(payload) :])
        one = make_source("storage_path", {**options, "paths": options["paths"][:1]})
        with pytest.raises(PieceNotHere):
            await one.open(held(stock, 1, 0))  # it lies in the other path
        size = stock.net.provider.sector_size
        stock.unsealed_file(stock.sectors[0]).write_bytes(bytes(size + 4))
        with pytest.raises(PieceUnavailable) as failure:
            await source.open(held(stock, 0, 0))
        assert failure.value.reason is Unavailable.NOT_UNSEALED


@pytest.mark.parametrize("flavour", [Flavour.BOOST, Flavour.CURIO])
async def test_market_servers_are_readable_piece_by_piece(flavour: Flavour) -> None:
    async with stocked(flavour) as stock:
        source = make_source("http", {"url": stock.net.market_url})
        assert await asyncio.to_thread(source.problems) == ()
        for (number, index), payload in {
            (0, 0): TEXT,
            (0, 1): BINARY,
            (1, 0): small_car()[0],
        }.items():
            reader = await source.open(held(stock, number, index))
            content = await asyncio.to_thread(reader.read)
            assert content[: len(payload)] == payload
            assert not any(content[len(payload) :])
            reader.seek(1000)
            assert await asyncio.to_thread(reader.read, 50) == content[1000:1050]
            await asyncio.to_thread(reader.close)
        stock.unsealed_file(stock.sectors[0]).unlink()
        # Boost says 404 of a piece that is only sealed, Curio 500.
        refusal = PieceNotHere if flavour is Flavour.BOOST else PieceUnavailable
        with pytest.raises(refusal, match="sealed"):
            await source.open(held(stock, 0, 0))
