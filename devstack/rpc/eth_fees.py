"""Gas prices and fee history. Source: Lotus `node/impl/eth/gas.go`."""

from __future__ import annotations

from typing import Any, Final

from devstack.auth import Permission
from devstack.chain.gas import BASE_FEE, BLOCK_GAS_LIMIT, effective_price
from devstack.node import FullNode
from devstack.rpc.errors import RpcError
from devstack.rpc.eth_forms import BLOCK_NUMBER, BlockParam, decode_quantity
from devstack.rpc.eth_tipsets import resolve_number
from devstack.rpc.methods import Method, RawParams
from devstack.rpc.params import decode_list, decode_string
from lotus_client.messages import Message

__all__ = ["METHODS"]

_MOST_BLOCKS: Final = 1024
_MOST_PERCENTILES: Final = 100


def _premium_of(node: FullNode) -> int:
    # The premium does not depend on the call, so any transfer has it.
    miner = node.network.genesis_miner
    return node.network.estimate_gas(Message(miner, miner, gas_limit=1)).gas_premium.value


def _premium(node: FullNode) -> str:
    return hex(_premium_of(node))


def _price(node: FullNode) -> str:
    return hex(node.network.head.blocks[0].parent_base_fee.value + _premium_of(node))


def _base_fee(_node: FullNode) -> str:
    return hex(BASE_FEE)


def _decode_history(params: list[Any]) -> tuple[int, BlockParam, list[float] | None]:
    if len(params) not in (2, 3):
        raise ValueError(f"expected 2 or 3 params, got {len(params)}")
    count = params[0] if isinstance(params[0], int) else decode_quantity(params[0])
    wanted = params[2] if len(params) == 3 else None
    percentiles = None if wanted is None else decode_list(wanted, _decode_percentile)
    return count, BLOCK_NUMBER.decode(params[1]), percentiles


def _decode_percentile(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else float(decode_string(value))


def _history(
    node: FullNode, count: int, newest: BlockParam, percentiles: list[float] | None
) -> dict[str, Any]:
    if count > _MOST_BLOCKS:
        raise RpcError(1, "block count should be smaller than 1024")
    wanted = percentiles or []
    _check(wanted)
    tipset = resolve_number(node, newest, strict=False)
    # the next block's base fee cannot be known before the newest one is executed: the last is repeated
    fees = [hex(tipset.blocks[0].parent_base_fee.value)]
    ratios: list[float] = []
    rewards: list[list[str]] = []
    oldest = 1
    while len(ratios) < count and tipset.height > 0:
        base_fee = tipset.blocks[0].parent_base_fee.value
        runs = node.network.invocations(tipset.key)
        paid = [(effective_price(run.message) - base_fee, run.receipt.gas_used) for run in runs]
        fees.append(hex(base_fee))
        ratios.append(sum(used for _, used in paid) / (BLOCK_GAS_LIMIT * len(tipset.blocks)))
        rewards.append([hex(one) for one in _rewards(wanted, paid, _premium_of(node))])
        oldest = tipset.height
        tipset = node.network.tipset(tipset.parents)
    history = {
        "oldestBlock": hex(oldest),
        "baseFeePerGas": fees[::-1],
        "gasUsedRatio": ratios[::-1],
        "reward": rewards[::-1],
    }
    if percentiles is None:
        del history["reward"]
    return history


def _check(percentiles: list[float]) -> None:
    if len(percentiles) > _MOST_PERCENTILES:
        raise RpcError(1, "length of the reward percentile array cannot be greater than 100")
    for before, one in zip([0.0, *percentiles], percentiles, strict=False):
        if not 0 <= one <= 100:
            raise RpcError(1, f"invalid reward percentile: {one:f} should be between 0 and 100")
        if one < before:
            raise RpcError(
                1, f"invalid reward percentile: {one:f} should be larger than {before:f}"
            )


def _rewards(percentiles: list[float], paid: list[tuple[int, int]], least: int) -> list[int]:
    """The premium at each percentile of the gas used, by premium; the least premium without messages."""
    if not paid:
        return [least] * len(percentiles)
    ordered = sorted(paid, key=lambda pair: pair[0])
    total = sum(used for _, used in ordered)
    found: list[int] = []
    at, reached = 0, 0
    for percentile in percentiles:
        threshold = int(total * percentile / 100)
        while reached < threshold and at < len(ordered) - 1:
            reached += ordered[at][1]
            at += 1
        found.append(ordered[at][0])
    return found


_READ = Permission.READ

METHODS: tuple[Method[FullNode], ...] = (
    Method("EthGasPrice", _READ, (), _price, aliases=("eth_gasPrice",)),
    Method("EthBaseFee", _READ, (), _base_fee),
    Method("EthMaxPriorityFeePerGas", _READ, (), _premium, aliases=("eth_maxPriorityFeePerGas",)),
    Method(
        "EthFeeHistory", _READ, RawParams(_decode_history), _history, aliases=("eth_feeHistory",)
    ),
)
