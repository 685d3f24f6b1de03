"""The follower, the sector table and the awards against the devstack's real HTTP node."""

import io

import pytest

from deals.commp import commp
from deals.follower import ChainFollower
from deals.sectors import lookback_height, sectors_for_election, total_qap
from devstack.datacap import allocate_piece, grant_datacap
from devstack.stack import Devstack, DevstackConfig
from fil_plus.attribution import split_win
from fil_plus.awards import parse_awards
from fil_plus.terms import Basis, ShareTerms
from fil_plus.win_values import ProducedPiece, WinInputs, WinSplit
from lotus_client.api_info import ApiInfo
from lotus_client.client import LotusClient
from lotus_client.types import ActorId, Epoch
from sp_plugin.store.base import Store, metadata
from sp_plugin.store.chain import ChainRepository
from tests.databases import database_url

PROVIDER = ActorId(1001)
PAYLOAD = b"daily observations of the weather\n" * 4000


@pytest.fixture
async def devnet():
    async with Devstack(DevstackConfig()) as net:
        yield net


@pytest.fixture
async def client(devnet):
    async with LotusClient.connect(ApiInfo.parse(devnet.api_info)) as client:
        yield client


@pytest.fixture
async def repository(tmp_path):
    store = Store(database_url(tmp_path))
    async with store.transaction() as connection:
        await connection.run_sync(metadata.create_all)
    yield ChainRepository(store)
    await store.close()


async def allocate(net, payload):
    commitment = commp(io.BytesIO(payload))
    return await allocate_piece(
        net.node,
        net.network.key("alice"),
        net.provider.miner,
        commitment.piece_cid,
        commitment.padded_size,
    )


async def test_the_story_of_a_claim_from_allocation_to_a_won_block(devnet, client, repository):
    follower = ChainFollower(client, repository, PROVIDER, start_at=Epoch(0))
    await follower.catch_up()
    await grant_datacap(devnet.node, devnet.network.key("alice").address, 1 << 30)
    number = await allocate(devnet, PAYLOAD)
    await devnet.provider.add_piece(PAYLOAD, allocation=number)
    await devnet.provider.add_piece(PAYLOAD[:1000])
    await devnet.advance(60)
    progress = await follower.catch_up()
    pieces = {
        piece.provenance.kind.value: piece for piece in await repository.held_pieces(PROVIDER)
    }
    assert set(pieces) == {"claim", "ddo"}
    assert pieces["claim"].offset == pieces["ddo"].offset == 0
    assert pieces["claim"].provenance.id == number
    chain_claims = await client.claims(PROVIDER)
    assert await repository.claims(PROVIDER) == chain_claims
    assert progress.at_head

    await devnet.reorg(depth=5)
    await follower.catch_up()
    assert len(await repository.held_pieces(PROVIDER)) == 2

    await devnet.advance(3000)  # first proof of space, 900 epochs of look-back, 900 of finality
    progress = await follower.catch_up()
    assert progress.malformed == 0
    head = await client.head()
    size = (await client.miner_info(PROVIDER)).sector_size
    power = await client.miner_power(PROVIDER, head.key)
    assert await repository.active_power(PROVIDER, head.height) == power.miner.qap > 0

    finalized = (await repository.cursor(PROVIDER)).finalized
    blocks = await repository.own_blocks(PROVIDER, Epoch(0), Epoch(finalized + 1))
    block = blocks[-1]
    tipset = await client.tipset(block.tipset)
    awards = parse_awards(await client.compute_state(block.epoch, tipset.key), PROVIDER)
    (award,) = awards
    assert award.epoch == block.epoch
    assert award.win_count == block.win_count
    assert award.credited.value > 0
    lookback = await client.tipset_after_height(lookback_height(block.epoch), tipset.key)
    election = await sectors_for_election(client, repository, PROVIDER, size, lookback)
    assert election.sectors is not None
    result = split_win(
        WinInputs(
            win=str(block.cid),
            epoch=block.epoch,
            provider=PROVIDER,
            credited=award.credited,
            gas_reward=award.gas_reward,
            include_tips=False,
            network_version=await client.network_version(tipset.key),
            solstice_epoch=None,
            lookback_epoch=lookback.height,
            miner_qap=election.miner_qap,
            sector_size=size,
            sectors=election.sectors,
            pieces=await repository.held_pieces(PROVIDER),
            produced=(
                ProducedPiece(
                    pieces["claim"].key,
                    devnet.network.key("bob").address,
                    "j-1",
                    len(PAYLOAD),
                    ShareTerms(Basis.VERIFIED_EXTRA),
                ),
                ProducedPiece(
                    pieces["ddo"].key,
                    devnet.network.key("bob").address,
                    "j-2",
                    1000,
                    ShareTerms(Basis.VERIFIED_EXTRA),
                ),
            ),
        )
    )
    assert isinstance(result, WinSplit), result
    assert total_qap(election.sectors, size) == election.miner_qap
    reward = award.credited.value - award.gas_reward.value
    (part,) = result.parts  # the DDO piece is not verified
    assert part.amount.value == reward * 9 * len(PAYLOAD) // (10 * election.miner_qap)
    assert part.amount.value + result.provider.value == reward
