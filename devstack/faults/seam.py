"""One endpoint's faults, at the seam of server and dispatcher."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from devstack.chain import ChainLookupError
from devstack.chain.finality import FINALITY
from devstack.faults.book import FaultBook, Strike
from devstack.faults.kinds import FaultKind
from devstack.faults.lies import LIES, tell
from devstack.rpc.errors import RpcError
from devstack.rpc.seam import Seam, Wire
from devstack.rpc.subscription import Subscription
from lotus_client.chain import TipSetKey

__all__ = ["FaultySeam"]

_OVER_HTTP: Final = (
    FaultKind.DROP,
    FaultKind.STATUS,
    FaultKind.RATE_LIMIT,
    FaultKind.LATENCY,
    FaultKind.TIMEOUT,
)
_OVER_SOCKET: Final = (FaultKind.DROP, FaultKind.LATENCY, FaultKind.TIMEOUT)
_STREAM: Final = (FaultKind.DUPLICATE, FaultKind.REORDER, FaultKind.CUT_OFF)

# Lotus `node/impl/full/dummy.go` ErrActorEventModuleDisabled
_EVENTS_OFF: Final = "module disabled, enable with Events.EnableActorEventsAPI"
_EVENT_METHODS: Final = ("GetActorEventsRaw", "SubscribeActorEventsRaw")

# They take a tipset key, but read no state.
_STATELESS: Final = ("StateSearchMsg", "StateWaitMsg", "StateNetworkVersion")
# Of these the key comes before what is looked for, or the state is that of an actor that they load first.
_READS_ACTOR: Final = ("StateReadState",)


class FaultySeam(Seam):
    """Strikes the calls of one endpoint as the book says."""

    def __init__(self, book: FaultBook, endpoint: str) -> None:
        self._book = book
        self._endpoint = endpoint

    def _strike(self, kinds: Sequence[FaultKind], method: str) -> list[Strike]:
        return self._book.strike(kinds, self._endpoint, method)

    def wire(self, names: Sequence[str], *, socket: bool) -> Wire:
        if not self._book:
            return Wire()
        kinds = _OVER_SOCKET if socket else _OVER_HTTP
        delay, silent, status, retry_after, cut = 0.0, False, 0, 0, False
        for strike in (one for name in names for one in self._strike(kinds, name)):
            match strike.fault.kind:
                case FaultKind.LATENCY:
                    jitter = strike["jitter_ms"] * strike.draw >> 32
                    delay += (strike["ms"] + jitter) / 1000
                case FaultKind.TIMEOUT:
                    silent = True
                case FaultKind.STATUS:
                    status, retry_after = strike["status"], 0
                case FaultKind.RATE_LIMIT:
                    status, retry_after = 429, strike["retry_after"]
                case _:
                    cut = True
        return Wire(delay, silent, status, retry_after, cut)

    def revoked(self, token: str) -> bool:
        if not self._book:
            return False
        # A revoked token of somebody else must not use up this fault, so look before counting.
        return any(
            fault.kind is FaultKind.TOKEN_REVOKED
            and fault.params["token"] in ("", token)
            and fault.scope.covers(self._endpoint, "")
            and bool(self._strike((FaultKind.TOKEN_REVOKED,), ""))
            for fault, _, _ in self._book.entries()
        )

    def before(self, name: str, node: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        if not self._book:
            return arguments
        if name in _EVENT_METHODS and self._strike((FaultKind.EVENTS_OFF,), name):
            raise RpcError(1, _EVENTS_OFF)
        if name.startswith("State") and name not in _STATELESS:
            for key in arguments:
                if isinstance(key, TipSetKey) and key:
                    self._refuse_pruned(name, node, key)
        self._strike((FaultKind.STALE_HEAD,), name)  # in force anyway; this counts its calls
        return arguments

    def _refuse_pruned(self, name: str, node: Any, key: TipSetKey) -> None:
        for strike in self._strike((FaultKind.PRUNED,), name):
            try:
                tipset = node.network.tipset(key)
            except ChainLookupError:
                return  # its own error is right
            kept = strike["epochs"] or FINALITY
            if node.network.head.height - tipset.height > kept:
                raise RpcError(1, _pruned(name, str(tipset.parent_state_root)))

    def after(self, name: str, result: Any) -> Any:
        if not self._book:
            return result
        for kind, methods in LIES.items():
            if name in methods:
                for strike in self._strike((kind,), name):
                    result = tell(strike, name, result)
        return result

    def stream(self, name: str, stream: Subscription) -> AsyncIterator[Any]:
        return self._stream(name, stream)

    async def _stream(self, name: str, stream: Subscription) -> AsyncIterator[Any]:
        held: list[Any] = []
        async for value in stream:
            kinds = {one.fault.kind for one in self._strike(_STREAM, name)}
            if FaultKind.CUT_OFF in kinds:
                stream.close()
                return
            if FaultKind.REORDER in kinds and not held:
                held = [value]
                continue
            yield value
            if FaultKind.DUPLICATE in kinds:
                yield value
            for late in held:
                yield late
            held = []
        for late in held:
            yield late


def _pruned(method: str, root: str) -> str:
    """Lotus `chain/state/statetree.go` LoadStateTree on a root that the splitstore has discarded."""
    lost = f"load state tree: failed to load state tree {root}: failed to load hamt node: ipld: could not find {root}"
    return f"getting actor: {lost}" if method in _READS_ACTOR else lost
