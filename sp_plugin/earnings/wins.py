"""The raw record of a win: everything a later split or audit needs, as it was read from the node."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from deals.sectors import lookback_height
from fil_plus.awards import Award, AwardError, parse_awards
from lotus_client.chain import TipSetKey
from lotus_client.cid import Cid
from lotus_client.types import ActorId, AttoFil, Epoch, NetworkVersion

__all__ = ["WinRecord", "award_part"]


@dataclass(frozen=True, slots=True)
class WinRecord:
    """One won block in a final tipset. Fields are `None` while the node could not give them.

    `header` is the block's CBOR, whose CID is `block`; `award_trace` the JSON of a StateCompute answer cut down to this
    miner's award; `finalized` the final tipset at which all this was read. `epoch_reward` is the reward actor's
    ThisEpochReward in the tipset's parent state: a cross-check only, as null rounds move it.
    """

    block: Cid
    epoch: Epoch
    provider: ActorId
    tipset: TipSetKey
    finalized: TipSetKey
    header: bytes
    win_count: int
    lookback: TipSetKey | None = None
    lookback_height: Epoch | None = (
        None  # of that tipset; power is read at it, i.e. from its parent state
    )
    network_version: NetworkVersion | None = None
    miner_qap: int | None = None
    network_qap: int | None = None
    epoch_reward: AttoFil | None = None
    award_trace: str | None = None
    problem: str = ""

    @property
    def id(self) -> str:
        """The name of the win in splits, leaves and entries: its block's CID."""
        return str(self.block)

    @property
    def lookback_epoch(self) -> Epoch:
        """The epoch after which the election's power was read."""
        return Epoch(lookback_height(self.epoch) - 1)

    @property
    def is_complete(self) -> bool:
        """Whether everything a split needs was read."""
        needed = (self.lookback_height, self.network_version, self.miner_qap, self.award_trace)
        return None not in needed

    def award(self) -> Award | None:
        """The award, read from the kept trace; `None` if there is none or it does not fit the header."""
        if self.award_trace is None:
            return None
        try:
            awards = parse_awards(json.loads(self.award_trace), self.provider)
        except (AwardError, ValueError):
            return None
        fitting = [award for award in awards if award.win_count == self.win_count]
        # the epoch in an implicit message is that of the tipset it belongs to
        return replace(fitting[0], epoch=self.epoch) if len(fitting) == 1 == len(awards) else None


def award_part(compute_state: Mapping[str, Any], miner: ActorId) -> str:
    """The part of a StateCompute answer that shows `miner`'s awards, as JSON of the same shape.

    Raises:
        AwardError: the answer is not of Lotus' shape.
    """
    parse_awards(compute_state, miner)  # refuses a malformed answer as a whole
    trace = compute_state.get("Trace") or []
    ours = [element for element in trace if parse_awards({"Trace": [element]}, miner)]
    return json.dumps({"Trace": ours}, separators=(",", ":"))
