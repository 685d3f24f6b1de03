"""A chain that applies nonces, balances and gas as a real one does, small enough to read: fake of `PayoutChain`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lotus_client.address import Address
from lotus_client.chain import BlockHeader, ElectionProof, TipSet, TipSetKey
from lotus_client.cid import Cid, dag_cbor_cid
from lotus_client.errors import LotusRpcError
from lotus_client.messages import Message, SignedMessage
from lotus_client.state import (
    ActorState,
    Beneficiary,
    ChainMessage,
    MessageLookup,
    MinerInfo,
    Receipt,
)
from lotus_client.types import ActorId, AttoFil, Epoch
from sp_plugin.payouts.fees import gas_cost

EMPTY = dag_cbor_cid(b"\x80")
OWNER = Address.of_id(1100)
MINER = MinerInfo(
    OWNER, OWNER, (), 8 << 20, 5, Beneficiary(OWNER, AttoFil(0), AttoFil(0), Epoch(0))
)
BASE_FEE = AttoFil(100)
GAS_USED = 1_000_000


@dataclass(frozen=True)
class State:
    """Balances and nonces after some messages."""

    balances: Mapping[Address, int]
    nonces: Mapping[Address, int]


@dataclass(frozen=True)
class Node:
    """A tipset of one block, the messages it includes, and the state before them."""

    tipset: TipSet
    messages: tuple[SignedMessage, ...]
    before: State
    receipts: tuple[Receipt, ...]
    after: State


@dataclass
class FakePayoutChain:
    """Mines on request; a reorg drops blocks back to a height and gives their messages back to the pool or loses them."""

    start: Mapping[Address, int]
    finality: int = 5
    pool: dict[tuple[Address, int], SignedMessage] = field(default_factory=dict)
    fail_to: set[Address] = field(default_factory=set)
    miners: dict[ActorId, MinerInfo] = field(default_factory=lambda: {ActorId(1001): MINER})
    available: int = 10**30
    stranger: Address = Address.of_id(1235)
    salt: int = 0

    def __post_init__(self) -> None:
        state = State(dict(self.start), {})
        tipset = self._tipset(TipSetKey(), Epoch(0))
        self.nodes = [Node(tipset, (), state, (), state)]

    def _tipset(self, parents: TipSetKey, height: Epoch) -> TipSet:
        self.salt += 1
        header = BlockHeader(
            miner=Address.of_id(1000),
            ticket=self.salt.to_bytes(4, "big"),
            election_proof=ElectionProof(1, b""),
            beacon_entries=(),
            win_post_proof=(),
            parents=parents,
            parent_weight=0,
            height=height,
            parent_state_root=EMPTY,
            parent_message_receipts=EMPTY,
            messages=EMPTY,
            bls_aggregate=None,
            timestamp=0,
            block_sig=None,
            fork_signaling=0,
            parent_base_fee=BASE_FEE,
        )
        return TipSet(TipSetKey((header.cid,)), (header,), height)

    # what a test does

    def mine(self, *, take: bool = True, gap: int = 1) -> None:
        """A new head `gap` epochs on; its messages are executed in it and seen by its child."""
        top = self.nodes[-1]
        state = State(dict(top.after.balances), dict(top.after.nonces))
        included, receipts = [], []
        while take:
            ready = [m for (a, n), m in sorted(self.pool.items()) if n == state.nonces.get(a, 0)]
            ready = [m for m in ready if self._affordable(m.message, state)]
            if not ready:
                break
            message = ready[0]
            state, receipt = self._execute(message.message, state)
            included.append(message)
            receipts.append(receipt)
            del self.pool[message.message.from_, message.message.nonce]
        self._prune(state)
        tipset = self._tipset(top.tipset.key, Epoch(top.tipset.height + gap))
        self.nodes.append(Node(tipset, tuple(included), top.after, tuple(receipts), state))

    def _affordable(self, message: Message, state: State) -> bool:
        return state.balances.get(message.from_, 0) >= message.required_funds.value

    def _execute(self, message: Message, state: State) -> tuple[State, Receipt]:
        balances, nonces = dict(state.balances), dict(state.nonces)
        nonces[message.from_] = message.nonce + 1
        balances[message.from_] -= gas_cost(message, GAS_USED, BASE_FEE).value
        code = 6 if message.to in self.fail_to else 0
        if code == 0:
            balances[message.from_] -= message.value.value
            balances[message.to] = balances.get(message.to, 0) + message.value.value
        return State(balances, nonces), Receipt(code, b"", GAS_USED, None)

    def _prune(self, state: State) -> None:
        for sender, nonce in list(self.pool):
            if nonce < state.nonces.get(sender, 0):
                del self.pool[sender, nonce]

    def reorg(self, depth: int, *, lose: bool) -> None:
        """Drop up to `depth` unfinal tipsets; their messages return to the pool, or are lost."""
        for _ in range(depth):
            if len(self.nodes) <= 1 or self.nodes[-1].tipset.height <= self._final().tipset.height:
                break
            dropped = self.nodes.pop()
            for message in dropped.messages:
                key = (message.message.from_, message.message.nonce)
                if not lose:
                    self.pool.setdefault(key, message)
        self._prune(self.nodes[-1].after)

    def send(self, sender: Address, to: Address, amount: int, nonce: int) -> SignedMessage:
        """A message that somebody else signed with the sender's key."""
        from lotus_client.crypto import Signature, SignatureType

        message = Message(
            to, sender, nonce, AttoFil(amount), 2_000_000, AttoFil(1000), AttoFil(200_000)
        )
        signed = SignedMessage(
            replace(message, gas_fee_cap=AttoFil(300_000)),
            Signature(SignatureType.SECP256K1, bytes(65)),
        )
        self.pool[sender, nonce] = signed
        return signed

    def balance(self, address: Address) -> int:
        """The balance after everything on chain."""
        return self.nodes[-1].after.balances.get(address, 0)

    def _final(self) -> Node:
        limit = self.nodes[-1].tipset.height - self.finality
        return [node for node in self.nodes if node.tipset.height <= max(limit, 0)][-1]

    def _node(self, key: TipSetKey) -> Node:
        for node in self.nodes:
            if node.tipset.key == key:
                return node
        raise LotusRpcError("ChainGetTipSet", 1, "ipld: could not find tipset")

    # what the sidecar asks

    async def head(self) -> TipSet:
        return self.nodes[-1].tipset

    async def genesis(self) -> TipSet:
        return self.nodes[0].tipset

    async def finalized_tipset(self) -> TipSet:
        return self._final().tipset

    async def tipset(self, key: TipSetKey) -> TipSet:
        return self._node(key).tipset

    async def tipset_by_height(self, height: Epoch, tsk: TipSetKey) -> TipSet:
        self._node(tsk)
        return [node.tipset for node in self.nodes if node.tipset.height <= height][-1]

    async def tipset_after_height(self, height: Epoch, tsk: TipSetKey) -> TipSet:
        self._node(tsk)
        return next(node.tipset for node in self.nodes if node.tipset.height >= height)

    async def actor(self, address: Address, tsk: TipSetKey) -> ActorState:
        state = self._node(tsk).before
        if address not in state.balances:
            raise LotusRpcError("StateGetActor", 1, "actor not found")
        nonce = state.nonces.get(address, 0)
        return ActorState(EMPTY, EMPTY, nonce, AttoFil(state.balances[address]), None)

    async def mpool_nonce(self, address: Address) -> int:
        nonce = self.nodes[-1].after.nonces.get(address, 0)
        while (address, nonce) in self.pool:
            nonce += 1
        return nonce

    async def mpool_push(self, signed: SignedMessage) -> Cid:
        message = signed.message
        if message.nonce < self.nodes[-1].after.nonces.get(message.from_, 0):
            raise LotusRpcError("MpoolPush", 1, "minimum expected nonce: nonce too low")
        there = self.pool.get((message.from_, message.nonce))
        if there is not None:
            if there.cid == signed.cid:
                raise LotusRpcError("MpoolPush", 1, "message already in mpool")
            least = there.message.gas_premium.value * 110 // 100 + 1
            if message.gas_premium.value < least:
                raise LotusRpcError("MpoolPush", 1, "replace by fee has too low GasPremium")
        self.pool[message.from_, message.nonce] = signed
        return signed.cid

    async def mpool_pending(self) -> list[SignedMessage]:
        return list(self.pool.values())

    async def estimate_gas(self, message: Message, max_fee: AttoFil) -> Message:
        return replace(
            message,
            gas_limit=1_250_000,
            gas_fee_cap=AttoFil(100_300),
            gas_premium=AttoFil(100_000),
        )

    async def search_msg(
        self, cid: Cid, *, limit: int = -1, allow_replaced: bool = False
    ) -> MessageLookup | None:
        for node, child in zip(self.nodes, self.nodes[1:], strict=False):
            for message, receipt in zip(node.messages, node.receipts, strict=True):
                if message.cid == cid:
                    return MessageLookup(cid, receipt, child.tipset.key, child.tipset.height)
        return None

    async def messages_in_tipset(self, tsk: TipSetKey) -> list[ChainMessage]:
        return [ChainMessage(signed.cid, signed.message) for signed in self._node(tsk).messages]

    async def lookup_id(self, address: Address, tsk: TipSetKey) -> ActorId:
        if address.protocol == 0:
            return address.actor_id
        return ActorId(2000 + sorted(self._node(tsk).before.balances).index(address))

    async def miner_info(self, provider: ActorId, tsk: TipSetKey) -> MinerInfo:
        if provider not in self.miners:
            raise LotusRpcError("StateMinerInfo", 1, "actor is not a storage miner")
        return self.miners[provider]

    async def available_balance(self, provider: ActorId, tsk: TipSetKey) -> AttoFil:
        return AttoFil(self.available)

    async def compute_state(self, height: Epoch, tsk: TipSetKey) -> dict[str, Any]:
        node = self._node(tsk)
        return {
            "Trace": [
                {
                    "MsgCid": {"/": str(message.cid)},
                    "ExecutionTrace": {
                        "Msg": {
                            "From": "t01234",
                            "To": str(message.message.to),
                            "Value": str(message.message.value),
                            "Method": 0,
                        },
                        "MsgRct": {"ExitCode": receipt.exit_code},
                        "Subcalls": None,
                    },
                }
                for message, receipt in zip(node.messages, node.receipts, strict=True)
            ]
        }
