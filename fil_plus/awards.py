"""What a block really paid its miner, read from the trace of a tipset's execution.

The implicit message f00 -> f02 `AwardBlockReward` of each block calls the miner's `ApplyRewards` with the money as its
value. Source: Lotus `chain/consensus/filcns`, `chain/types/execresult.go`; builtin-actors `actors/reward/src/lib.rs`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from lotus_client import cbor
from lotus_client.address import Address, AddressError
from lotus_client.types import ActorId, AttoFil, Epoch

__all__ = ["Award", "AwardError", "parse_awards"]

_SYSTEM: Final = Address.of_id(0)
_REWARD: Final = Address.of_id(2)
_BURNT_FUNDS: Final = Address.of_id(99)
_AWARD_BLOCK_REWARD: Final = 2
_APPLY_REWARDS: Final = 14
_PENALTY_MULTIPLIER: Final = 3  # builtin-actors reward: PENALTY_MULTIPLIER


class AwardError(ValueError):
    """A StateCompute answer that cannot be read as an execution trace; `path` is where in it."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path


@dataclass(frozen=True, slots=True)
class Award:
    """What one block's award did.

    `credited` is what entered the miner actor (block reward and tips; 0 if the actor refused it), `gas_reward` the
    tips contained in it, `penalty` what the actor was told to take (already tripled), `burnt` what left for f099 in
    the same call: penalties and fee debt, or the whole award if the actor refused it.
    """

    epoch: Epoch
    miner: ActorId
    credited: AttoFil
    gas_reward: AttoFil
    penalty: AttoFil
    burnt: AttoFil
    win_count: int


def parse_awards(compute_state: Mapping[str, Any], miner: ActorId) -> list[Award]:
    """The awards of `miner` in a `StateCompute` answer, one per block it won, in block order.

    Raises:
        AwardError: the answer is not of Lotus' shape.
    """
    trace = compute_state.get("Trace")
    if trace is None:
        return []
    if not isinstance(trace, list):
        raise AwardError("Trace", "is not a list")
    awards = []
    for index, element in enumerate(trace):
        path = f"Trace[{index}]"
        message = _member(element, "Msg", path)
        if not _is_call(message, _SYSTEM, _REWARD, _AWARD_BLOCK_REWARD, path):
            continue
        award = _read_award(element, message, miner, path)
        if award is not None:
            awards.append(award)
    return awards


def _read_award(
    element: Mapping[str, Any], message: Mapping[str, Any], miner: ActorId, path: str
) -> Award | None:
    winner, penalty, gas_reward, win_count = _award_params(message, f"{path}.Msg.Params")
    if winner != Address.of_id(miner):
        return None
    epoch = Epoch(_integer(message, "Nonce", f"{path}.Msg"))  # implicit messages carry their epoch
    execution = _member(element, "ExecutionTrace", path)
    credited = burnt = 0
    if _exit_code(element, path) == 0:
        credited, burnt = _money_moved(execution, winner, f"{path}.ExecutionTrace")
    return Award(
        epoch=epoch,
        miner=miner,
        credited=AttoFil(credited),
        gas_reward=AttoFil(gas_reward),
        penalty=AttoFil(penalty * _PENALTY_MULTIPLIER),
        burnt=AttoFil(burnt),
        win_count=win_count,
    )


def _money_moved(execution: Mapping[str, Any], winner: Address, path: str) -> tuple[int, int]:
    """What the miner actor received, and what went to f099 on its account."""
    refused = 0
    for call, at in _subcalls(execution, path):
        message = _member(call, "Msg", at)
        if _exit_code(call, at) != 0:
            continue
        if _is_call(message, _REWARD, winner, _APPLY_REWARDS, at):
            return _amount(message, at), _burnt_in(call, winner, at)
        if _is_call(message, _REWARD, _BURNT_FUNDS, 0, at):
            refused += _amount(message, at)
    return 0, refused


def _burnt_in(apply_rewards: Mapping[str, Any], winner: Address, path: str) -> int:
    return sum(
        _amount(_member(call, "Msg", at), at)
        for call, at in _subcalls(apply_rewards, path)
        if _exit_code(call, at) == 0
        and _is_call(_member(call, "Msg", at), winner, _BURNT_FUNDS, 0, at)
    )


def _award_params(message: Mapping[str, Any], path: str) -> tuple[Address, int, int, int]:
    try:
        values = cbor.decode(base64.b64decode(message.get("Params") or "", validate=True))
        if not isinstance(values, list) or len(values) != 4:
            raise AwardError(path, "is not [miner, penalty, gas reward, win count]")
        winner, penalty, gas_reward, win_count = values
        if not isinstance(winner, bytes) or not isinstance(win_count, int):
            raise AwardError(path, "is not [miner, penalty, gas reward, win count]")
        return (
            Address.from_bytes(winner),
            cbor.decode_bigint(penalty),
            cbor.decode_bigint(gas_reward),
            win_count,
        )
    except (binascii.Error, TypeError, cbor.CborError, AddressError) as error:
        raise AwardError(path, str(error)) from error


def _subcalls(call: Mapping[str, Any], path: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    children = call.get("Subcalls") or []
    if not isinstance(children, list):
        raise AwardError(f"{path}.Subcalls", "is not a list")
    for index, child in enumerate(children):
        at = f"{path}.Subcalls[{index}]"
        if not isinstance(child, dict):
            raise AwardError(at, "is not an object")
        yield child, at


def _is_call(
    message: Mapping[str, Any], sender: Address, receiver: Address, method: int, path: str
) -> bool:
    if message.get("Method") != method:
        return False
    try:
        return Address.parse(message["From"]) == sender and Address.parse(message["To"]) == receiver
    except (KeyError, TypeError, AddressError) as error:
        raise AwardError(f"{path}.Msg", f"has no good From and To: {error}") from error


def _member(parent: Any, name: str, path: str) -> Mapping[str, Any]:
    value = parent.get(name) if isinstance(parent, dict) else None
    if not isinstance(value, dict):
        raise AwardError(f"{path}.{name}", "is missing or not an object")
    return value


def _integer(parent: Mapping[str, Any], name: str, path: str) -> int:
    value = parent.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise AwardError(f"{path}.{name}", "is missing or not a number")
    return value


def _exit_code(call: Mapping[str, Any], path: str) -> int:
    return _integer(_member(call, "MsgRct", path), "ExitCode", f"{path}.MsgRct")


def _amount(message: Mapping[str, Any], path: str) -> int:
    try:
        amount = AttoFil.parse(message["Value"]).value
    except (KeyError, AttributeError, ValueError) as error:
        raise AwardError(f"{path}.Msg.Value", "is missing or not an amount") from error
    if amount < 0:
        raise AwardError(f"{path}.Msg.Value", "is negative")
    return amount
