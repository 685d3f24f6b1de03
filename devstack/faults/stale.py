"""A node that stops following: it shows the chain as it was, until the fault ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from devstack.faults.kinds import Fault
from devstack.node import FullNode

__all__ = ["StaleHeads"]


class StaleHeads:
    """Freezes and thaws nodes."""

    def __init__(self, nodes: Sequence[FullNode]) -> None:
        self._nodes = nodes

    def freeze(self, fault: Fault) -> Callable[[], None]:
        """Freeze one node.

        Raises:
            ValueError: no such node, or it is stale already.
        """
        index = fault.params["node"]
        if index >= len(self._nodes):
            raise ValueError(f"there is no node {index}: {len(self._nodes)} run here")
        node = self._nodes[index]
        node.freeze()
        return node.thaw
