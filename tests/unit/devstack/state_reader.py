"""An independent reader of the state's blocks, and a network with something of everything in its state."""

from __future__ import annotations

from typing import Any

from devstack.chain import Network, NetworkConfig
from lotus_client import cbor
from lotus_client.actors.methods import VERIFIED_REGISTRY, MultisigMethod, VerifregMethod
from lotus_client.actors.multisig import ProposeParams
from lotus_client.actors.verifreg import DatacapParams
from lotus_client.address import Address
from lotus_client.cid import Cid
from lotus_client.types import AttoFil
from lotus_client.varint import decode_uvarint
from tests.unit.devstack.chain_story import DAY, MIB, PROVIDER, Story, piece_cid
from tests.walker import read, read_hamt

ROOT = Address.of_id(80)


class Reader:
    """Actors and maps of one state root."""

    def __init__(self, network: Network, root: Cid) -> None:
        self._network = network
        version, actors, info = read(self.get, root)
        assert version == 5
        assert read(self.get, info) == []
        self.actors = {
            Address.from_bytes(key).actor_id: record
            for key, record in read_hamt(self.get, actors).items()
        }

    def get(self, cid: bytes) -> bytes:
        block = self._network.blocks.get(Cid(cid))
        assert block is not None, Cid(cid)
        return block

    def state(self, actor_id: int) -> Any:
        return read(self.get, self.actors[actor_id][1])

    def by_number(self, root: Cid) -> dict[int, Any]:
        return {decode_uvarint(key)[0]: value for key, value in read_hamt(self.get, root).items()}

    def by_address(self, root: Cid, bit_width: int = 5) -> dict[Address, Any]:
        found = read_hamt(self.get, root, bit_width)
        return {Address.from_bytes(key): value for key, value in found.items()}

    def deadlines(self, miner: int) -> list[list[Any]]:
        (due,) = read(self.get, self.state(miner)[12])
        return [read(self.get, cid) for cid in due]


def busy_network() -> Network:
    """A day with verified data, waiting allocations, a pending proposal, faults, and a pre-commit to be proven."""
    network = Network(
        NetworkConfig(root_signers=("root-1", "root-2"), root_threshold=2, genesis_sectors=300)
    )
    story = Story(network)
    add = DatacapParams(network.key("bob").address, 1 << 40).to_cbor()
    call = ProposeParams(VERIFIED_REGISTRY, AttoFil(0), VerifregMethod.ADD_VERIFIER, add)
    story.ok("root-1", ROOT, MultisigMethod.PROPOSE, call.to_cbor())
    approval = cbor.encode([0, b""])
    story.ok("root-2", ROOT, MultisigMethod.APPROVE, approval)
    for waiting in (5, 6):
        call = ProposeParams(Address.of_id(100), AttoFil(waiting), 0, b"")
        story.ok("root-1", ROOT, MultisigMethod.PROPOSE, call.to_cbor())
    for client in ("alice", "root-1"):
        assert story.grant("bob", client, 64 * MIB).receipt.exit_code == 0
    for client, count in (("alice", 5), ("root-1", 9)):
        requests = [story.request(piece_cid(100 + one), MIB) for one in range(count)]
        assert story.allocate(client, *requests).receipt.exit_code == 0
    story.verified_sector(7, piece_cid(1), 8 * MIB)
    story.verified_sector(9, piece_cid(2), 4 * MIB)
    network.prove_automatically(PROVIDER)
    story.until(lambda view: view.miner_power(PROVIDER).miner.raw == 16 * MIB, 2 * DAY)
    network.prove_automatically(PROVIDER, enabled=False)
    story.until(lambda view: view.faults(PROVIDER))
    assert story.pre_commit(11, [(piece_cid(3), MIB)]).receipt.exit_code == 0
    network.advance(2)
    story.sound()
    return network
