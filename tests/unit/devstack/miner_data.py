"""Messages of miners about the data of their sectors."""

from __future__ import annotations

from collections.abc import Sequence

from devstack.chain.actors.miner_state import is_mutable
from devstack.chain.commd import unsealed_cid
from devstack.chain.machine import Sent
from devstack.chain.states import MinerState
from lotus_client import cbor
from lotus_client.actors import miner as wire
from lotus_client.actors import miner_updates as updates
from lotus_client.actors.methods import MARKET
from lotus_client.actors.methods import MinerMethod as Method
from lotus_client.bitfield import BitField
from tests.unit.devstack.chain_story import piece_cid, sealed_cid
from tests.unit.devstack.direct import DAY, MIB, Direct
from tests.unit.devstack.fil_plus_story import new_ids, request, transfer, with_datacap

GENESIS, WORKER, SIZE = 1000, "genesis-worker", 8 * MIB


UPDATE_8_MIB = 1


def state_of(chain: Direct, miner: int = GENESIS) -> MinerState:
    state: MinerState = chain.state(miner)
    return state


def place(chain: Direct, number: int, miner: int = GENESIS) -> tuple[int, int]:
    for index, deadline in state_of(chain, miner).deadlines.items():
        for at, partition in enumerate(deadline.partitions):
            if number in partition.sectors:
                return index, at
    raise AssertionError(f"sector {number} is nowhere")


def movable(chain: Direct, count: int = 1) -> list[int]:
    """Sectors of the genesis miner whose deadline may be changed now, of as many deadlines."""
    start = state_of(chain).proving_period_start
    return [index for index in range(48) if is_mutable(start, index, chain.epoch)][:count]


def manifest(
    cid_number: int,
    size: int = SIZE,
    allocation: tuple[int, int] | None = None,
    deal: int | None = None,
) -> wire.PieceActivationManifest:
    key = None if allocation is None else wire.VerifiedAllocationKey(*allocation)
    notify = () if deal is None else (wire.DataActivationNotification(MARKET, cbor.encode(deal)),)
    return wire.PieceActivationManifest(piece_cid(cid_number), size, key, notify)


def update(chain: Direct, number: int, *pieces: wire.PieceActivationManifest, **changes: object):  # type: ignore[no-untyped-def]
    deadline, partition = place(chain, number)
    fields = {
        "sector": number,
        "deadline": deadline,
        "partition": partition,
        "new_sealed_cid": sealed_cid(number + 1000),
        "pieces": pieces,
    } | changes
    return updates.SectorUpdateManifest(**fields)  # type: ignore[arg-type]


def prove(chain: Direct, *wanted: updates.SectorUpdateManifest, **changes: object) -> Sent:
    fields = {
        "sector_updates": wanted,
        "sector_proofs": (b"proof",) * len(wanted),
        "update_proofs_type": UPDATE_8_MIB,
    } | changes
    params = updates.ProveReplicaUpdatesParams(**fields).to_cbor()  # type: ignore[arg-type]
    return chain.call(WORKER, GENESIS, Method.PROVE_REPLICA_UPDATES3, params)


def extend(
    chain: Direct,
    expiration: int,
    plain: Sequence[int] = (),
    claims: Sequence[updates.SectorClaim] = (),
    **changes: int,
) -> int:
    deadline, partition = place(chain, [*plain, *(one.sector for one in claims)][0])
    one = updates.ExpirationExtension(
        changes.get("deadline", deadline),
        changes.get("partition", partition),
        BitField.from_ints(plain),
        tuple(claims),
        expiration,
    )
    params = updates.ExtendSectorExpirationParams((one,)).to_cbor()
    who = "genesis-worker"
    return chain.call(who, GENESIS, Method.EXTEND_SECTOR_EXPIRATION2, params).exit_code


def with_claim(chain: Direct, term_max: int, size: int = SIZE) -> tuple[int, int]:
    """A genesis sector with one claim of alice's; sector and claim."""
    client = with_datacap(chain)
    (number,) = movable(chain)
    (allocation,) = new_ids(
        transfer(chain, request(chain, 1, size, provider=GENESIS, term_max=term_max))
    )
    pieces = [manifest(1, size, (client, allocation))]
    assert prove(chain, update(chain, number, *pieces)).exit_code == 0
    return number, allocation


def pre_commit(
    chain: Direct, number: int, *pieces: wire.PieceActivationManifest, life: int = 400 * DAY
) -> None:
    commd = unsealed_cid([(piece.cid, piece.size) for piece in pieces], SIZE)
    info = wire.SectorPreCommitInfo(
        chain.config.seal_proof,
        number,
        sealed_cid(number),
        chain.epoch - 1,
        chain.epoch + life,
        commd,
    )
    params = wire.PreCommitSectorBatchParams((info,)).to_cbor()
    chain.ok("worker-1", 1001, Method.PRE_COMMIT_SECTOR_BATCH2, params)


def prove_commit(
    chain: Direct, number: int, *pieces: wire.PieceActivationManifest, require: bool = False
) -> Sent:
    params = wire.ProveCommitSectorsParams(
        (wire.SectorActivationManifest(number, pieces),),
        (b"proof",),
        require_notification_success=require,
    )
    return chain.call("worker-1", 1001, Method.PROVE_COMMIT_SECTORS3, params.to_cbor())
