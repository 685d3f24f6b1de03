"""Several nodes and the network between them, in one process: gossip of blocks and messages, partitions, fork choice.

Each node has a chain of its own. Within a group every node hears of every block and message at once; between groups of a
partitioned network nothing passes. In each group a share of the network's power goes on mining, so the sides fork; when
the network heals, every node takes the heaviest chain it may take, which is a real reorganisation for the others.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from devstack.chain import ForkRefused, Network, PushRefused
from lotus_client.address import Address
from lotus_client.chain import HeadChange, TipSet
from lotus_client.messages import SignedMessage

__all__ = ["Swarm"]

_DRAWS_APART = 1 << 20  # forks and reorgs count draws up from where a side began


class Swarm:
    """The network between nodes. With one node it has nothing to do."""

    def __init__(self, chains: Sequence[Network]) -> None:
        self._chains = list(chains)
        self._groups: list[list[int]] = [list(range(len(chains)))]
        self._spreading = False
        self._stops: list[Callable[[], None]] = []
        for index, chain in enumerate(chains):
            self._stops += [
                chain.subscribe(self._on_head(index)),
                chain.mpool.subscribe(self._on_message(index)),
            ]

    @property
    def groups(self) -> list[list[int]]:
        """Which nodes reach each other."""
        return [list(group) for group in self._groups]

    def mine_epoch(self, *, null: bool = False) -> TipSet | None:
        """Go one epoch on in every group; the first node's new head, None when its group had a null round."""
        if len(self._chains) == 1:
            return self._chains[0].mine_epoch(null=null)
        epoch = max(chain.epoch for chain in self._chains) + 1
        result = None
        for group in self._groups:
            miner = self._chains[group[0]]
            while miner.epoch < epoch - 1:
                miner.mine_epoch(null=True)
            mined = miner.mine_epoch(null=null)
            if 0 in group:
                result = mined
        return result

    def skip_epoch(self, miner: Address) -> TipSet | None:
        """Go one epoch on, by a null round where nothing happens (`Network.skip_epoch`); with several nodes, mine it."""
        if len(self._chains) == 1:
            return self._chains[0].skip_epoch(miner)
        return self.mine_epoch()

    def partition(
        self, groups: Sequence[Sequence[int]], shares: Sequence[int] | None = None
    ) -> None:
        """Split the network. Nodes that no group names are alone, with no power.

        `shares` say how the network's mining power divides among the groups; equal parts without them. The genesis
        miner stands for the rest of the world and goes on proving on every side; a provider does on its node's side.

        Raises:
            ValueError: a node twice, an unknown node, an empty group, or shares that do not fit.
        """
        named = [node for group in groups for node in group]
        if len(set(named)) != len(named) or any(not group for group in groups):
            raise ValueError("a partition names each node at most once, and no group is empty")
        if any(not 0 <= node < len(self._chains) for node in named):
            raise ValueError(f"nodes are 0 to {len(self._chains) - 1}")
        weights = [1] * len(groups) if shares is None else list(shares)
        if len(weights) != len(groups) or min(weights, default=1) < 0 or not sum(weights):
            raise ValueError("there is one share for each group, none negative, not all of them 0")
        alone = [[node] for node in range(len(self._chains)) if node not in named]
        self._divide([*map(list, groups), *alone], [*weights, *(0 for _ in alone)])

    def heal(self) -> list[int]:
        """Join the network again; every node takes the heaviest chain. The nodes that refuse it (finality) come back."""
        everyone = list(range(len(self._chains)))
        self._divide([everyone], [1])
        best = max(self._chains, key=lambda chain: chain.weight_of(chain.head))
        refused = self._spread(self._chains.index(best))
        for index, chain in enumerate(self._chains):
            for signed in chain.mpool.pending():
                self._gossip(index, signed)
        return refused

    def close(self) -> None:
        """Stop passing anything on."""
        for stop in self._stops:
            stop()

    def _divide(self, groups: list[list[int]], weights: list[int]) -> None:
        self._groups = groups
        whole = sum(weights)
        highest = max(chain.draws for chain in self._chains)
        start = (highest // _DRAWS_APART + 1) * _DRAWS_APART
        for position, (group, weight) in enumerate(zip(groups, weights, strict=True)):
            share = (1, 1) if weight == whole else (weight, whole)
            for node in group:
                self._chains[node].mine_share(*share, start + position * _DRAWS_APART)

    def _peers(self, index: int) -> list[int]:
        group = next(group for group in self._groups if index in group)
        return [node for node in group if node != index]

    def _on_head(self, index: int) -> Callable[[list[HeadChange]], None]:
        def spread(_changes: list[HeadChange]) -> None:
            if not self._spreading:
                self._spread(index)

        return spread

    def _spread(self, index: int) -> list[int]:
        """Offer a node's head to those it reaches; those that refuse it for finality's sake."""
        source = self._chains[index]
        refused: list[int] = []
        self._spreading = True
        try:
            for peer in self._peers(index):
                chain = self._chains[peer]
                if chain.head.key == source.head.key:
                    continue
                self._hand_over(source, chain)
                if chain.weight_of(source.head) <= chain.weight_of(chain.head):
                    continue
                try:
                    chain.forks.adopt(source.head)
                except ForkRefused:
                    refused.append(peer)
        finally:
            self._spreading = False
        return refused

    @staticmethod
    def _hand_over(source: Network, target: Network) -> None:
        missing = []
        key = source.head.key
        while not target.exchange.knows(key):
            missing.append(key)
            key = source.tipset(key).parents
        for one in reversed(missing):
            target.exchange.receive(source.exchange.given(one))

    def _on_message(self, index: int) -> Callable[[str, SignedMessage], None]:
        def pass_on(kind: str, signed: SignedMessage) -> None:
            if kind == "add":
                self._gossip(index, signed)

        return pass_on

    def _gossip(self, index: int, signed: SignedMessage) -> None:
        for peer in self._peers(index):
            pool = self._chains[peer].mpool
            if signed.cid not in pool:
                with contextlib.suppress(
                    PushRefused
                ):  # as a node that finds it invalid on its own chain
                    pool.push(signed)
