"""The simulated provider, from inside the process."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

from deals.commp import commp, zero_commitment
from devstack.chain import NetworkConfig
from devstack.datacap import DatacapEnded, allocate_piece, grant_datacap, settle
from devstack.provider import PieceRejected
from devstack.sectors import SectorState, StagedPiece, commd_of, lay_out
from devstack.stack import Devstack, DevstackConfig
from lotus_client.types import AllocationId, Epoch, PaddedPieceSize

PERIOD = 2880


async def test_a_plain_ddo_piece_is_proven_under_version_29_with_full_power() -> None:
    network = replace(NetworkConfig(), nv29_epoch=Epoch(5))
    async with Devstack(DevstackConfig(network=network)) as net:
        await net.advance(10)
        assert net.network.network_version(net.network.head.height) == 29
        with pytest.raises(DatacapEnded, match="network version 29"):
            await grant_datacap(net.node, net.network.key("alice").address, 1 << 20)
        sector = await net.provider.add_piece(b"plain" * 999)
        await net.advance(PERIOD + 100)
        assert sector.state is SectorState.PROVING
        power = net.network.state().miner_power(net.provider.miner).miner
        assert power.qap == 10 * power.raw == 10 * net.provider.sector_size


async def test_declared_faults_take_power_and_recoveries_bring_it_back(devnet: Devstack) -> None:
    provider, network = devnet.provider, devnet.network
    sectors = [await provider.add_piece(bytes([index]) * 4000) for index in range(3)]
    await devnet.advance(PERIOD + 100)

    def raw() -> int:
        return network.state().miner_power(provider.miner).miner.raw

    assert raw() == 3 * provider.sector_size
    number = sectors[0].number
    place = network.state().sector_place(provider.miner, number)
    assert place is not None
    while (
        place.deadline - network.state().proving_deadline(provider.miner).index
    ) % 48 not in range(3, 45):
        await devnet.advance(60)  # a declaration is too late near the sector's own window
    await settle(devnet.node, provider.declare_faults([number]), "declaring a fault")
    await devnet.advance(2)
    assert raw() == 2 * provider.sector_size
    assert network.state().faults(provider.miner) == {number}
    await settle(devnet.node, provider.declare_recovered([number]), "declaring a recovery")
    await devnet.advance(PERIOD + 60)
    assert raw() == 3 * provider.sector_size  # all proven again, period after period
    assert not network.state().faults(provider.miner)
    with pytest.raises(ValueError, match="in no deadline"):
        provider.declare_faults([99])


async def test_pieces_that_fit_no_allocation_or_sector_are_refused(devnet: Devstack) -> None:
    provider, client = devnet.provider, devnet.network.key("alice")
    await grant_datacap(devnet.node, client.address, 1 << 30)
    staged = await provider.stage_piece(b"right" * 100)
    size = PaddedPieceSize(4 * staged.commitment.padded_size)
    raised = staged.commitment.raised_to(size)
    number = await allocate_piece(devnet.node, client, provider.miner, raised.piece_cid, size)
    other = await allocate_piece(
        devnet.node, client, devnet.network.genesis_miner, raised.piece_cid, size
    )
    for payload, allocation, reason in (
        (b"", None, "empty"),
        (b"x" * (provider.sector_size + 1), None, "the sector has"),
        (b"wrong" * 100, number, "the payload is"),
        (b"right" * 100, AllocationId(99), "no allocation 99"),
        (b"right" * 100, other, "for provider t01000"),
    ):
        with pytest.raises(PieceRejected, match=reason):
            await provider.add_piece(payload, allocation)
    sector = await provider.add_piece(b"right" * 100, number)
    assert sector.pieces[0].size == size
    half = await provider.stage_piece(b"h" * (provider.sector_size // 2))
    with pytest.raises(PieceRejected, match="padded bytes"):
        await provider.add_sector([half, half])


async def test_a_failed_message_fails_the_sector_and_says_why(devnet: Devstack) -> None:
    sector = await devnet.provider.add_piece(b"late" * 100)
    sector.expiration = Epoch(devnet.network.head.height + 100)  # far too short a life
    await devnet.advance(5)
    assert sector.state is SectorState.PRE_COMMIT_FAILED
    assert "exit 16" in sector.last_error


@pytest.mark.parametrize("sizes", [(), (128,), (256, 128), (128, 1024), (1024, 128, 128, 2048)])
def test_fillers_complete_a_sector_without_changing_its_commitment(sizes: tuple[int, ...]) -> None:
    whole = 8192
    staged = [_tiny(size) for size in sizes]
    pieces = lay_out(staged, whole)
    assert sum(piece.size for piece in pieces) == whole
    end = 0
    for piece in pieces:
        assert (piece.offset, piece.offset % piece.size) == (end, 0)
        end += piece.size
    assert [piece.staged for piece in pieces if piece.staged] == staged
    with_data = [piece for piece in pieces if piece.staged]
    assert commd_of(pieces, whole) == commd_of(with_data, whole)
    if not sizes:
        assert commd_of(pieces, whole).digest == zero_commitment(8)


def _tiny(size: int) -> StagedPiece:
    commitment = commp(io.BytesIO(size.to_bytes(2, "big")))
    return StagedPiece(b"tiny", commitment.raised_to(size))
