"""Where the server and the dispatcher let somebody interfere. This one never does; `devstack.faults` has one that can."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from devstack.rpc.subscription import Subscription

__all__ = ["Seam", "Wire"]


@dataclass(frozen=True, slots=True)
class Wire:
    """What shall happen to one answer on its way; each field's default is "nothing".

    `delay_seconds` comes first. `silent` never answers. `status` answers with this HTTP status (and `retry_after`
    seconds) instead; it means nothing on an open WebSocket. `cut` sends half of the answer and drops the connection.
    """

    delay_seconds: float = 0.0
    silent: bool = False
    status: int = 0
    retry_after: int = 0
    cut: bool = False


_CLEAR = Wire()


class Seam:
    """Interferes with nothing."""

    def wire(self, names: Sequence[str], *, socket: bool) -> Wire:
        """What happens to the answer to these methods (several in a batch).

        `upgrade` stands for the WebSocket's handshake, `Method#value` for one value of a channel.
        """
        return _CLEAR

    def revoked(self, token: str) -> bool:
        """Whether a good token shall be refused."""
        return False

    def before(self, name: str, node: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments to call a method with; may raise RpcError instead."""
        return arguments

    def after(self, name: str, result: Any) -> Any:
        """The result to answer with."""
        return result

    def stream(self, name: str, stream: Subscription) -> AsyncIterator[Any]:
        """The values of a channel."""
        return stream
